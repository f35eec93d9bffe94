import re
from itertools import pairwise
from pathlib import Path

import environ
import pytest
from django.core.exceptions import ImproperlyConfigured

from mlapi import settings
from mlapi.configuration.databases import read_database
from mlapi.configuration.environment import Environment, load_environment
from registry.testing.plugin import example_defaults

BASE_DIR = Path("/srv/mlapi")


@pytest.mark.parametrize("word", ["true", "TRUE", "1", "yes", "On", " true "])
def test_boolean_accepts_words_for_true(word: str) -> None:
    assert Environment({"DEBUG": word}).boolean("DEBUG", "false") is True


@pytest.mark.parametrize("word", ["false", "0", "no", "OFF", "", " "])
def test_boolean_accepts_words_for_false_and_an_empty_default(word: str) -> None:
    assert Environment({"DEBUG": word}).boolean("DEBUG", "false") is False


@pytest.mark.parametrize("word", ["flase", "2", "t", "none"])
def test_boolean_rejects_other_values(word: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=f"DEBUG must be true or .*, not '{word}'"):
        Environment({"DEBUG": word}).boolean("DEBUG", "false")


@pytest.mark.parametrize("text", ["11", "0", "-1", "1.5", "1_0", "٣", "ten", "9" * 5000])
def test_integer_rejects_other_text_and_values_out_of_range(text: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="a whole number from 1 to 10"):
        Environment({"N": text}).integer("N", "1", minimum=1, maximum=10)


def test_choice_is_returned_as_declared() -> None:
    assert Environment({"LEVEL": "info"}).choice("LEVEL", "DEBUG", ("DEBUG", "INFO")) == "INFO"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('["a","b"]', ["a", "b"]),
        ("a, b", ["a", "b"]),
        ("[]", []),
        ("localhost,[::1]", ["localhost", "[::1]"]),
        ("[::1]", ["[::1]"]),
    ],
)
def test_strings_accept_json_and_commas(text: str, expected: list[str]) -> None:
    assert Environment({"LIST": text}).strings("LIST") == expected


@pytest.mark.parametrize("text", ['["a"', '["a", 1]', "a,,b", "['a','b']", '["a"],b', '[""]'])
def test_strings_reject_other_text(text: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="LIST must be"):
        Environment({"LIST": text}).strings("LIST")


@pytest.mark.parametrize(
    "origin",
    [
        "*",
        "app.example.com",
        "https://app.example.com/",
        "https://app.example.com/path",
        "https://app.example.com:port",
        "ftp://app.example.com",
        "https://user@app.example.com",
        "https://*.example.com",
        "https://",
    ],
)
def test_origins_reject_what_no_browser_sends(origin: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="CORS_ORIGINS must be"):
        Environment({"CORS_ORIGINS": origin}).origins("CORS_ORIGINS")


def test_origins_accept_ports_and_addresses() -> None:
    text = "http://localhost:3000,https://app.example.com,http://[::1]:8080,http://127.0.0.1"

    assert Environment({"O": text}).origins("O") == text.split(",")


def test_wildcard_origins_require_the_option() -> None:
    assert Environment({"O": "https://*.example.com"}).origins("O", wildcard=True)


def test_environment_wins_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / ".env"
    file.write_text("MLAPI_TEST_A=file\nMLAPI_TEST_B=file\n")
    monkeypatch.setattr(environ.Env, "ENVIRON", environment := {"MLAPI_TEST_A": "real"})
    monkeypatch.setattr("os.environ", environment)

    loaded = load_environment(file)

    assert [loaded.text("MLAPI_TEST_A"), loaded.text("MLAPI_TEST_B")] == ["real", "file"]


def test_env_file_of_the_guide_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / ".env"
    file.write_text(
        "# Database\n"
        "DATABASE_URL=postgresql+asyncpg://mluser:password@localhost:5432/mldb\n\n"
        "# Security\nSECRET_KEY=your-secret-key-change-in-production\n\n"
        "# App\nDEBUG=false\nLOG_LEVEL=INFO\n\n"
        '# CORS\nCORS_ORIGINS=["http://localhost:3000","https://app.example.com"]\n'
    )
    monkeypatch.setattr(environ.Env, "ENVIRON", environment := dict[str, str]())
    monkeypatch.setattr("os.environ", environment)

    loaded = load_environment(file)

    assert read_database(loaded, base_dir=BASE_DIR)["PASSWORD"] == "password"
    assert loaded.text("SECRET_KEY") == "your-secret-key-change-in-production"
    assert loaded.boolean("DEBUG", "true") is False
    assert loaded.origins("CORS_ORIGINS") == ["http://localhost:3000", "https://app.example.com"]


def test_example_documents_every_variable_with_its_default() -> None:
    assert example_defaults() == settings.environment.declared


def test_example_explains_every_variable() -> None:
    lines = Path(settings.BASE_DIR, ".env.example").read_text().splitlines()

    unexplained = [
        line
        for before, line in pairwise(lines)
        if re.match(r"# [A-Z_]+=", line) and not re.match(r"# .*[a-z].*\.$", before)
    ]

    assert unexplained == []
