import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from mlapi.configuration.secret_key import generated_secret_key


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
