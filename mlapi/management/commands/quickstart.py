import argparse
import json
import secrets
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import DEFAULT_DB_ALIAS

from mlapi.management.commands.serve import port_number
from mlapi.server import addresses
from mlapi.server.addresses import AddressError
from predictions.serving import services
from predictions.serving.questions import Question
from registry.exact_json.values import JSONObject
from registry.locks.process_locks import process_lock
from registry.models import ModelVersion
from registry.services import Upload, register_model

USERNAME = "admin"
VERSION = "1"
TRAINING_TIMEOUT_SECONDS = 300


@dataclass(frozen=True, slots=True)
class Example:
    """A trained model, as mlapi/management/example_models.py writes it to its JSON file."""

    name: str
    framework: str
    description: str
    metrics: Mapping[str, float]
    file: str
    signature: JSONObject
    example: Sequence[JSONObject]


class Command(BaseCommand):
    help = (
        "Set up the service and start it: apply the migrations, create a user, train and register"
        " two models, request a prediction from each, print what to do next, and serve on loopback."
        " It is safe to run again."
    )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--port", type=port_number, default=8000, help="Port to serve on (8000)."
        )
        parser.add_argument("--no-serve", action="store_true", help="Set up without serving.")

    def handle(self, *, port: int, no_serve: bool, **options: object) -> None:
        if not no_serve:
            # Before the work of minutes, not after it.
            _require_free(port)
        with process_lock("quickstart", using=DEFAULT_DB_ALIAS, on_wait=self._say_that_it_waits):
            self._print_step("Applying migrations")
            call_command("migrate", verbosity=0, stdout=self.stdout)
            password = self._create_user()
            registered = self._register_examples()
        for version, row in registered:
            if version.is_active and version.has_artifact:
                self._predict(version, row)
            else:
                self.stdout.write(f"  {version} is inactive or has no file: no prediction")
        self._print_next_steps(port, password, *registered[0])
        if not no_serve:
            self.stdout.flush()
            call_command("serve", port=port)

    def _say_that_it_waits(self) -> None:
        self._print_step("Waiting for another quickstart to set up the same database")
        self.stdout.flush()

    def _print_step(self, text: str) -> None:
        self.stdout.write(self.style.MIGRATE_HEADING(text))

    def _create_user(self) -> str | None:
        """The new user's password, or None if the user already exists."""
        users = get_user_model()._default_manager
        if users.filter(username=USERNAME).exists():
            self._print_step(f"The user {USERNAME} already exists")
            return None
        password = secrets.token_urlsafe(12)
        users.create_superuser(username=USERNAME, password=password)
        self._print_step(f"Created the user {USERNAME}")
        self.stdout.write(f"  password: {password}   (shown only once)")
        return password

    def _register_examples(self) -> list[tuple[ModelVersion, JSONObject]]:
        """Each registered version with a row to score."""
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            self._print_step("Training two models on scikit-learn's own data")
            self._train(folder)
            content = json.loads((folder / "examples.json").read_text())
            examples = [Example(**fields) for fields in content]
            return [(self._register(folder, example), example.example[0]) for example in examples]

    def _train(self, folder: Path) -> None:
        # In a separate process: this one becomes the server, which must not import scikit-learn.
        completed = subprocess.run(  # noqa: S603 -- our own module and a temporary folder
            [sys.executable, "-m", "mlapi.management.example_models", str(folder)],
            cwd=settings.BASE_DIR,
            capture_output=True,
            text=True,
            timeout=TRAINING_TIMEOUT_SECONDS,
            check=False,
        )
        if completed.returncode:
            reason = completed.stderr.strip().splitlines()[-1:] or ["no output"]
            raise CommandError(
                f"The training failed: {reason[0]}. It needs: pip install -e '.[sklearn]'"
            )

    def _register(self, folder: Path, example: Example) -> ModelVersion:
        existing = ModelVersion.objects.filter(name=example.name, version=VERSION).first()
        if existing is not None:
            self.stdout.write(f"  {existing} is already registered with id {existing.pk}")
            return existing
        content = (folder / example.file).read_bytes()
        version = register_model(
            name=example.name,
            version=VERSION,
            framework=example.framework,
            description=example.description,
            metrics=dict(example.metrics),
            upload=Upload([content], example.signature, example.example),
        )
        metrics = ", ".join(f"{name} {value:.3f}" for name, value in example.metrics.items())
        self.stdout.write(f"  registered {version} with id {version.pk} ({metrics})")
        return version

    def _predict(self, version: ModelVersion, row: JSONObject) -> None:
        record = services.predict(Question(model_id=version.pk), row)
        output = record.output if isinstance(record.output, dict) else {}
        result = output.get("label", record.prediction)
        confidence = "" if record.confidence is None else f" (confidence {record.confidence:.3f})"
        self.stdout.write(f"  prediction {record.pk} by {version}: {result}{confidence}")

    def _print_next_steps(
        self, port: int, password: str | None, version: ModelVersion, row: JSONObject
    ) -> None:
        base = f"http://127.0.0.1:{port}"
        login = json.dumps({"username": USERNAME, "password": password or "YOUR PASSWORD"})
        body = json.dumps({"model_id": version.pk, "input_data": row})
        as_json = '-H "Content-Type: application/json"'
        authorized = '-H "Authorization: Bearer $TOKEN"'
        print_access = """import json, sys; print(json.load(sys.stdin)["access"])"""
        self._print_step("Try it")
        self.stdout.write(
            f"""
TOKEN=$(curl -s {base}/api/v1/auth/token/ {as_json} \\
  -d {shlex.quote(login)} | python3 -c {shlex.quote(print_access)})
curl -s {base}/api/v1/predictions/ {authorized} {as_json} \\
  -d {shlex.quote(body)}
curl -s "{base}/api/v1/predictions/?model_id={version.pk}&limit=10" {authorized}

API documentation {base}/api/docs/
Admin             {base}/admin/  (user {USERNAME})
"""
        )


def _require_free(port: int) -> None:
    try:
        addresses.require_free(addresses.resolve("127.0.0.1", port))
    except AddressError as error:
        raise CommandError(f"{error} with --port") from None
