"""Limits on the size of folders, files and functions, tests included."""

import ast
from collections import Counter

from mlapi.tests.architecture.sources import PROJECT, sources

MAX_MODULES = 12
MAX_FILE_LINES = 350
MAX_FUNCTION_LINES = 40

WRITTEN = [source for source in sources() if not source.is_data]


def test_no_folder_has_too_many_modules() -> None:
    modules = Counter(
        str(source.path.parent.relative_to(PROJECT))
        for source in WRITTEN
        if source.path.name != "__init__.py"
    )

    assert {folder: n for folder, n in modules.items() if n > MAX_MODULES} == {}


def test_no_file_is_too_long() -> None:
    lines = {source.module: source.path.read_text().count("\n") for source in WRITTEN}

    assert {module: n for module, n in lines.items() if n > MAX_FILE_LINES} == {}


def test_no_function_is_too_long() -> None:
    lengths = {
        f"{source.module}.{node.name}": (node.end_lineno or node.lineno) - node.lineno + 1
        for source in WRITTEN
        for node in ast.walk(source.syntax_tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }

    assert {name: n for name, n in lengths.items() if n > MAX_FUNCTION_LINES} == {}
