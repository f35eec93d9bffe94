"""Proves versions again that an earlier release of mlapi registered."""

from dataclasses import dataclass
from typing import Any

from django.conf import settings

from registry.artifacts import proof
from registry.artifacts.errors import ArtifactRejected
from registry.exact_json.values import JSONObject
from registry.loading.loader import load_options
from registry.models import ModelVersion
from registry.storage import files


@dataclass(frozen=True, slots=True)
class Reproof:
    """`batching` as it is proved now, or in `problem` the reason why the version stays as it is."""

    version: ModelVersion
    batching: str = ""
    problem: str = ""


def reprove(version: ModelVersion, *, dry_run: bool = False) -> Reproof:
    """Prove the version's file again and store how its rows may share a call.

    Nothing else of the signature changes: if it would, the version is reported instead.
    """
    stored: JSONObject = version.signature
    try:
        with files.local_file(version) as path:
            proved = proof.prove(
                path,
                framework=version.framework,
                options=load_options(),
                declared=_declaration(stored),
                example=(),
                timeout_seconds=settings.PROOF_TIMEOUT_SECONDS,
                memory_bytes=settings.PROOF_MEMORY_BYTES,
            ).signature
    except (ArtifactRejected, OSError) as error:
        return Reproof(version, problem=str(error))
    if _without_batching(proved) != _without_batching(stored):
        return Reproof(
            version,
            problem="This release reads the file's inputs or outputs differently: register it "
            "again as a new version.",
        )
    if not dry_run:
        # Compare and swap: two runs at once store the same.
        ModelVersion.objects.filter(pk=version.pk, sha256=version.sha256).update(signature=proved)
    return Reproof(version, batching=proved["batching"])


def _declaration(signature: JSONObject) -> JSONObject:
    """What the file may not contain, from the signature that was completed at registration."""
    members = ("name", "datatype", "features", "nullable")
    batching = signature.get("batching")
    inputs: list[dict[str, Any]] = signature["inputs"]
    return {
        "inputs": [
            {member: tensor[member] for member in members if member in tensor} for tensor in inputs
        ],
        "outputs": [
            {"name": output["name"], "classes": output["classes"]}
            for output in signature["outputs"]
            if output["kind"] == "label"
        ],
        # The owner may have declared "single" although the synthetic rows show no dependence.
        **({"batching": batching} if batching in ("single", "unbatched") else {}),
    }


def _without_batching(signature: JSONObject) -> JSONObject:
    return {member: value for member, value in signature.items() if member != "batching"}
