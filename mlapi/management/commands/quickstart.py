import argparse
import json
import secrets
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError

from predictions.serving import services
from predictions.serving.questions import Question
from registry.models import ModelVersion
from registry.services import Upload, register_model

USERNAME = "admin"
VERSION = "1"
TRAINING_TIMEOUT_SECONDS = 300


class Command(BaseCommand):
    help = (
        "Set everything up and serve it: migrate, make a user, train, register and try two models,"
        " print what to do next, and serve on loopback. Running it again is harmless."
    )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--port", type=int, default=8000, help="Port to serve on (8000).")
        parser.add_argument("--no-serve", action="store_true", help="Set up, and do not serve.")

    def handle(self, *, port: int, no_serve: bool, **options: Any) -> None:
        self._step("Applying migrations")
        call_command("migrate", verbosity=0, stdout=self.stdout)
        password = self._make_user()
        versions = self._register_examples()
        for version, row in versions:
            if version.is_active and version.has_artifact:
                self._predict(version, row)
            else:
                self.stdout.write(f"  {version} is inactive or has no file: not asked")
        self._print_next_steps(port, password, *versions[0])
        if not no_serve:
            self.stdout.flush()
            call_command("serve", port=port)

    def _step(self, text: str) -> None:
        self.stdout.write(self.style.MIGRATE_HEADING(text))

    def _make_user(self) -> str | None:
        """The new user's password, or None where the user was there already."""
        users = get_user_model()._default_manager
        if users.filter(username=USERNAME).exists():
            self._step(f"User {USERNAME} is there already")
            return None
        password = secrets.token_urlsafe(12)
        users.create_superuser(username=USERNAME, password=password)
        self._step(f"Made the user {USERNAME}")
        self.stdout.write(f"  password: {password}   (shown this once)")
        return password

    def _register_examples(self) -> list[tuple[ModelVersion, dict[str, Any]]]:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            self._step("Training two models on scikit-learn's own data")
            self._train(folder)
            examples = json.loads((folder / "examples.json").read_text())
            return [
                (self._register(folder, **example), example["example"][0]) for example in examples
            ]

    def _train(self, folder: Path) -> None:
        # In a process of its own: this one goes on to serve, and forks.
        trained = subprocess.run(  # noqa: S603 -- our own module, and a folder of ours
            [sys.executable, "-m", "mlapi.management.example_models", str(folder)],
            cwd=settings.BASE_DIR,
            capture_output=True,
            text=True,
            timeout=TRAINING_TIMEOUT_SECONDS,
        )
        if trained.returncode:
            reason = trained.stderr.strip().splitlines()[-1:] or ["no reason given"]
            raise CommandError(
                f"The training failed: {reason[0]}. It needs pip install -e '.[sklearn]'."
            )

    def _register(
        self, folder: Path, *, name: str, file: str, signature: Any, example: Any, **about: Any
    ) -> ModelVersion:
        existing = ModelVersion.objects.filter(name=name, version=VERSION).first()
        if existing is not None:
            self.stdout.write(f"  {existing} is registered already, as id {existing.pk}")
            return existing
        content = (folder / file).read_bytes()
        version = register_model(
            name=name, version=VERSION, upload=Upload([content], signature, example), **about
        )
        shown = ", ".join(f"{key} {value:.3f}" for key, value in about["metrics"].items())
        self.stdout.write(f"  registered {version} as id {version.pk} ({shown})")
        return version

    def _predict(self, version: ModelVersion, row: dict[str, Any]) -> None:
        record = services.predict(Question(model_id=version.pk), row)
        answer = (record.output or {}).get("label", record.prediction)
        sure = "" if record.confidence is None else f" (confidence {record.confidence:.3f})"
        self.stdout.write(f"  prediction {record.pk} by {version}: {answer}{sure}")

    def _print_next_steps(
        self, port: int, password: str | None, version: ModelVersion, row: dict[str, Any]
    ) -> None:
        base = f"http://127.0.0.1:{port}"
        login = json.dumps({"username": USERNAME, "password": password or "YOUR PASSWORD"})
        body = json.dumps({"model_id": version.pk, "input_data": row})
        as_json = '-H "Content-Type: application/json"'
        authorized = '-H "Authorization: Bearer $TOKEN"'
        print_access = """import json, sys; print(json.load(sys.stdin)["access"])"""
        self._step("Try it")
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
