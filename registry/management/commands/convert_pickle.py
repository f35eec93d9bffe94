import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any, TypedDict

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from registry.artifacts import proof
from registry.artifacts.errors import ArtifactRejected
from registry.artifacts.sniffing import sniff
from registry.conversion.launch import convert
from registry.conversion.pickles.confinement import Confinement, probe
from registry.conversion.pickles.launch import Export, Target, export
from registry.conversion.pickles.listing import Listing, read_listing
from registry.exact_json.values import JSONObject
from registry.loading.loader import load_options
from registry.management.arguments import parse_json_option, validate_option
from registry.management.example_rows import add_example_arguments, read_example
from registry.management.model_source import CONVERSION_TIMEOUT_FACTOR
from registry.management.pickles import (
    describe_confinement,
    describe_listing,
    publish,
    register_command,
    require_free,
)
from registry.runtimes import FRAMEWORKS
from registry.serializers import SignatureField


class _Limits(TypedDict):
    timeout_seconds: float
    memory_bytes: int
    file_bytes: int


def _limits() -> _Limits:
    """A conversion loads the model several times and answers thousands of rows."""
    return {
        "timeout_seconds": CONVERSION_TIMEOUT_FACTOR * settings.PROOF_TIMEOUT_SECONDS,
        "memory_bytes": settings.PROOF_MEMORY_BYTES,
        "file_bytes": settings.MAX_ARTIFACT_BYTES,
    }


