import secrets
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from mlapi.configuration.secret_key import generated_secret_key, is_placeholder


def test_generated_key_is_private_and_reused(tmp_path: Path) -> None:
    path = tmp_path / ".secret_key"

    key = generated_secret_key(path)

    assert len(key) >= 64
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert generated_secret_key(path) == key


def test_concurrent_starts_agree_on_one_key(tmp_path: Path) -> None:
    path = tmp_path / ".secret_key"

    with ThreadPoolExecutor(16) as pool:
        keys = set(pool.map(generated_secret_key, [path] * 64))

    assert len(keys) == 1
    assert list(tmp_path.iterdir()) == [path]


def test_unwritable_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ImproperlyConfigured, match="SECRET_KEY is not set, and no random key"):
        generated_secret_key(tmp_path / "missing" / ".secret_key")


def test_empty_key_file_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / ".secret_key"
    path.touch()

    with pytest.raises(ImproperlyConfigured, match="is empty"):
        generated_secret_key(path)


@pytest.mark.parametrize(
    "key",
    [
        "your-secret-key-change-in-production",
        "changeme",
        "CHANGE_ME",
        "change me please",
        "please-change-this-key",
        "secret",
        "Secret123!",
        "my_secret_key",
        "password",
        "dev",
        "django-insecure-8j2#kd93ksl2mf9s8x7c6v5b4n3m2",
        "python3 -c 'import secrets; print(secrets.token_urlsafe(64))'",
        "<your secret key>",
        "<replace with a random key>",
        "…",
        "x" * 64,
        "abab" * 16,
        "0" * 50,
        "................................",
    ],
)
def test_examples_and_repetitions_are_placeholders(key: str) -> None:
    assert is_placeholder(key)


@pytest.mark.parametrize(
    "key",
    [
        "",
        "correct horse battery staple",
        "a key for benchmarks alone, and long enough for every algorithm",
        "d41d8cd98f00b204e9800998ecf8427e",
    ],
)
def test_other_keys_are_no_placeholders(key: str) -> None:
    assert not is_placeholder(key)


def test_random_keys_are_no_placeholders() -> None:
    assert not any(is_placeholder(secrets.token_urlsafe(64)) for _ in range(2000))
