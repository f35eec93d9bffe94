import argparse
import contextlib
import functools
import os
import tempfile
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError
from rest_framework.exceptions import ValidationError
from tqdm import tqdm

from registry import artifacts
from registry.conversion import GENERATED_ROWS, MIN_ROWS, Conversion, convert
from registry.jsonvalues import parse_json
from registry.loader import load_options
from registry.management.arguments import (
    VersionCommand,
    add_version_arguments,
    json_argument,
    version_fields,
)
from registry.models import ModelVersion
from registry.parity import TOLERANCE
from registry.runtimes import FRAMEWORKS
from registry.serializers import MAX_EXAMPLE_ROWS, ExampleField, SignatureField
from registry.services import Upload, VersionExists, register_model

CHUNK_BYTES = 2**20
# A conversion loads and scores a model in several forms, and builds them.
CONVERSION_PROOFS = 10
SOURCE_TAG, PARITY_TAG = "converted_from", "parity"


class Command(VersionCommand):
    help = (
        "Register a model file as a version: it is copied below MODEL_PATH, loaded and scored"
        " once. The same file under the same name and version again changes nothing; without a"
        " version, each run registers a new one."
    )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("file", type=Path, help="A .skops, .onnx, .ubj, .json or .txt model.")
        parser.add_argument(
            "--framework", choices=list(FRAMEWORKS), help="By default, told from the content."
        )
        add_version_arguments(parser)
        parser.add_argument(
            "--signature", metavar="JSON", help="Names and types that the file can not tell."
        )
        example = parser.add_mutually_exclusive_group()
        example.add_argument(
            "--example", metavar="JSON", help="A list of rows that the model must score."
        )
        example.add_argument(
            "--example-file",
            metavar="FILE",
            type=Path,
            help="Such rows from a file, a JSON list or one row a line.",
        )
        parser.add_argument(
            "--to",
            choices=["onnx"],
            help=(
                "Convert the model first, and register the ONNX file, once it answers as the model"
                f" does: on the example rows, {MIN_ROWS:,} or more, or without any on"
                f" {GENERATED_ROWS:,} rows generated from the signature."
            ),
        )

    def handle(self, *, file: Path, **options: Any) -> None:
        fields = version_fields(options)
        signature = _checked(SignatureField(), "--signature", _given(options, "signature"))
        example = _example_rows(options)
        try:
            if options["to"] == "onnx":
                self._convert(file, options["framework"], signature, example, fields)
            else:
                self._register(file, options["framework"], signature, example, fields)
        except OSError as error:
            raise CommandError(f"{file} can not be read or copied: {error}") from error
        except artifacts.ArtifactRejected as error:
            raise CommandError(f"{file} was not registered: {error}") from error

    def _register(
        self,
        file: Path,
        framework: str | None,
        signature: Any,
        example: list[Any],
        fields: dict[str, Any],
    ) -> None:
        try:
            with (
                file.open("rb") as content,
                tqdm(
                    total=file.stat().st_size,
                    unit="B",
                    unit_scale=True,
                    desc="Copied",
                    file=self.stderr,
                    disable=None,
                ) as progress,
            ):
                chunks = _counted(iter(functools.partial(content.read, CHUNK_BYTES), b""), progress)
                version = register_model(
                    framework=framework,
                    upload=Upload(chunks, signature, example[:MAX_EXAMPLE_ROWS]),
                    **fields,
                )
        except VersionExists as error:
            self._settle_existing(file, fields, error)
            return
        self.stdout.write(
            self.style.SUCCESS(
                f"Registered {version} as id {version.pk}: {version.framework},"
                f" {version.size_bytes} bytes, sha256 {version.sha256}"
            )
        )
        self.stdout.write(f"Kept as {Path(settings.MODEL_PATH) / version.artifact}")

    def _convert(
        self,
        file: Path,
        framework: str | None,
        signature: Any,
        example: list[Any],
        fields: dict[str, Any],
    ) -> None:
        """Register the ONNX form of the file; a version that is one already stays as it is."""
        taken = sorted({SOURCE_TAG, PARITY_TAG} & fields["tags"].keys())
        if taken:
            raise CommandError(f"--tags: {' and '.join(taken)} are written by --to onnx.")
        source = artifacts.digest(file)
        if self._is_converted_already(source, fields):
            return
        framework = artifacts.check_framework(file, framework)
        self.stdout.write(f"Converting {file.name} to ONNX")
        with tempfile.TemporaryDirectory(prefix="mlapi-") as folder:
            done = convert(
                file,
                Path(folder),
                framework=framework,
                options=load_options(),
                declared=signature,
                example=example,
                timeout_seconds=CONVERSION_PROOFS * settings.PROOF_TIMEOUT_SECONDS,
                memory_bytes=settings.PROOF_MEMORY_BYTES,
                file_bytes=settings.MAX_ARTIFACT_BYTES,
            )
            self._report(done)
            tags = fields["tags"] | _conversion_tags(done, file, framework, source)
            self._register(done.path, "onnx", done.signature, example, fields | {"tags": tags})

    def _report(self, done: Conversion) -> None:
        rows = f"{done.parity.rows:,} example rows"
        if done.is_generated:
            rows = f"{done.parity.rows:,} rows generated from the signature, as none were given"
        self.stdout.write(
            f"Compared on {rows}: all labels equal, largest difference"
            f" {done.parity.max_difference:.2g} of {TOLERANCE:g}, in {done.precision} precision"
        )
        if done.refuses_missing:
            self.stdout.write(
                self.style.WARNING(
                    "The ONNX form answers missing values otherwise: this version refuses them."
                )
            )

    def _is_converted_already(self, source: str, fields: dict[str, Any]) -> bool:
        version = ModelVersion.objects.filter(
            name=fields["name"], version=fields.get("version")
        ).first()
        if version is None:
            return False
        told = version.tags.get(SOURCE_TAG)
        if not isinstance(told, dict) or told.get("sha256") != source:
            raise CommandError(
                f"Model {version} already exists, not converted from this file. Choose another"
                " version."
            )
        self.stdout.write(
            f"{version} is registered already, as id {version.pk}, converted from this file."
        )
        return True

    def _settle_existing(self, file: Path, fields: dict[str, Any], error: VersionExists) -> None:
        if "version" not in fields:
            raise CommandError(f"{error} by now: others register it too. Try again.") from error
        version = ModelVersion.objects.get(name=fields["name"], version=fields["version"])
        if artifacts.digest(file) != version.sha256:
            raise CommandError(f"{error}, with another file. Choose another version.") from error
        self.stdout.write(f"{version} is registered already, as id {version.pk}, from this file.")


