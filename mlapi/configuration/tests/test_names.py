"""Misspelt settings are named at start."""

from pathlib import Path

import environ
import pytest
from django.core.exceptions import ImproperlyConfigured

from mlapi import settings
from mlapi.configuration.environment import Environment, load_environment
from mlapi.configuration.names import names_in, respelt_names, unknown_names

KNOWN = settings.environment.declared


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("LOGLEVEL", "LOG_LEVEL"),
        ("log_level", "LOG_LEVEL"),
        ("LOG_LEVLE", "LOG_LEVEL"),
        ("SSL_REDIRCT", "SSL_REDIRECT"),
        ("ALLOWED_HOST", "ALLOWED_HOSTS"),
        ("CORS_ORIGIN", "CORS_ORIGINS"),
        ("SECRETKEY", "SECRET_KEY"),
        ("DATABASE_URI", "DATABASE_URL"),
        ("REDIS_URL", None),
        ("FRONTEND_PORT", None),
    ],
)
def test_unknown_names_have_the_setting_that_is_meant(name: str, meant: str | None) -> None:
    assert unknown_names([name], KNOWN) == {name: meant}


@pytest.mark.parametrize(
    "name",
    [
        "MLAPI_REMOTE_TOKEN",
        "PGSSLMODE",
        "OMP_NUM_THREADS",
        "ORT_DISABLE_TELEMETRY",
        "PROMETHEUS_MULTIPROC_DIR",
        "PYTHONUNBUFFERED",
        "POSTGRES_PASSWORD",
        "COMPOSE_PROJECT_NAME",
        "DJANGO_SUPERUSER_PASSWORD",
        "https_proxy",
        "NO_PROXY",
        "TZ",
        "TMPDIR",
        *KNOWN,
    ],
)
def test_settings_and_what_other_programs_read_are_known(name: str) -> None:
    assert unknown_names([name], KNOWN) == {}


def test_no_setting_is_taken_for_another() -> None:
    for name in KNOWN:
        others = {other for other in KNOWN if other != name}
        assert unknown_names([name], others)[name] is None or name in {"SECRET_KEY", "DB_POOL_SIZE"}


def test_only_other_spellings_count_in_the_environment_of_the_process() -> None:
    names = ["LOGLEVEL", "Debug", "LOG_LEVELS", "REDIS_URL", "LOG_LEVEL", "PATH"]

    assert respelt_names(names, KNOWN) == {"LOGLEVEL": "LOG_LEVEL", "Debug": "DEBUG"}


def test_names_of_a_file_are_its_assignments(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text('# A=1\nB=2\nexport C = 3\n\n  D="E=4"\nnot a line\n#F=5\n')

    assert names_in(file) == ["B", "C", "D"]


def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> Environment:
    file = tmp_path / ".env"
    file.write_text(text)
    monkeypatch.setattr(environ.Env, "ENVIRON", values := dict[str, str]())
    monkeypatch.setattr("os.environ", values)
    environment = load_environment(file)
    environment.text("LOG_LEVEL", "INFO")
    environment.text("DEBUG", "false")
    return environment


def test_misspelt_settings_of_the_file_stop_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = load(tmp_path, monkeypatch, "LOGLEVEL=DEBUG\nDEBUGG=1\nREDIS_URL=x\n")

    with pytest.raises(ImproperlyConfigured) as caught:
        environment.check_names()

    assert str(caught.value) == (
        "LOGLEVEL in .env is not a setting; did you mean LOG_LEVEL?"
        " DEBUGG in .env is not a setting; did you mean DEBUG?"
    )


def test_other_unknown_names_of_the_file_are_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = load(tmp_path, monkeypatch, "LOG_LEVEL=INFO\nREDIS_URL=x\nTZ=UTC\n")

    assert environment.check_names() == ["REDIS_URL in .env is not a setting and has no effect."]


def test_respelt_settings_of_the_process_are_reported() -> None:
    environment = Environment({"LOGLEVEL": "DEBUG", "HOME": "/root"})
    environment.text("LOG_LEVEL", "INFO")

    assert environment.check_names() == [
        "LOGLEVEL in the environment is not a setting and has no effect; did you mean LOG_LEVEL?"
    ]
