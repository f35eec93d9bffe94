"""Exports to a real server of S3."""

import json
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from predictions.export import runner
from predictions.export.destinations import object_storage, open_destination
from predictions.export.destinations.base import AlreadyPublished
from predictions.testing.rows import (
    REGRESSOR_SIGNATURE,
    create_predictions,
    make_version,
    wait_until_followable,
)
from registry.object_storage import client

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]


def export(url: str, *options: str) -> str:
    wait_until_followable()
    out = StringIO()
    call_command("export_predictions", url, "--format=ndjson", *options, stdout=out)
    return out.getvalue()


def names(url: str) -> list[str]:
    return sorted(open_destination(url).names())


def test_an_export_is_published_in_the_bucket(bucket: str, transactional_db: None) -> None:
    create_predictions(make_version(REGRESSOR_SIGNATURE), [0.5, 1.5, 2.5])

    assert "is complete: 3 rows in 2 parts" in export(bucket, "--part-rows=2")
    assert "was already complete" in export(bucket, "--part-rows=2")

    assert names(bucket) == ["_manifest.json", "part-00001.ndjson", "part-00002.ndjson"]
    part: Any = open_destination(bucket).read("part-00001.ndjson")
    assert [json.loads(line)["prediction"] for line in part.splitlines()] == [0.5, 1.5]


def test_an_interrupted_export_is_continued(
    bucket: str, transactional_db: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    create_predictions(make_version(REGRESSOR_SIGNATURE), [0.5, 1.5, 2.5])
    publish = runner._publish

    def break_off(destination: Any, name: str, document: Any) -> None:
        if name == "_part-00002.receipt.json":
            raise KeyboardInterrupt
        publish(destination, name, document)

    monkeypatch.setattr(runner, "_publish", break_off)
    with pytest.raises(KeyboardInterrupt):
        export(bucket, "--part-rows=2")
    monkeypatch.setattr(runner, "_publish", publish)

    assert "Continuing after 2 rows" in export(bucket, "--part-rows=2")

    export(str(tmp_path / "folder"), "--part-rows=2")
    manifest: Any = open_destination(bucket).read("_manifest.json")
    folder = json.loads((tmp_path / "folder" / "_manifest.json").read_text())
    assert json.loads(manifest)["sha256"] == folder["sha256"]


def test_a_name_is_published_once(bucket: str) -> None:
    destination = open_destination(bucket)

    destination.create("receipt", b"one")

    with pytest.raises(AlreadyPublished):
        destination.create("receipt", b"two")
    assert destination.read("receipt") == b"one"
    destination.delete("receipt")
    destination.delete("receipt")
    assert destination.read("receipt") is None


def test_large_parts_are_sent_in_pieces(bucket: str) -> None:
    destination = open_destination(bucket)
    content = bytes(range(256)) * (2 * object_storage.REQUEST_BYTES // 256 + 1)

    with destination.lock():
        path = destination.new_file("part")
        path.write_bytes(content)
        destination.publish(path, "part")

    assert destination.read("part") == content
    assert not path.exists()


@pytest.mark.parametrize("limit_bytes", [object_storage.MAX_CREATED_BYTES, 1000])
def test_a_part_from_scratch_is_published_once(
    bucket: str, monkeypatch: pytest.MonkeyPatch, limit_bytes: int
) -> None:
    """Small ones in one conditional request, large ones in pieces."""
    monkeypatch.setattr(object_storage, "MAX_CREATED_BYTES", limit_bytes)
    destination = open_destination(bucket)
    content = bytes(range(256)) * (2 * object_storage.REQUEST_BYTES // 256 + 1)

    for attempt in (content, b"another" * 1000):
        with destination.scratch("part") as path:
            path.write_bytes(attempt)
            if attempt is content:
                destination.publish_once(path, "part")
                continue
            with pytest.raises(AlreadyPublished):
                destination.publish_once(path, "part")
        assert not path.exists()

    with destination.local("part") as path:
        assert path.read_bytes() == content
    assert not path.exists()
    assert list(destination.names()) == ["part"]


def test_a_storage_that_cannot_be_reached_is_told(
    bucket: str, transactional_db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    impatient = replace(client.PATIENT, max_retries=0)
    monkeypatch.setattr(object_storage, "PATIENT", impatient)

    with pytest.raises(CommandError, match="Cannot use s3://mlapi/"):
        export(bucket)
