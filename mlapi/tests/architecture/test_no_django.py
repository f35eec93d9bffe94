"""The rooms without Django can be imported where Django and REST framework are not installed."""

import ast
import json

import pytest

from mlapi.tests.architecture.rooms import NO_DJANGO_ROOMS
from mlapi.tests.architecture.sources import Source, sources
from registry.testing.processes import python

pytestmark = pytest.mark.slow

# Imports each module and prints the errors by module.
SCRIPT = """
import importlib, json, sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("django", "rest_framework"):
            raise ImportError(f"{name} is blocked")

sys.meta_path.insert(0, Blocker())
errors = {}
for name in MODULES:
    try:
        importlib.import_module(name)
    except Exception as error:
        errors[name] = str(error)
print(json.dumps(errors))
"""


def modules_without_django() -> list[str]:
    """The modules of NO_DJANGO_ROOMS, and all others that claim it in their docstring."""
    return [
        source.module
        for source in sources()
        if not source.is_test and (source.room in NO_DJANGO_ROOMS or claims_no_django(source))
    ]


def claims_no_django(source: Source) -> bool:
    return "No Django" in (ast.get_docstring(source.syntax_tree) or "")


@pytest.fixture(scope="module")
def import_errors() -> dict[str, str]:
    result = python(f"MODULES = {modules_without_django()!r}\n{SCRIPT}")
    assert result.returncode == 0, result.stderr
    errors: dict[str, str] = json.loads(result.stdout.splitlines()[-1])
    return errors


@pytest.mark.parametrize("module", modules_without_django())
def test_module_imports_without_django(import_errors: dict[str, str], module: str) -> None:
    assert import_errors.get(module) is None


def test_import_of_django_is_detected() -> None:
    result = python(f"MODULES = ['registry.models']\n{SCRIPT}")

    assert "registry.models" in json.loads(result.stdout)
