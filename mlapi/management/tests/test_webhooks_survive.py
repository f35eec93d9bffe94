"""Receivers and workers that are killed under load: every event arrives, with a valid signature."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.db import connection, transaction
from standardwebhooks import Webhook as StandardWebhook

from registry.models import Webhook, WebhookDelivery
from registry.testing.processes import MANAGE, PROJECT, free_port
from registry.webhooks import outbox
from registry.webhooks.delivery import signing
from registry.webhooks.events import ALIAS_MOVED

EVENTS = int(os.environ.get("MLAPI_WEBHOOK_EVENTS", "200"))
WAIT_SECONDS = 300


def database_url() -> str:
    """The database of the tests, for another process."""
    name = str(connection.settings_dict["NAME"])
    if connection.vendor == "sqlite":
        return f"sqlite:///{name}"
    return urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{name}").geturl()


@contextmanager
def running(*command: str, **environment: str) -> Iterator["subprocess.Popen[bytes]"]:
    process = subprocess.Popen(
        [sys.executable, *command], env={**os.environ, **environment}, cwd=PROJECT
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def received(file: Path) -> list[dict[str, Any]]:
    """The messages whose signature the other implementation has verified."""
    verifier = StandardWebhook(signing.secret_of(Webhook.objects.get().salt))
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    return [verifier.verify(line["body"], line["headers"]) for line in lines]


def publish(first: int, last: int) -> None:
    for number in range(first, last):
        with transaction.atomic():
            outbox.publish(ALIAS_MOVED, "iris", {"number": number})
        time.sleep(0.005)


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_nothing_is_lost_if_the_receiver_and_a_worker_are_killed(tmp_path: Path) -> None:
    port, file = free_port(), tmp_path / "messages"
    Webhook.objects.create(name="chat", url=f"http://127.0.0.1:{port}/")
    receiver = [str(Path(__file__).with_name("receiver_process.py")), str(port), str(file)]
    worker = [MANAGE, "work", "--kinds", "webhooks"]
    environment = {
        "DATABASE_URL": database_url(),
        "WEBHOOK_ORIGINS": f"http://127.0.0.1:{port}",
        "WEBHOOK_PRIVATE_ADDRESSES": "true",
        # What the killed worker had in hand is due again 15 seconds later than that.
        "WEBHOOK_TIMEOUT_SECONDS": "5",
    }
    with ExitStack() as stack:
        first_receiver = stack.enter_context(running(*receiver))
        workers = [stack.enter_context(running(*worker, **environment)) for _ in range(2)]
        publish(0, EVENTS // 4)
        wait_until_delivered(EVENTS // 8)
        first_receiver.kill()
        publish(EVENTS // 4, EVENTS // 2)
        stack.enter_context(running(*receiver))
        wait_until_delivered(EVENTS // 3)
        workers[0].kill()
        publish(EVENTS // 2, EVENTS)
        wait_until_delivered(EVENTS)
        workers[1].terminate()
        assert workers[1].wait(60) == 0
    numbers = [message["data"]["number"] for message in received(file)]

    assert set(numbers) == set(range(EVENTS))
    assert not WebhookDelivery.objects.exclude(state="delivered").exists()


def wait_until_delivered(count: int) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while WebhookDelivery.objects.filter(state="delivered").count() < count:
        assert time.monotonic() < deadline
        time.sleep(0.1)
