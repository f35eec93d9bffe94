import ast
from pathlib import Path

SERVICE = {"mlapi", "predictions", "registry"}


def test_the_benchmarks_import_nothing_of_the_service() -> None:
    imported = set()
    for path in Path(__file__).resolve().parents[1].rglob("*.py"):
        if ".cache" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported.add((node.module or "").partition(".")[0])

    assert "benchmarks" in imported
    assert imported.isdisjoint(SERVICE)
