import argparse
import contextlib
import functools
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError
from rest_framework.exceptions import ValidationError
from tqdm import tqdm

from registry.artifacts import store
from registry.artifacts.mlflow_folder import MLFLOW_TAG, read_folder
from registry.conversion.convert import (
    MIN_EXAMPLE_ROWS,
    N_SYNTHETIC_ROWS,
    Conversion,
    convert,
)
from registry.conversion.parity import TOLERANCE
from registry.exact_json.values import check_annotation, parse_json
from registry.loader import load_options
from registry.management.arguments import (
    VersionCommand,
    add_version_arguments,
    json_argument,
    version_fields,
)
from registry.models import ModelVersion
from registry.runtimes import FRAMEWORKS
from registry.serializers import MAX_EXAMPLE_ROWS, ExampleField, SignatureField
from registry.services import Upload, VersionExists, register_model

CHUNK_BYTES = 2**20
# A conversion loads and scores a model in several forms, and builds them.
CONVERSION_PROOFS = 10
SOURCE_TAG, PARITY_TAG = "converted_from", "parity"


@dataclass(frozen=True, slots=True)
class Source:
    """A model file, what is said of it, and the version's fields as `register_model` takes them."""

    file: Path
    framework: str | None
    signature: Any
    example: list[Any]
    fields: dict[str, Any]


class Command(VersionCommand):
    help = (
        "Register a model file as a version: it is copied below MODEL_PATH, loaded and scored"
        " once. The same file under the same name and version again changes nothing; without a"
        " version, each run registers a new one."
    )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "file",
            type=Path,
            help=(
                "A .skops, .onnx, .ubj, .json or .txt model, or a folder that MLflow saved one in."
            ),
        )
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
                f" does: on the example rows, {MIN_EXAMPLE_ROWS:,} or more, or without any on"
                f" {N_SYNTHETIC_ROWS:,} synthetic rows that fit the signature."
            ),
        )

    def handle(self, *, file: Path, **options: Any) -> None:
        fields = version_fields(options)
        signature = _checked(SignatureField(), "--signature", _given(options, "signature"))
        example = _example_rows(options)
        try:
            if file.is_dir():
                file, signature, fields = _of_mlflow(file, signature, fields)
                self._warn_of_function(fields["tags"][MLFLOW_TAG])
            source = Source(file, options["framework"], signature, example, fields)
            if options["to"] == "onnx":
                self._convert(source)
            else:
                self._register(source)
        except OSError as error:
            raise CommandError(f"{file} can not be read or copied: {error}") from error
        except store.ArtifactRejected as error:
            raise CommandError(f"{file} was not registered: {error}") from error

    def _warn_of_function(self, origin: dict[str, str]) -> None:
        if "predict_fn" in origin:
            self.stdout.write(
                self.style.WARNING(
                    f"MLflow serves this model by {origin['predict_fn']}; here invocations answer"
                    " as its predict does, and predictions hold probabilities too."
                )
            )

    def _register(self, source: Source) -> None:
        try:
            with (
                source.file.open("rb") as content,
                tqdm(
                    total=source.file.stat().st_size,
                    unit="B",
                    unit_scale=True,
                    desc="Copied",
                    file=self.stderr,
                    disable=None,
                ) as progress,
            ):
                chunks = _counted(iter(functools.partial(content.read, CHUNK_BYTES), b""), progress)
                version = register_model(
                    framework=source.framework,
                    upload=Upload(chunks, source.signature, source.example[:MAX_EXAMPLE_ROWS]),
                    **source.fields,
                )
        except VersionExists as error:
            self._settle_existing(source.file, source.fields, error)
            return
        self.stdout.write(
            self.style.SUCCESS(
                f"Registered {version} as id {version.pk}: {version.framework},"
                f" {version.size_bytes} bytes, sha256 {version.sha256}"
            )
        )
        self.stdout.write(f"Kept as {Path(settings.MODEL_PATH) / version.artifact}")

    def _convert(self, source: Source) -> None:
        """Register the ONNX form of the file; a version that is one already stays as it is."""
        taken = sorted({SOURCE_TAG, PARITY_TAG} & source.fields["tags"].keys())
        if taken:
            raise CommandError(f"--tags: {' and '.join(taken)} are written by --to onnx.")
        sha256 = store.digest(source.file)
        if self._is_converted_already(sha256, source.fields):
            return
        framework = store.check_framework(source.file, source.framework)
        self.stdout.write(f"Converting {source.file.name} to ONNX")
        with tempfile.TemporaryDirectory(prefix="mlapi-") as folder:
            done = convert(
                source.file,
                Path(folder),
                framework=framework,
                options=load_options(),
                declared=source.signature,
                example=source.example,
                timeout_seconds=CONVERSION_PROOFS * settings.PROOF_TIMEOUT_SECONDS,
                memory_bytes=settings.PROOF_MEMORY_BYTES,
                file_bytes=settings.MAX_ARTIFACT_BYTES,
            )
            self._report(done)
            tags = source.fields["tags"] | _conversion_tags(done, source.file, framework, sha256)
            fields = source.fields | {"tags": tags}
            self._register(Source(done.path, "onnx", done.signature, source.example, fields))

    def _report(self, done: Conversion) -> None:
        rows = f"{done.parity.rows:,} example rows"
        if done.is_synthetic:
            rows = f"{done.parity.rows:,} synthetic rows, as none were given"
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

    def _is_converted_already(self, sha256: str, fields: dict[str, Any]) -> bool:
        version = ModelVersion.objects.filter(
            name=fields["name"], version=fields.get("version")
        ).first()
        if version is None:
            return False
        told = version.tags.get(SOURCE_TAG)
        if not isinstance(told, dict) or told.get("sha256") != sha256:
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
        if store.digest(file) != version.sha256:
            raise CommandError(f"{error}, with another file. Choose another version.") from error
        self.stdout.write(f"{version} is registered already, as id {version.pk}, from this file.")


def _of_mlflow(
    folder: Path, signature: Any, fields: dict[str, Any]
) -> tuple[Path, Any, dict[str, Any]]:
    """The model file of a folder, and what MLflow tells of it where the options say nothing."""
    if MLFLOW_TAG in fields["tags"]:
        raise CommandError(f"--tags: {MLFLOW_TAG} is written for a folder of MLflow's.")
    model = read_folder(folder, with_signature=signature is None)
    try:
        check_annotation(metrics := fields["metrics"] or model.metrics)
        check_annotation(tags := fields["tags"] | {MLFLOW_TAG: model.origin})
    except ValueError as error:
        raise CommandError(f"{folder}: its MLmodel can not be stored. {error}") from error
    return model.path, model.signature or signature, fields | {"metrics": metrics, "tags": tags}


def _conversion_tags(done: Conversion, file: Path, framework: str, sha256: str) -> dict[str, Any]:
    return {
        SOURCE_TAG: {
            "framework": framework,
            "sha256": sha256,
            # A name that is no UTF-8 could not be stored.
            "file": os.fsencode(file.name).decode(errors="replace"),
            "libraries": done.libraries,
        },
        PARITY_TAG: {
            "rows": done.parity.rows,
            "generated": done.is_synthetic,
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
