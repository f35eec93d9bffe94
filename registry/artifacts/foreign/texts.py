"""Text files: tables, configuration, source code, prose. No Django here."""

import codecs
import csv
import re
import tomllib
from collections.abc import Sequence

from registry.artifacts.foreign import advice
from registry.artifacts.foreign.advice import Foreign
from registry.artifacts.foreign.documents import describe_json, describe_markup

_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1a\x1c-\x1f]")
_UTF16 = {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
_MAX_LINES = 200
_MAX_ROWS = 20
_MAX_LINE_LENGTH = 500
_DELIMITERS = {",": "CSV data", "\t": "TSV data", ";": "CSV data", "|": "CSV data"}

_NAME = r"[A-Za-z_][\w.-]*"
_PYTHON = re.compile(
    r"(import [\w.]+( as \w+)?(, ?[\w.]+)*|from [\w.]+ import .+|def \w+\(.*|class \w+(\(.*\))?:)"
)
_REQUIREMENT = re.compile(
    rf"(-[re] .+|--?[\w-]+[ =].+|{_NAME}(\[[\w,. -]+\])?\s*([=<>!~]=?=?\s*[\w.*+!-]+,?\s*)*(;.*)?)"
)
_PINNED = re.compile(rf"{_NAME}(\[[\w,. -]+\])?\s*[=<>!~]=")
_SECTION = re.compile(r"\[[\w .:\"'/-]+\]|\[\[[\w .\"'-]+\]\]")
_SETTING = re.compile(r"[\w .\"'/-]+\s*[=:]\s*.*")
_YAML = re.compile(r"(- .+|-|---.*|\.\.\.|[\w .\"'/-]+:( .*)?|#.*)")
_MARKDOWN = re.compile(r"(#{1,6} \S|```|[*-] \S|\d+\. \S|>|.*\[[^\]]+\]\([^)]+\))")
_LIBSVM = re.compile(r"-?[\d.]+( \d+:-?[\d.eE+-]+)+(\s|$)")

# (how a line of the file begins, what the file is)
_SOURCES: Sequence[tuple[re.Pattern[str], Foreign]] = (
    (re.compile(r"###\s+Model data"), advice.catboost("a CatBoost model as Python source")),
    (re.compile(r"/\* Model data \*/"), advice.catboost("a CatBoost model as C++ source")),
    (
        re.compile(r"booster\[\d+\]:"),
        advice.xgboost("XGBoost's dump of the trees as text, which XGBoost cannot load"),
    ),
    (re.compile(r"#include\s*[<\"]"), advice.data("C or C++ source code")),
    (
        re.compile(r"(package [\w.]+;|import [\w.*]+;|public class )"),
        advice.data("Java source code"),
    ),
    (re.compile(r"(library\(|\w+ <- )"), advice.data("R source code")),
    (re.compile(r"#!.*\bpython"), advice.data("Python source code")),
    (re.compile(r"#!"), advice.data("a script")),
    (re.compile(r"@relation\b", re.IGNORECASE), advice.data("ARFF data")),
    (re.compile(r"-----BEGIN [A-Z ]+-----"), advice.data("a certificate or key (PEM)")),
)
_FOLDER = f"Register the folder itself: {advice.REGISTER_FOLDER}."


def describe_text(start: bytes, tail: bytes, *, is_whole: bool) -> Foreign | None:
    """What the text file is, by its start and its end; None if it is not text."""
    text = _decoded(start)
    if text is None or not text.strip():
        return None
    if start.startswith(tuple(_UTF16)):
        inner = _describe(text, "", is_whole=is_whole)
        return Foreign(f"{inner.what}, in UTF-16", inner.instead)
    return _describe(text, tail.decode(errors="replace"), is_whole=is_whole)


def _decoded(start: bytes) -> str | None:
    """The text; None if the bytes are not text."""
    for bom, encoding in _UTF16.items():
        if start.startswith(bom):
            text = start.decode(encoding, errors="replace")
            return None if _CONTROL.search(text) else text
    try:
        # The last character may be cut.
        text = codecs.getincrementaldecoder("utf-8-sig")().decode(start)
    except UnicodeDecodeError:
        text = start.decode("latin-1")
        # In Latin-1 only letters follow 0xA0, so text of another encoding has few of them.
        if sum(character > "\x7f" for character in text) * 5 > len(text):
            return None
    return None if _CONTROL.search(text) else text


def _describe(text: str, end: str, *, is_whole: bool) -> Foreign:
    if text.startswith("version https://git-lfs"):
        return Foreign("a Git LFS pointer", "Send the file it points to: git lfs pull.")
    if (document := describe_markup(text) or describe_json(text, end)) is not None:
        return document
    lines = [line.rstrip() for line in text.splitlines() if line.strip()]
    if not is_whole:
        # The last line may be cut, and in TOML the last section.
        lines = lines[:-1] or lines
        text = text[: max(text.rfind("\n["), 0)] or text
    rows = lines[:_MAX_ROWS]
    # The time of some patterns grows with the square of the length.
    lines = [line[:_MAX_LINE_LENGTH] for line in lines[:_MAX_LINES]]
    for pattern, foreign in _SOURCES:
        if any(map(pattern.match, lines[:40])):
            return foreign
    return (
        _describe_code_or_settings(text, lines)
        or _describe_table(rows)
        or (advice.data("Markdown") if _is_markdown(lines) else advice.data("plain text"))
    )


def _describe_code_or_settings(text: str, lines: list[str]) -> Foreign | None:
    if any(line.startswith("```") for line in lines):
        return advice.data("Markdown")
    written = [line for line in lines if not line.startswith("#")]
    top = [line for line in written if not line[0].isspace()]
    if any(map(_PYTHON.fullmatch, top)):
        return advice.data("Python source code")
    if any(map(_PINNED.match, top)) and all(map(_REQUIREMENT.fullmatch, written)):
        return advice.data("a list of requirements (requirements.txt)")
    if _is_toml(text):
        return advice.data("TOML configuration")
    if top and _SECTION.fullmatch(top[0]) and all(map(_SETTING.fullmatch, top[1:2])):
        return advice.data("INI configuration")
    if top and all(map(_YAML.fullmatch, top)) and not all(line.startswith("- ") for line in top):
        return _describe_yaml(top)
    return None


def _describe_yaml(top: list[str]) -> Foreign:
    if "flavors:" in top:
        return Foreign("the file MLmodel of an MLflow folder, not the model", _FOLDER)
    if "dependencies:" in top:
        return Foreign("a list of dependencies (conda.yaml), not the model", _FOLDER)
    return advice.data("YAML")


def _is_toml(text: str) -> bool:
    try:
        return bool(tomllib.loads(text))
    except (tomllib.TOMLDecodeError, RecursionError):
        return False


def _describe_table(lines: list[str]) -> Foreign | None:
    if lines and all(map(_LIBSVM.match, lines[:5])):
        return advice.data("LIBSVM data")
    if len(lines) < 2:
        return None
    for delimiter, what in _DELIMITERS.items():
        try:
            rows = list(csv.reader(lines, delimiter=delimiter))
        except csv.Error:
            continue
        widths = {len(row) for row in rows}
        if len(widths) == 1 and min(widths) > 1:
            return advice.data(what)
    return None


def _is_markdown(lines: list[str]) -> bool:
    n_marked = sum(bool(_MARKDOWN.match(line)) for line in lines)
    # Comments alone are no headings.
    n_comments = sum(line.startswith("#") for line in lines)
    return n_comments < len(lines) and (
        lines[0].startswith("# ") or (n_marked >= 2 and n_marked * 4 >= len(lines))
    )
