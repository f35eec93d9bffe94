"""The settings of a fresh process."""

import json

import pytest

from registry.testing.processes import manage, python

ML_LIBRARIES = {
    "catboost",
    "lightgbm",
    "onnx",
    "onnxruntime",
    "pandas",
    "pyarrow",
    "scipy",
    "sklearn",
    "skops",
    "xgboost",
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


@pytest.mark.slow
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
        ("URL_PREFIX", "//evil.example.com"),
        ("FORWARDED_PREFIX_HEADER", "X Forwarded"),
    ],
)
def test_invalid_value_stops_the_start_with_one_line(name: str, value: str) -> None:
    result = manage("check", **{name: value})

    assert result.returncode == 1
    assert result.stderr.startswith(f"mlapi: {name} must be ")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("key", ["your-secret-key-change-in-production", "changeme"])
def test_placeholder_as_secret_key_stops_the_start_with_one_line(key: str) -> None:
    result = manage("check", SECRET_KEY=key)

    assert result.returncode == 1
    assert result.stderr.startswith("mlapi: SECRET_KEY is an example")
    assert result.stderr.count("\n") == 1
    assert key not in result.stderr


def test_loop_of_redirects_and_respelt_settings_are_reported_at_start() -> None:
    result = manage("check", SSL_REDIRECT="true", LOGLEVEL="DEBUG")

    assert "mlapi.W004" in result.stderr
    assert "LOGLEVEL in the environment is not a setting" in result.stderr


def test_production_settings_pass_the_deployment_checks() -> None:
    result = manage("check", "--deploy", "--fail-level", "INFO", **PRODUCTION)

    assert result.returncode == 0, result.stderr
    assert "no issues" in result.stdout


def test_system_checks_import_no_ml_library() -> None:
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
