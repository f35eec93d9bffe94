"""What the documentation refers to exists."""

import re
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
CORRECTNESS = PROJECT / "docs" / "correctness.md"
ABBREVIATIONS = {
    "R/": "registry/runtimes/",
    "A/": "registry/artifacts/",
    "C/": "registry/conversion/tests/",
    "P/": "predictions/",
}


def expand(path: str) -> Path:
    for short, folder in ABBREVIATIONS.items():
        if path.startswith(short):
            return PROJECT / folder / path.removeprefix(short)
    return PROJECT / path


def named_tests(text: str) -> list[tuple[Path, str]]:
    """Each path and test in backticks; a test without a path is in the last path before it."""
    named: list[tuple[Path, str]] = []
    for path, test in re.findall(r"`([\w/]*(?:\.py|tests/))?(?:::(\w+))?(?:\[[^`]*\])?`", text):
        if path or test:
            named.append((expand(path) if path else named[-1][0], test))
    return named


def test_the_tests_that_the_page_on_correctness_names_exist() -> None:
    named = named_tests(CORRECTNESS.read_text())

    missing = [
        f"{path.relative_to(PROJECT)}::{test}"
        for path, test in named
        if not path.exists() or (test and f"def {test}(" not in path.read_text())
    ]

    assert len(named) > 50
    assert missing == []
