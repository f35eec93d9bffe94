import argparse
import functools
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from django.core.management.base import CommandError
from tqdm import tqdm

from registry.artifacts.errors import ArtifactRejected
from registry.artifacts.mlflow_folder import MLFLOW_TAG
from registry.artifacts.sniffing import check_framework
from registry.conversion.launch import MIN_EXAMPLE_ROWS, N_SYNTHETIC_ROWS, Conversion
from registry.conversion.parity import TOLERANCE
from registry.management.arguments import (
    VersionCommand,
    VersionFields,
    add_version_arguments,
    parse_json_option,
    validate_option,
    version_fields,
)
from registry.management.example_rows import add_example_arguments, read_example
from registry.management.model_source import (
    SOURCE_TAG,
    ModelSource,
    check_conversion_tags,
    convert_to_onnx,
    from_conversion,
    from_folder,
    with_external_data_inside,
)
from registry.management.reference import (
    ReferenceFile,
    add_reference_arguments,
    read_reference,
    set_reference,
)
from registry.models import ModelVersion
from registry.runtimes import FRAMEWORKS
from registry.serializers import MAX_EXAMPLE_ROWS, SignatureField
from registry.services import Upload, VersionExists, register_model
from registry.signatures.signature import BATCHING_EXPLANATIONS
from registry.storage import files
from registry.storage.stores.base import digest

CHUNK_BYTES = 2**20


