"""What `register_model` registers: a model file as it is, from MLflow, or converted to ONNX."""

import os
from dataclasses import dataclass, replace
from pathlib import Path

from django.conf import settings
from django.core.management.base import CommandError

from registry.artifacts.errors import ArtifactRejected
from registry.artifacts.external_data import has_external_data, make_single_file
from registry.artifacts.mlflow_folder import MLFLOW_TAG, MLMODEL, read_folder
from registry.conversion.launch import Conversion, convert
from registry.conversion.parity import TOLERANCE
from registry.exact_json.values import JSONObject, check_annotation
from registry.loading.loader import load_options
from registry.management.arguments import VersionFields

# A conversion loads and scores the model in several forms, besides building them.
CONVERSION_TIMEOUT_FACTOR = 10
SOURCE_TAG, PARITY_TAG = "converted_from", "parity"


@dataclass(frozen=True, slots=True)
class ModelSource:
    """A model file, what is declared about it, and the fields of its version."""

    path: Path
    framework: str | None
    signature: JSONObject | None
    example: list[object]
    fields: VersionFields


def from_mlflow_folder(source: ModelSource) -> ModelSource:
    """The model file in an MLflow folder, which `source` names as its path.

    MLflow's signature and metrics apply unless the source has its own. Raises CommandError or
    ArtifactRejected.
    """
    fields = source.fields
    if MLFLOW_TAG in fields["tags"]:
        raise CommandError(f"--tags: the tag {MLFLOW_TAG} is reserved for the origin of the model.")
    model = read_folder(source.path, with_signature=source.signature is None)
    metrics = fields["metrics"] or model.metrics
    tags = fields["tags"] | {MLFLOW_TAG: model.origin}
    try:
        check_annotation(metrics)
        check_annotation(tags)
    except ValueError as error:
        raise CommandError(f"{source.path}: its MLmodel cannot be stored. {error}") from error
    return ModelSource(
        path=model.path,
        framework=source.framework,
        signature=model.signature or source.signature,
        example=source.example,
        fields={**fields, "metrics": metrics, "tags": tags},
    )


def from_folder(source: ModelSource) -> ModelSource:
    """The model in a folder of MLflow's, or the only .onnx file of another folder.

    Raises CommandError or ArtifactRejected.
    """
    graphs = sorted(source.path.glob("*.onnx"))
    if (source.path / MLMODEL).exists() or not graphs:
        return from_mlflow_folder(source)
    if len(graphs) > 1:
        names = ", ".join(path.name for path in graphs[:10])
        raise ArtifactRejected(f"The folder holds several models: {names}. Name one of them.")
    return replace(source, path=graphs[0])


def with_external_data_inside(source: ModelSource, folder: Path) -> ModelSource:
    """The source as it is, or for an ONNX model with its weights in other files, one file in
    `folder`. Raises ArtifactRejected.
    """
    if not has_external_data(source.path):
        return source
    single = make_single_file(
        source.path,
        folder,
        timeout_seconds=settings.PROOF_TIMEOUT_SECONDS,
        memory_bytes=settings.PROOF_MEMORY_BYTES,
        limit_bytes=settings.MAX_ARTIFACT_BYTES,
    )
    return replace(source, path=single)


def convert_to_onnx(source: ModelSource, framework: str, folder: Path) -> Conversion:
    """Write the source's ONNX form into `folder`; raises ArtifactRejected."""
    return convert(
        source.path,
        folder,
        framework=framework,
        options=load_options(),
        declared=source.signature,
        example=source.example,
        timeout_seconds=CONVERSION_TIMEOUT_FACTOR * settings.PROOF_TIMEOUT_SECONDS,
        memory_bytes=settings.PROOF_MEMORY_BYTES,
        file_bytes=settings.MAX_ARTIFACT_BYTES,
    )


def from_conversion(
    source: ModelSource, conversion: Conversion, framework: str, sha256: str
) -> ModelSource:
    """The ONNX file of a conversion, tagged with its source and how well the two agree."""
    tags: JSONObject = {
        SOURCE_TAG: {
            "framework": framework,
            "sha256": sha256,
            # A file name may hold bytes that are not UTF-8 and could not be stored.
            "file": os.fsencode(source.path.name).decode(errors="replace"),
            "libraries": conversion.libraries,
        },
        PARITY_TAG: {
            "rows": conversion.parity.rows,
            "generated": conversion.is_synthetic,
            "labels_equal": conversion.parity.labels_differ == 0,
            "max_difference": conversion.parity.max_difference,
            "tolerance": TOLERANCE,
        },
    }
    return ModelSource(
        path=conversion.path,
        framework="onnx",
        signature=conversion.signature,
        example=source.example,
        fields={**source.fields, "tags": source.fields["tags"] | tags},
    )


def check_conversion_tags(fields: VersionFields) -> None:
    """Raise CommandError if the caller sets a tag that a conversion writes."""
    reserved = sorted({SOURCE_TAG, PARITY_TAG} & fields["tags"].keys())
    if reserved:
        raise CommandError(f"--tags: {' and '.join(reserved)} are written by --to onnx.")
