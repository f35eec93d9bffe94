import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mlapi.configuration import checks


def ids(messages: list[Any]) -> list[str]:
    return [message.id for message in messages]


def test_missing_folder_that_can_be_created_is_accepted(settings: Any, tmp_path: Path) -> None:
    settings.MODEL_PATH = tmp_path / "a" / "b"

    assert checks.check_model_path(None) == []
    assert not (tmp_path / "a").exists()


def test_file_in_place_of_the_folder_is_an_error(settings: Any, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    settings.MODEL_PATH = tmp_path / "file"

    assert ids(checks.check_model_path(None)) == ["mlapi.E001"]


def test_folder_below_a_file_is_an_error(settings: Any, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    settings.MODEL_PATH = tmp_path / "file" / "models"

    assert ids(checks.check_model_path(None)) == ["mlapi.E001"]


def test_read_only_folder_is_an_error(
    settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.MODEL_PATH = tmp_path
    # Patched instead of changing modes: root may write everywhere.
    monkeypatch.setattr(os, "access", lambda path, mode: False)

    assert ids(checks.check_model_path(None)) == ["mlapi.E001"]


@pytest.mark.parametrize(
    ("algorithm", "length", "expected"),
    [
        ("HS256", 31, ["mlapi.W001"]),
        ("HS256", 32, []),
        ("HS384", 47, ["mlapi.W001"]),
        ("HS512", 64, []),
    ],
)
def test_key_must_be_as_long_as_its_hash(
    settings: Any, algorithm: str, length: int, expected: list[str]
) -> None:
    settings.SIMPLE_JWT = {"ALGORITHM": algorithm}
    settings.SECRET_KEY = "k" * length

    assert ids(checks.check_secret_key_length(None)) == expected


def test_key_length_is_counted_in_bytes(settings: Any) -> None:
    settings.SECRET_KEY = "é" * 16

    assert checks.check_secret_key_length(None) == []


@pytest.mark.parametrize("generated", [True, False])
@pytest.mark.parametrize(
    ("vendor", "deploying", "always"),
    [("sqlite", ["mlapi.W002"], []), ("postgresql", [], ["mlapi.W002"])],
)
def test_generated_key_is_a_warning_wherever_replicas_are_possible(
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
    generated: bool,
    vendor: str,
    deploying: list[str],
    always: list[str],
) -> None:
    settings.SECRET_KEY_IS_GENERATED = generated
    monkeypatch.setattr(checks, "connection", SimpleNamespace(vendor=vendor))

    assert ids(checks.check_secret_key_is_set(None)) == deploying * generated
    assert ids(checks.check_replicas_have_the_same_secret_key(None)) == always * generated


@pytest.mark.parametrize(
    ("redirect", "header", "expected"),
    [
        (True, None, ["mlapi.W004"]),
        (True, ("HTTP_X_FORWARDED_PROTO", "https"), []),
        (False, None, []),
    ],
)
def test_redirecting_without_recognising_https_is_a_warning(
    settings: Any, redirect: bool, header: tuple[str, str] | None, expected: list[str]
) -> None:
    settings.SECURE_SSL_REDIRECT = redirect
    settings.SECURE_PROXY_SSL_HEADER = header

    assert ids(checks.check_https_is_recognised(None)) == expected


def test_variables_without_effect_are_warnings(settings: Any) -> None:
    settings.VARIABLES_WITHOUT_EFFECT = ["A has no effect.", "B has no effect."]

    assert ids(checks.check_variables_have_effect(None)) == ["mlapi.W005"] * 2


@pytest.mark.parametrize(("debug", "expected"), [(True, ["mlapi.W003"]), (False, [])])
def test_debug_is_a_warning(settings: Any, debug: bool, expected: list[str]) -> None:
    settings.DEBUG = debug

    assert ids(checks.check_debug_is_off(None)) == expected
