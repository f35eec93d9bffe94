"""Where artifacts are kept, by MODEL_STORAGE and MODEL_PATH."""

from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from mlapi.configuration.environment import Environment
from mlapi.configuration.model_storage import read_model_storage
from registry.object_storage import urls

BASE = Path("/srv/mlapi")


def read(**variables: str) -> tuple[str, str]:
    folder, url = read_model_storage(Environment(variables), base_dir=BASE)
    return str(folder), url


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, ("/srv/mlapi/models", "")),
        ({"MODEL_PATH": "/data"}, ("/data", "")),
        ({"MODEL_STORAGE": "/data"}, ("/data", "")),
        ({"MODEL_STORAGE": "data", "MODEL_PATH": "/srv/mlapi/data/"}, ("/srv/mlapi/data", "")),
        ({"MODEL_STORAGE": "s3://b/p/q/"}, ("/srv/mlapi/models", "s3://b/p/q")),
        ({"MODEL_STORAGE": "gs://b", "MODEL_PATH": "/cache"}, ("/cache", "gs://b")),
        ({"MODEL_STORAGE": "az://b/p"}, ("/srv/mlapi/models", "az://b/p")),
    ],
)
def test_the_folder_and_the_url(variables: dict[str, str], expected: tuple[str, str]) -> None:
    assert read(**variables) == expected


@pytest.mark.parametrize(
    "url",
    [
        "s3://",
        "s3:///p",
        "https://b/p",
        "s3://b//p",
        "s3://b/../p",
        "s3://b/p q",
        "s3://b/" + "p" * 200,
    ],
)
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="MODEL_STORAGE must be a folder, or s3://"):
        read(MODEL_STORAGE=url)


def test_two_folders_are_refused() -> None:
    with pytest.raises(ImproperlyConfigured, match="are two folders, /a and /b"):
        read(MODEL_STORAGE="/a", MODEL_PATH="/b")


def test_object_storage_needs_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(urls, "find_spec", lambda name: None)

    with pytest.raises(ImproperlyConfigured, match=r"pip install 'mlapi\[object-storage\]'"):
        read(MODEL_STORAGE="s3://b")
