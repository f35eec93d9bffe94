"""What the documentation refers to exists."""

import re
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]


def named_tests(text: str) -> list[tuple[Path, str]]:
    """Each path and test in backticks; a test without a path is in the last path before it.

    The page says which paths it shortens: "`R/` is `registry/runtimes/`".
    """
    abbreviations = dict(re.findall(r"`(\w/)`\s+is\s+`([\w/]+)`", text))
    named: list[tuple[Path, str]] = []
    for path, test in re.findall(r"`([\w/]*(?:\.py|tests/))?(?:::(\w+))?(?:\[[^`]*\])?`", text):
        if path or test:
            folder = abbreviations.get(path[:2], path[:2])
            named.append((PROJECT / (folder + path[2:]) if path else named[-1][0], test))
    return named


@pytest.mark.parametrize("page", ["correctness", "resilience"])
def test_the_tests_that_a_page_names_exist(page: str) -> None:
    named = named_tests((PROJECT / "docs" / f"{page}.md").read_text())

    missing = [
        f"{path.relative_to(PROJECT)}::{test}"
        for path, test in named
        if not path.exists() or (test and f"def {test}(" not in path.read_text())
    ]

    assert len(named) > 50
    assert missing == []