class Command(BaseCommand):
    help = (
        "Convert a pickle (also of joblib, cloudpickle or MLflow) that you trust to a file that can"
        " be registered. Loading a pickle runs the code in it: this command first lists what it"
        " would run, asks, and then loads it in a confined process. The service itself never loads"
        " a pickle."
    )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("file", type=Path, help="The pickle.")
        parser.add_argument(
            "--to",
            choices=["skops", "native", "onnx"],
            help=(
                "skops for estimators of scikit-learn, native for XGBoost, LightGBM and CatBoost,"
                " or onnx. By default native if there is such a format, else skops."
            ),
        )
        parser.add_argument(
            "--output", type=Path, help="The file to write; by default beside the pickle."
        )
        parser.add_argument("--force", action="store_true", help="Replace the output file.")
        parser.add_argument(
            "--yes", action="store_true", help="Load the pickle without asking, for scripts."
        )
        parser.add_argument(
            "--accept-risk",
            action="store_true",
            help=(
                "With --yes, also load a pickle with dangerous imports, or on a system that cannot"
                " confine the process completely."
            ),
        )
        parser.add_argument(
            "--signature",
            metavar="JSON",
            help="Names, types and classes that the model does not contain.",
        )
        add_example_arguments(parser)

    def handle(self, *, file: Path, **options: Any) -> None:
        signature = parse_json_option("--signature", options["signature"])
        declared = validate_option("--signature", SignatureField().run_validation, signature)
        example = read_example(options, is_unlimited=True)
        if options["output"] is not None:
            require_free(options["output"], overwrite=options["force"])
        try:
            self._reject_model_file(file)
            with tempfile.TemporaryDirectory(prefix="mlapi-") as folder:
                self._convert(file, Path(folder), declared, example, options)
        except OSError as error:
            raise CommandError(f"{error.filename or file} cannot be used: {error}") from error
        except ArtifactRejected as error:
            raise CommandError(f"{file} was not converted: {error}") from error

    def _reject_model_file(self, file: Path) -> None:
        if file.is_dir():
            raise CommandError(f"{file} is a folder. Name the pickle in it.")
        try:
            framework = sniff(file)
        except ArtifactRejected:
            return
        raise CommandError(
            f"{file} is not a pickle but a file of {framework}, which can be registered as it is:"
            f" {register_command(file, None)}"
        )

    def _convert(
        self,
        file: Path,
        folder: Path,
        declared: JSONObject | None,
        example: list[object],
        options: dict[str, Any],
    ) -> None:
        self.stdout.write(f"Reading {file}, without loading it")
        listing = read_listing(file, folder, **_limits())
        confinement = probe()
        self._ask(file, listing, confinement, options)
        to = options["to"]
        target: Target | None = None if to == "onnx" else to
        self.stdout.write("Loading the pickle, writing its model and comparing their answers")
        exported = export(
            folder,
            writer=listing.writer,
            target=target,
            confinement=confinement,
            options=load_options(),
            declared=declared,
            example=example,
            **_limits(),
        )
        self._report(exported)
        path, framework, signature = exported.path, exported.framework, exported.signature
        if to == "onnx":
            path, framework, signature = self._convert_to_onnx(exported, folder, example)
        self._prove(path, framework, signature, example)
        output = options["output"] or file.with_suffix(FRAMEWORKS[framework].suffixes[0])
        require_free(output, overwrite=options["force"])
        publish(path, output, overwrite=options["force"])
        self.stdout.write(self.style.SUCCESS(f"Wrote {output}. Register it with:"))
        self.stdout.write(f"  {register_command(output, signature)}")

    # -- asking

    def _ask(
        self, file: Path, listing: Listing, confinement: Confinement, options: dict[str, Any]
    ) -> None:
        for line in describe_listing(file.name, listing):
            self.stdout.write(line)
        if listing.writer == "torch":
            raise ArtifactRejected(
                "It is PyTorch's. Load it in your own program and export it to ONNX:"
                " torch.onnx.export(model, args, 'model.onnx', external_data=False)."
            )
        for line in describe_confinement(confinement, **_limits()):
            self.stdout.write(line)
        has_risk = bool(listing.of_risk("dangerous") or confinement.gaps)
        if options["yes"]:
            if has_risk and not options["accept_risk"]:
                raise CommandError(
                    "Not loaded: the lines above in capitals need your own judgement. Answer in a"
                    " terminal without --yes, or add --accept-risk."
                )
            return
        if not sys.stdin.isatty():
            raise CommandError(
                "Not loaded: there is no terminal to ask in. Read the lines above, and run the"
                " command again with --yes if you trust the file."
            )
        if input("Do you trust this file, and load it? [y/N] ").strip().lower() not in ("y", "yes"):
            raise CommandError("Not loaded.")

    # -- converting

    def _report(self, exported: Export) -> None:
        self.stdout.write(f"Found {exported.summary}")
        for warning in exported.version_warnings:
            self.stdout.write(
                self.style.WARNING(
                    f"{warning}, and is read by the installed version: scikit-learn does not"
                    " promise that it answers the same. Compare with answers that you know."
                )
            )
        rows = (
            f"{exported.parity.rows:,} {'synthetic' if exported.is_synthetic else 'example'} rows"
        )
        self.stdout.write(
            f"Compared with the pickle on {rows}: all labels are equal, the largest difference is"
            f" {exported.parity.max_difference:.2g}"
        )

    def _convert_to_onnx(
        self, exported: Export, folder: Path, example: list[object]
    ) -> tuple[Path, str, JSONObject]:
        self.stdout.write("Converting it to ONNX")
        conversion = convert(
            exported.path,
            folder,
            framework=exported.framework,
            options=load_options(),
            declared=exported.signature,
            example=example,
            **_limits(),
        )
        self.stdout.write(
            f"Compared the ONNX form on {conversion.parity.rows:,} rows: all labels are equal, the"
            f" largest difference is {conversion.parity.max_difference:.2g}"
        )
        return conversion.path, "onnx", conversion.signature

    def _prove(
        self, path: Path, framework: str, declared: JSONObject | None, example: list[object]
    ) -> None:
        """Make sure that the file can be registered, in a process that no pickle has touched."""
        proof.prove(
            path,
            framework=framework,
            options=load_options(),
            declared=declared,
            example=example[:1],
            timeout_seconds=settings.PROOF_TIMEOUT_SECONDS,
            memory_bytes=settings.PROOF_MEMORY_BYTES,
        )
