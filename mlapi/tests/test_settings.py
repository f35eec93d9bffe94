"""The settings as a start sees them: in a process of its own."""

import json
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from mlapi.configuration.secret_key import generated_secret_key
from registry.testing.processes import manage, python

ML_LIBRARIES = {
    *(
        "sklearn",
        "skops",
        "onnx",
        "onnxruntime",
        "xgboost",
        "lightgbm",
        "pyarrow",
        "pandas",
        "scipy",
    )
}
PRODUCTION = {
    "SECRET_KEY": "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-._~",
    "ALLOWED_HOSTS": "ml.example.com",
    "CSRF_TRUSTED_ORIGINS": "https://ml.example.com",
    "DATABASE_URL": "postgresql://ml:secret@db.example.com/ml",
    "FORWARDED_PROTO_HEADER": "X-Forwarded-Proto",
    "SSL_REDIRECT": "true",
    "HSTS_SECONDS": "31536000",
    "HSTS_INCLUDE_SUBDOMAINS": "true",
    "HSTS_PRELOAD": "true",
}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DEBUG", "flase"),
        ("ALGORITHM", "RS256"),
        ("ACCESS_TOKEN_EXPIRE_MINUTES", "0"),
        ("DB_POOL_SIZE", "ten"),
        ("CORS_ORIGINS", "*"),
        ("CSRF_TRUSTED_ORIGINS", "ml.example.com"),
        ("ALLOWED_HOSTS", "http://localhost"),
        ("LOG_LEVEL", "LOUD"),
        ("LOG_FORMAT", "xml"),
        ("FORWARDED_PROTO_HEADER", "X Forwarded"),
        ("MODEL_CACHE_SIZE", "0"),
        ("TRUSTED_PROXY_COUNT", "-1"),
        ("DATABASE_URL", "mysql://root@localhost/x"),
    ],
)
def test_wrong_value_stops_the_start_with_one_line(name: str, value: str) -> None:
    result = manage("check", **{name: value})

    assert result.returncode == 1
    assert result.stderr.startswith(f"mlapi: {name} cannot be ")
    assert result.stderr.count("\n") == 1


def test_production_settings_pass_the_deployment_check() -> None:
    result = manage("check", "--deploy", "--fail-level", "INFO", **PRODUCTION)

    assert result.returncode == 0, result.stderr
    assert "no issues" in result.stdout


def test_check_imports_no_ml_library() -> None:
    code = (
        "import json, sys\n"
        "import django; from django.core.management import call_command\n"
        "import os; os.environ['DJANGO_SETTINGS_MODULE'] = 'mlapi.settings'\n"
        "django.setup(); call_command('check')\n"
        "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    )

    result = python(code)

    assert result.returncode == 0, result.stderr
    loaded = set(json.loads(result.stdout.splitlines()[-1]))
    assert loaded.isdisjoint(ML_LIBRARIES)
    assert "registry" in loaded


def test_generated_key_is_private_and_kept(tmp_path: Path) -> None:
    path = tmp_path / ".secret_key"

    key = generated_secret_key(path)

    assert len(key) >= 64
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert generated_secret_key(path) == key


def test_starts_at_the_same_time_agree_on_one_key(tmp_path: Path) -> None:
    path = tmp_path / ".secret_key"

    with ThreadPoolExecutor(16) as pool:
        keys = set(pool.map(generated_secret_key, [path] * 64))

    assert len(keys) == 1
    assert list(tmp_path.iterdir()) == [path]


def test_key_that_cannot_be_kept_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(ImproperlyConfigured, match="SECRET_KEY is not set and a random one"):
        generated_secret_key(tmp_path / "missing" / ".secret_key")


def test_empty_key_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / ".secret_key"
    path.touch()

    with pytest.raises(ImproperlyConfigured, match="is empty"):
        generated_secret_key(path)
