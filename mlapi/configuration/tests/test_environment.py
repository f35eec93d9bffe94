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
def test_boolean_takes_words_for_true(word: str) -> None:
    assert Environment({"DEBUG": word}).boolean("DEBUG", "false") is True


@pytest.mark.parametrize("word", ["false", "0", "no", "OFF", "", " "])
def test_boolean_takes_words_for_false_and_nothing_for_the_default(word: str) -> None:
    assert Environment({"DEBUG": word}).boolean("DEBUG", "false") is False


@pytest.mark.parametrize("word", ["flase", "2", "t", "none"])
def test_boolean_refuses_anything_else(word: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=f"DEBUG cannot be '{word}': it takes true or"):
        Environment({"DEBUG": word}).boolean("DEBUG", "false")


@pytest.mark.parametrize("text", ["11", "0", "-1", "1.5", "1_0", "٣", "ten", "9" * 5000])
def test_integer_refuses_what_is_out_of_range_or_no_number(text: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="a whole number from 1 to 10"):
        Environment({"N": text}).integer("N", "1", minimum=1, maximum=10)


def test_choice_is_spelled_as_declared() -> None:
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
def test_strings_take_json_and_commas(text: str, expected: list[str]) -> None:
    assert Environment({"LIST": text}).strings("LIST") == expected


@pytest.mark.parametrize("text", ['["a"', '["a", 1]', "a,,b", "['a','b']", '["a"],b', '[""]'])
def test_strings_refuse_what_is_neither(text: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="LIST cannot be"):
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
def test_origins_refuse_what_no_browser_sends(origin: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="CORS_ORIGINS cannot be"):
        Environment({"CORS_ORIGINS": origin}).origins("CORS_ORIGINS")


def test_origins_take_ports_and_addresses() -> None:
    text = "http://localhost:3000,https://app.example.com,http://[::1]:8080,http://127.0.0.1"

    assert Environment({"O": text}).origins("O") == text.split(",")


def test_wildcard_origins_are_for_csrf_alone() -> None:
    assert Environment({"O": "https://*.example.com"}).origins("O", wildcard=True)


@pytest.mark.parametrize(
    "url",
    [
        "postgres://u:p%40ss@db:5433/ml",
        "postgresql://u:p%40ss@db:5433/ml",
        "postgresql+asyncpg://u:p%40ss@db:5433/ml",
        "postgresql+psycopg://u:p%40ss@db:5433/ml",
    ],
)
def test_postgresql_addresses(url: str) -> None:
    database = read_database(Environment({"DATABASE_URL": url}), base_dir=BASE_DIR)

    shown = [database[key] for key in ("ENGINE", "USER", "PASSWORD", "HOST", "PORT", "NAME")]
    assert shown == ["mlapi.configuration.postgresql", "u", "p@ss", "db", 5433, "ml"]
    assert database["CONN_MAX_AGE"] == 0


def test_postgresql_options_of_the_address_are_kept() -> None:
    url = "postgresql://u@/ml?host=/run/postgresql&sslmode=require"

    database = read_database(Environment({"DATABASE_URL": url}), base_dir=BASE_DIR)

    assert database["OPTIONS"]["host"] == "/run/postgresql"
    assert database["OPTIONS"]["sslmode"] == "require"


def test_pool_settings_drive_the_pool() -> None:
    values = {
        "DATABASE_URL": "postgresql://u@db/ml",
        "DB_POOL_SIZE": "3",
        "DB_MAX_OVERFLOW": "4",
        "DB_POOL_TIMEOUT": "5",
        "DB_POOL_RECYCLE": "6",
    }

    database = read_database(Environment(values), base_dir=BASE_DIR)

    pool = database["OPTIONS"]["pool"]
    assert pool == {
        "min_size": 3,
        "max_size": 7,
        "timeout": 5,
        "max_lifetime": 6,
        "reconnect_timeout": 2,
    }


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("sqlite:///data/db.sqlite3", BASE_DIR / "data/db.sqlite3"),
        ("sqlite:////var/db.sqlite3", Path("/var/db.sqlite3")),
        ("sqlite+aiosqlite:///a%20b+c.db", BASE_DIR / "a b+c.db"),
    ],
)
def test_sqlite_addresses(url: str, name: Path) -> None:
    database = read_database(Environment({"DATABASE_URL": url}), base_dir=BASE_DIR)

    assert database["NAME"] == name
    assert database["OPTIONS"]["transaction_mode"] == "IMMEDIATE"


@pytest.mark.parametrize(
    "url",
    [
        "mysql://u:secret@db/ml",
        "postgresql+oracle://u:secret@db/ml",
        "postgresql://u:secret@db:port/ml",
        "postgresql://u:secret@db",
        "sqlite://",
        "sqlite:///:memory:",
        "sqlite://secret",
        "secret",
    ],
)
def test_other_database_addresses_are_refused_without_showing_them(url: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="DATABASE_URL cannot be this") as caught:
        read_database(Environment({"DATABASE_URL": url}), base_dir=BASE_DIR)
    assert "secret" not in str(caught.value)


def test_environment_wins_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / ".env"
    file.write_text("MLAPI_TEST_A=file\nMLAPI_TEST_B=file\n")
    monkeypatch.setattr(environ.Env, "ENVIRON", environment := {"MLAPI_TEST_A": "real"})
    monkeypatch.setattr("os.environ", environment)

    loaded = load_environment(file)

    assert [loaded.text("MLAPI_TEST_A"), loaded.text("MLAPI_TEST_B")] == ["real", "file"]


def test_the_guides_own_file_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
