import argparse
import functools
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError
from rest_framework.exceptions import ValidationError
from tqdm import tqdm

from registry import artifacts
from registry.management.arguments import (
    VersionCommand,
    add_version_arguments,
    json_argument,
    version_fields,
)
from registry.models import ModelVersion
from registry.runtimes import FRAMEWORKS
from registry.serializers import ExampleField, SignatureField
from registry.services import Upload, VersionExists, register_model

CHUNK_BYTES = 2**20


class Command(VersionCommand):
    help = (
        "Register a model file as a version: it is copied below MODEL_PATH, loaded and scored"
        " once. The same file under the same name and version again changes nothing."
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
        parser.add_argument(
            "--example", metavar="JSON", help="A list of rows that the model must score."
        )

    def handle(self, *, file: Path, framework: str | None, **options: Any) -> None:
        fields = version_fields(options)
        signature = _checked(SignatureField(), "--signature", options["signature"])
        example = _checked(ExampleField(), "--example", options["example"]) or ()
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
                    framework=framework, upload=Upload(chunks, signature, example), **fields
                )
        except OSError as error:
            raise CommandError(f"{file} can not be read or copied: {error}") from error
        except artifacts.ArtifactRejected as error:
            raise CommandError(f"{file} was not registered: {error}") from error
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

    def _settle_existing(self, file: Path, fields: dict[str, Any], error: VersionExists) -> None:
        version = ModelVersion.objects.get(name=fields["name"], version=fields["version"])
        if artifacts.digest(file) != version.sha256:
            raise CommandError(f"{error}, with another file. Choose another version.") from error
        self.stdout.write(f"{version} is registered already, as id {version.pk}, from this file.")


def _counted(chunks: Any, progress: Any) -> Any:
    for chunk in chunks:
        progress.update(len(chunk))
        yield chunk


def _checked(field: Any, option: str, text: str | None) -> Any:
    if text is None:
        return None
    try:
        return field.run_validation(json_argument(option, text))
    except ValidationError as error:
        detail = error.detail if isinstance(error.detail, list) else [error.detail]
        raise CommandError(f"{option}: {' '.join(map(str, detail))}") from error
