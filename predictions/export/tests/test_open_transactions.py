"""Transactions that are open when an export starts: it waits for them, or says what it left out."""

import json
import threading
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import call_command
from django.db import connection, transaction

from predictions.management.commands import export_predictions
from predictions.testing.rows import create_predictions, make_version, wait_until_followable
from registry.exact_json.values import JSONObject
from registry.models import ModelVersion
from registry.testing.databases import postgresql

pytestmark = [postgresql, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def version(transactional_db: None) -> ModelVersion:
    version = make_version(None)
    create_predictions(version, [1.0])
    wait_until_followable()
    return version


@pytest.fixture
def may_end(version: ModelVersion) -> Iterator[threading.Event]:
    """A transaction has written, and ends when the event is set."""
    has_begun, may_end = threading.Event(), threading.Event()

    def write() -> None:
        with transaction.atomic():
            make_version(None, "other")
            has_begun.set()
            may_end.wait(60)
        connection.close()

    thread = threading.Thread(target=write)
    thread.start()
    assert has_begun.wait(20)
    yield may_end
    may_end.set()
    thread.join()


def export(folder: Path, *options: str) -> tuple[list[JSONObject], str]:
    """The exported rows, and what the command warned of."""
    errors = StringIO()
    options = ("--format=ndjson", *options)
    call_command("export_predictions", str(folder), *options, stdout=StringIO(), stderr=errors)
    lines = (folder / "part-00001.ndjson").read_text().splitlines()
    return [json.loads(line) for line in lines], errors.getvalue()


def test_rows_that_were_committed_before_are_waited_for(
    version: ModelVersion,
    may_end: threading.Event,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(export_predictions, "MAX_WAIT_SECONDS", 60)
    create_predictions(version, [2.0])
    timer = threading.Timer(0.5, may_end.set)
    timer.start()

    rows, errors = export(tmp_path / "out")

    timer.join()
    assert sorted(row["prediction"] for row in rows) == [1.0, 2.0]
    assert "left out" not in errors


def test_rows_that_are_left_out_are_told_and_belong_to_the_next_export(
    version: ModelVersion,
    may_end: threading.Event,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(export_predictions, "MAX_WAIT_SECONDS", 0.1)
    create_predictions(version, [2.0])

    rows, errors = export(tmp_path / "one")

    assert [row["prediction"] for row in rows] == [1.0]
    manifest = json.loads((tmp_path / "one" / "_manifest.json").read_text())
    position = manifest["positions"]["to"]
    assert "Rows that were committed before this export are left out" in errors
    assert f"--from-position {position}." in errors

    may_end.set()
    wait_until_followable()
    rows, errors = export(tmp_path / "two", f"--from-position={position}")
    assert [row["prediction"] for row in rows] == [2.0]
    assert "left out" not in errors
