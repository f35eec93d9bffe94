"""Virtual environments below `.cache/`, one per peer, rebuilt when the pins change."""

import json
import os
import shutil
import subprocess
import sys
import tomllib
import venv
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

PROJECT = Path(__file__).resolve().parents[2]
CACHE = PROJECT / "benchmarks" / ".cache"
INSTALL_TIMEOUT_SECONDS = 1800
MARKER = "benchmark-environment.json"


class NotInstallable(Exception):
    """pip could not install an environment; the message ends with pip's last output."""


class Interpreter(Protocol):
    """A Python with the packages that a program needs."""

    @property
    def python(self) -> str: ...

    def variables(self, **more: str) -> dict[str, str]: ...

    def build(self) -> None: ...


class CurrentEnvironment:
    """The Python that runs the benchmarks; it needs the development environment's packages."""

    python = sys.executable

    def variables(self, **more: str) -> dict[str, str]:
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
        return {**inherited, **more}

    def build(self) -> None:
        """Nothing to install."""


@dataclass(frozen=True, slots=True)
class Environment:
    """A separate virtual environment with pinned packages."""

    name: str
    requirements: tuple[str, ...]

    @property
    def folder(self) -> Path:
        return CACHE / "environments" / self.name

    @property
    def python(self) -> str:
        return self.program("python")

    def program(self, name: str) -> str:
        return str(self.folder / "bin" / name)

    def variables(self, **more: str) -> dict[str, str]:
        """The variables of this process, with the virtual environment activated."""
        inherited = {
            key: value for key, value in os.environ.items() if not key.startswith("PYTHON")
        }
        path = f"{self.folder / 'bin'}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
        return {**inherited, "VIRTUAL_ENV": str(self.folder), "PATH": path, **more}

    def build(self) -> None:
        """Install it unless it is up to date; raises NotInstallable."""
        state: dict[str, object] = {"python": sys.version, "requirements": list(self.requirements)}
        if self._has_checkout:
            state["checkout"] = _checkout_dependencies()
        marker = self.folder / MARKER
        if marker.is_file() and json.loads(marker.read_text()) == state:
            return
        print(f"installing the environment {self.name} (once) ...", file=sys.stderr, flush=True)
        # An incomplete one has no marker: start afresh.
        shutil.rmtree(self.folder, ignore_errors=True)
        venv.create(self.folder, with_pip=True)
        command = [self.python, "-m", "pip", "install", "--quiet", *self._arguments()]
        try:
            completed = subprocess.run(  # noqa: S603
                command,
                env=self.variables(),
                capture_output=True,
                text=True,
                timeout=INSTALL_TIMEOUT_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise NotInstallable(
                f"{self.name}: pip did not finish within {INSTALL_TIMEOUT_SECONDS} s"
            ) from error
        if completed.returncode:
            raise NotInstallable(f"{self.name}: {completed.stderr.strip()[-600:]}")
        marker.write_text(json.dumps(state))

    def run_python(self, code: str, *arguments: str, **variables: str) -> None:
        """Run a short script in it; raises CalledProcessError."""
        subprocess.run(  # noqa: S603
            [self.python, "-c", code, *arguments],
            env=self.variables(**variables),
            check=True,
            stdout=subprocess.DEVNULL,
            timeout=INSTALL_TIMEOUT_SECONDS,
        )

    @property
    def _has_checkout(self) -> bool:
        return any(requirement.startswith(str(PROJECT)) for requirement in self.requirements)

    def _arguments(self) -> list[str]:
        arguments = ["--disable-pip-version-check"]
        for requirement in self.requirements:
            # Editable: the benchmarks measure the checkout as it is.
            is_checkout = requirement.startswith(str(PROJECT))
            arguments += ["--editable", requirement] if is_checkout else [requirement]
        return arguments


def _checkout_dependencies() -> list[object]:
    """The service's requirements: a change of theirs rebuilds its environment."""
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    return [project["dependencies"], project["optional-dependencies"]]


CURRENT = CurrentEnvironment()
MLAPI = Environment(
    "mlapi",
    (f"{PROJECT}[sklearn,onnx,remote]", "joblib", "skl2onnx==1.20.0", "protobuf>=6.31.1,<7"),
)
GUIDE = Environment(
    "guide",
    (
        "fastapi==0.165.0",
        "uvicorn[standard]==0.54.0",
        "sqlalchemy[asyncio]==2.0.58",
        "asyncpg==0.32.0",
        "pydantic-settings>=2,<3",
    ),
)
MLSERVER = Environment(
    "mlserver",
    (
        "mlserver==1.7.1",
        "mlserver-sklearn==1.7.1",
        "scikit-learn==1.9.1",
        # With later versions its inference process finds no event loop and exits at start.
        "uvloop==0.21.0",
    ),
)
MLFLOW = Environment("mlflow", ("mlflow==3.17.2", "scikit-learn==1.9.1"))
BENTOML = Environment("bentoml", ("bentoml==1.4.39", "scikit-learn==1.9.1"))
LITSERVE = Environment("litserve", ("litserve==0.2.19", "scikit-learn==1.9.1"))
PROFILER = Environment("profiler", ("py-spy==0.4.3",))