def _conversion_tags(done: Conversion, file: Path, framework: str, source: str) -> dict[str, Any]:
    return {
        SOURCE_TAG: {
            "framework": framework,
            "sha256": source,
            # A name that is no UTF-8 could not be stored.
            "file": os.fsencode(file.name).decode(errors="replace"),
            "libraries": done.libraries,
        },
        PARITY_TAG: {
            "rows": done.parity.rows,
            "generated": done.is_generated,
            "labels_equal": done.parity.labels_differ == 0,
            "max_difference": done.parity.max_difference,
            "tolerance": TOLERANCE,
        },
    }


def _counted(chunks: Any, progress: Any) -> Any:
    for chunk in chunks:
        progress.update(len(chunk))
        yield chunk


def _given(options: dict[str, Any], name: str) -> Any:
    return json_argument(f"--{name}", options[name])


def _example_rows(options: dict[str, Any]) -> list[Any]:
    """The rows of --example or --example-file; more than MAX_EXAMPLE_ROWS only for a conversion."""
    if options["example_file"] is None:
        option, rows = "--example", _given(options, "example")
    else:
        option, rows = "--example-file", _read_rows(options["example_file"])
    if options["to"] is None or not isinstance(rows, list):
        return _checked(ExampleField(), option, rows) or []
    starts = range(0, len(rows), MAX_EXAMPLE_ROWS)
    parts = (rows[start : start + MAX_EXAMPLE_ROWS] for start in starts)
    return [row for part in parts for row in _checked(ExampleField(), option, part)]


def _read_rows(path: Path) -> list[Any]:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CommandError(f"--example-file can not be read: {error}") from error
    with contextlib.suppress(ValueError):
        rows = parse_json(content)
        # A list of numbers is the one row of a file of rows.
        if isinstance(rows, list) and rows and isinstance(rows[0], list | dict):
            return rows
    rows = []
    for number, line in enumerate(content.splitlines(), 1):
        try:
            rows.append(parse_json(line))
        except ValueError as error:
            raise CommandError(f"--example-file: line {number} is no JSON: {error}") from error
    return rows


def _checked(field: Any, option: str, value: Any) -> Any:
    if value is None:
        return None
    try:
        return field.run_validation(value)
    except ValidationError as error:
        detail = error.detail if isinstance(error.detail, list) else [error.detail]
        raise CommandError(f"{option}: {' '.join(map(str, detail))}") from error