class Command(VersionCommand):
    help = (
        "Register a model file as a version: copy it to where artifacts are kept, load it and"
        " score it once. Registering the same file again under the same name and version changes"
        " nothing. Without a version, each run registers a new one."
    )

    _reference: ReferenceFile | None = None

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "file",
            type=Path,
            help=(
                "A .skops, .onnx, .ubj, .json or .txt model, or a folder of an MLflow model. An"
                " .onnx model may keep its weights in files beside it."
            ),
        )
        parser.add_argument(
            "--framework",
            choices=list(FRAMEWORKS),
            help="Detected from the file's content by default.",
        )
        add_version_arguments(parser)
        parser.add_argument(
            "--signature",
            metavar="JSON",
            help="Names, types and classes that the file does not contain.",
        )
        add_example_arguments(parser)
        add_reference_arguments(parser)
        parser.add_argument(
            "--to",
            choices=["onnx"],
            help=(
                "Convert the model first, and register the ONNX file if its answers match the"
                f" model's. They are compared on the example rows, {MIN_EXAMPLE_ROWS:,} or more, or"
                f" without any on {N_SYNTHETIC_ROWS:,} synthetic rows that fit the signature."
            ),
        )

    def handle(self, *, file: Path, **options: Any) -> None:
        signature = parse_json_option("--signature", options["signature"])
        source = ModelSource(
            path=file,
            framework=options["framework"],
            fields=version_fields(options),
            signature=validate_option("--signature", SignatureField().run_validation, signature),
            example=read_example(options, is_unlimited=options["to"] is not None),
        )
        self._reference = read_reference(options)
        try:
            if file.is_dir():
                source = from_folder(source)
                self._warn_of_predict_function(source.fields["tags"].get(MLFLOW_TAG, {}))
            if options["to"] == "onnx":
                self._convert(source)
            else:
                with tempfile.TemporaryDirectory(prefix="mlapi-") as folder:
                    self._register(with_external_data_inside(source, Path(folder)))
        except OSError as error:
            raise CommandError(f"{source.path} cannot be read or copied: {error}") from error
        except ArtifactRejected as error:
            raise CommandError(f"{source.path} was not registered: {error}") from error

    def _warn_of_predict_function(self, origin: dict[str, str]) -> None:
        if "predict_fn" in origin:
            self.stdout.write(
                self.style.WARNING(
                    f"MLflow serves this model with {origin['predict_fn']}. mlapi's invocations"
                    " return what predict does, and its predictions also hold probabilities."
                )
            )

    # -- registering a file

    def _register(self, source: ModelSource) -> None:
        try:
            with source.path.open("rb") as content:
                upload = Upload(
                    self._with_progress(content, source.path.stat().st_size),
                    source.signature,
                    source.example[:MAX_EXAMPLE_ROWS],
                )
                version = register_model(framework=source.framework, upload=upload, **source.fields)
        except VersionExists as error:
            self._accept_same_file(source.path, source.fields, error)
            return
        self.stdout.write(
            self.style.SUCCESS(
                f"Registered {version} as id {version.pk}: {version.framework},"
                f" {version.size_bytes} bytes, sha256 {version.sha256}"
            )
        )
        self.stdout.write(f"Stored as {files.location(version)}")
        batching = version.signature["batching"]
        if batching != "joined":
            self.stdout.write(BATCHING_EXPLANATIONS[batching])
        self._set_reference(version)

    def _with_progress(self, content: BinaryIO, size_bytes: int) -> Iterator[bytes]:
        # disable=None: no bar if the output is not a terminal.
        with tqdm(
            total=size_bytes,
            unit="B",
            unit_scale=True,
            desc="Copied",
            file=self.stderr,
            disable=None,
        ) as progress:
            for chunk in iter(functools.partial(content.read, CHUNK_BYTES), b""):
                progress.update(len(chunk))
                yield chunk

    def _accept_same_file(self, path: Path, fields: VersionFields, error: VersionExists) -> None:
        """Report an existing version as success if its file is this one; raises CommandError."""
        if "version" not in fields:
            raise CommandError(
                f"{error}, because others are registering this name as well. Try again."
            ) from error
        version = ModelVersion.objects.get(name=fields["name"], version=fields["version"])
        if digest(path) != version.sha256:
            raise CommandError(f"{error}, with another file. Choose another version.") from error
        self.stdout.write(f"{version} is already registered from this file, as id {version.pk}.")
        self._set_reference(version)

    def _set_reference(self, version: ModelVersion) -> None:
        if self._reference is not None:
            self.stdout.write(set_reference(version, self._reference))

    # -- converting it to ONNX first

    def _convert(self, source: ModelSource) -> None:
        check_conversion_tags(source.fields)
        sha256 = digest(source.path)
        if self._is_already_converted(source.fields, sha256):
            return
        framework = check_framework(source.path, source.framework)
        self.stdout.write(f"Converting {source.path.name} to ONNX")
        with tempfile.TemporaryDirectory(prefix="mlapi-") as folder:
            conversion = convert_to_onnx(source, framework, Path(folder))
            self._report(conversion)
            self._register(from_conversion(source, conversion, framework, sha256))

    def _is_already_converted(self, fields: VersionFields, sha256: str) -> bool:
        """Whether the version exists, converted from that file; raises CommandError if not from it.

        The digest of the ONNX file does not show that: converters do not write the same bytes every
        time.
        """
        version = ModelVersion.objects.filter(
            name=fields["name"], version=fields.get("version")
        ).first()
        if version is None:
            return False
        converted_from = version.tags.get(SOURCE_TAG)
        if not isinstance(converted_from, dict) or converted_from.get("sha256") != sha256:
            raise CommandError(
                f"Model {version} already exists, but was not converted from this file. Choose"
                " another version."
            )
        self.stdout.write(
            f"{version} is already registered, converted from this file, as id {version.pk}."
        )
        self._set_reference(version)
        return True

    def _report(self, conversion: Conversion) -> None:
        parity = conversion.parity
        rows = f"{parity.rows:,} example rows"
        if conversion.is_synthetic:
            rows = f"{parity.rows:,} synthetic rows, because no example rows were given"
        self.stdout.write(
            f"Compared on {rows}: all labels are equal, the largest difference is"
            f" {parity.max_difference:.2g} (tolerance {TOLERANCE:g}), in {conversion.precision}"
            " precision"
        )
        if conversion.refuses_missing:
            self.stdout.write(
                self.style.WARNING(
                    "The ONNX form cannot hold some missing values, or answers them otherwise, and"
                    " the version refuses those: see 'nullable' in its signature."
                )
            )
