"""The project's Python files, as the architecture tests read them."""

import ast
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

from mlapi.tests.architecture.rooms import ROOMS

PROJECT = Path(__file__).resolve().parents[3]
PACKAGES = ("registry", "predictions", "mlapi", "benchmarks")


@dataclass(frozen=True)
class Source:
    """One Python file; `module` is its dotted name."""

    path: Path
    module: str

    @property
    def room(self) -> str:
        return room_of(self.module)

    @property
    def is_test(self) -> bool:
        return is_test_module(self.module)

    @property
    def is_data(self) -> bool:
        """Whether it is written by Django or only run to produce test data."""
        parts = self.module.split(".")
        return "migrations" in parts or "data" in parts

    @cached_property
    def syntax_tree(self) -> ast.Module:
        return ast.parse(self.path.read_text())

    @cached_property
    def imports(self) -> frozenset[str]:
        """The project's modules that it imports, at the top or inside functions."""
        names: list[str] = []
        for node in ast.walk(self.syntax_tree):
            if isinstance(node, ast.Import):
                names += [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                names += [f"{node.module}.{alias.name}" for alias in node.names]
        return frozenset(
            _existing_module(name) for name in names if name.partition(".")[0] in PACKAGES
        )


@cache
def sources() -> tuple[Source, ...]:
    return tuple(
        Source(path, _module_name(path))
        for package in PACKAGES
        for path in sorted((PROJECT / package).rglob("*.py"))
        if not any(part.startswith(".") for part in path.relative_to(PROJECT).parts)
    )


def room_of(module: str) -> str:
    """The innermost room that contains a module; its top-level package if it has none."""
    parts = module.split(".")
    candidates = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
    return next((name for name in candidates if name in ROOMS), parts[0])


def is_test_module(module: str) -> bool:
    parts = module.split(".")
    return "tests" in parts or "testing" in parts or parts[-1] == "conftest"


def _module_name(path: Path) -> str:
    parts = path.relative_to(PROJECT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def _existing_module(name: str) -> str:
    """`name`, or the module that it is an attribute of."""
    path = PROJECT / Path(*name.split("."))
    if path.is_dir() or path.with_suffix(".py").is_file():
        return name
    return name.rpartition(".")[0]
