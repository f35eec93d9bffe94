"""`python -m benchmarks files [CHECKOUT]`: the project's files that one POST runs through.

Sends a warmed POST /api/v1/predictions/ through the WSGI application, in-process, and lists the
distinct files of the project whose functions run during that request, in any thread. CHECKOUT is
the path of another checkout of mlapi, such as a worktree of an older commit.
"""

import argparse
import json
import tempfile
from pathlib import Path

from benchmarks import report
from benchmarks.harness import models
from benchmarks.harness.environments import PROJECT
from benchmarks.harness.service import PASSWORD, USERNAME, Installation
from benchmarks.options import add_json

PROBE = Path(__file__).with_name("crossing_probe.py")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("checkout", type=Path, nargs="?", default=PROJECT, metavar="CHECKOUT")
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    checkout = options.checkout.resolve()
    model = models.load("iris")
    with tempfile.TemporaryDirectory(prefix="mlapi-benchmark-") as name:
        folder = Path(name)
        url = f"sqlite:///{folder / 'db.sqlite3'}"
        installation = Installation(url, folder, checkout=checkout)
        installation.set_up()
        installation.register(model.file("onnx"), name=model.name)
        files = _probe(installation, model.rows[0])
    for number, file in enumerate(files, 1):
        print(f"{number:3}  {file}")
    print(f"\nA POST /api/v1/predictions/ runs through {len(files)} files of the project.")
    report.write_json(options.json, {"files": files})
    return 0


def _probe(installation: Installation, row: tuple[float, ...]) -> list[str]:
    output = installation.python(
        str(PROBE), json.dumps(row), PROBE_USERNAME=USERNAME, PROBE_PASSWORD=PASSWORD
    )
    files: list[str] = json.loads(output.splitlines()[-1])
    return files
