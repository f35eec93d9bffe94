"""Generated requests to every operation of the OpenAPI schema, by schemathesis, for three roles.

`python .ci/fuzz.py [ROLE ...] [OPTION ...]` starts, for each role, a temporary service on SQLite
with the two example models, and fails if a response is a server error or disagrees with the schema.
The roles are a superuser, a user without any permission, and an API key that may only request
predictions of one model. The seed is fixed, so that a failure can be repeated; options go to
`schemathesis run` (`--seed 2`, `--include-path /v2/`). Needs the `dev` extra.

The roles run side by side, one on each core; the output of a role is shown when it ends.
"""

import contextlib
import json
import os
import secrets
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from socket import socket

PROJECT = Path(__file__).resolve().parents[1]
# What counts as a failure, and why.
JUDGEMENT = PROJECT / ".ci" / "schemathesis.toml"
START_SECONDS = 120
STOP_SECONDS = 60
# On two cores the run of a role takes about two minutes, and longer beside the other roles.
TIME_LIMIT_SECONDS = 900
USERNAME, PASSWORD = "fuzz", "only-for-generated-requests"
OPTIONS = [
    *("--phases", "examples,coverage,fuzzing"),
    *("--seed", "11"),
    *("--generation-database", "none"),
    *("--request-timeout", "30"),
    # Finding the smallest failing request takes longer than the run itself.
    "--no-shrink",
    "--continue-on-failure",
    # CPython 3.11 sometimes fails to parse (SystemError) in several threads.
    *("--workers", "1"),
]


def main(arguments: list[str]) -> int:
    roles = [name for name in arguments if name in ROLES] or list(ROLES)
    options = [name for name in arguments if name not in ROLES]
    # The threads only wait for processes.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        codes = dict(zip(roles, pool.map(lambda role: fuzz(role, options), roles), strict=True))
    print(", ".join(f"{role}: {'failed' if code else 'passed'}" for role, code in codes.items()))
    return max(codes.values())


def fuzz(role: str, arguments: list[str]) -> int:
    with tempfile.TemporaryDirectory(prefix="mlapi-fuzz-") as name:
        folder = Path(name)
        with socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        url = f"http://127.0.0.1:{port}"
        environment = create_environment(folder)
        manage(environment, "quickstart", "--no-serve")
        with serving(environment, port, folder / "server.log"):
            token = ROLES[role](environment, url)
            command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(JUDGEMENT)]
            command += ["run", f"{url}/api/schema/"]
            command += ["--header", f"Authorization: Bearer {token}", *OPTIONS]
            command += ["--max-examples", str(MAX_EXAMPLES[role]), *arguments]
            result = subprocess.run(
                command,
                cwd=folder,
                timeout=TIME_LIMIT_SECONDS,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
            )
        log = (folder / "server.log").read_text()[-5000:] if result.returncode else ""
        # In one call, so that the output of the roles is not mixed.
        print(f"\n-- {role}\n{result.stdout}{log}", flush=True)
        return result.returncode


def superuser(environment: dict[str, str], url: str) -> str:
    manage(environment, "createsuperuser", "--noinput", "--username", USERNAME, "--email", "")
    return log_in(url)


def plain_user(environment: dict[str, str], url: str) -> str:
    create = f"User.objects.create_user({USERNAME!r}, password={PASSWORD!r})"
    manage(environment, "shell", "-c", f"from django.contrib.auth.models import User; {create}")
    return log_in(url)


def narrow_key(environment: dict[str, str], url: str) -> str:
    output = manage(
        environment,
        "create_api_key",
        "fuzz",
        *("--service-account", USERNAME, "--scopes", "predict", "--models", "wine"),
    )
    return next(word for word in output.split() if word.startswith("mlapi_"))


ROLES = {"superuser": superuser, "user": plain_user, "key": narrow_key}
# Random requests, after the examples and the limits of the schema, which every role sends all. They
# find errors in the reading of requests, which is the same for every role: what the roles differ in
# is not left to chance, see `mlapi/tests/roles`.
MAX_EXAMPLES = {"superuser": 50, "user": 15, "key": 15}


def create_environment(folder: Path) -> dict[str, str]:
    """The settings of the temporary service. No file `.env` of a developer has an effect."""
    lines = (PROJECT / ".env.example").read_text().splitlines()
    documented = [
        line[2:].partition("=")[0] for line in lines if line.startswith("# ") and "=" in line
    ]
    return {
        **os.environ,
        **{name: "" for name in documented if name.isupper()},
        "DATABASE_URL": f"sqlite:///{folder / 'db.sqlite3'}",
        "MODEL_PATH": str(folder / "models"),
        "SECRET_KEY": secrets.token_urlsafe(48),
        "DJANGO_SUPERUSER_PASSWORD": PASSWORD,
        "LOG_LEVEL": "ERROR",
        # Thousands of generated logins must not lock out the one user that sends all requests.
        "LOGIN_FAILURE_LIMIT": "10000",
        # Beside the other roles, the examples take longer to register.
        "PROOF_TIMEOUT_SECONDS": "300",
        # Small, so that generated requests reach it without costing time.
        "MAX_BATCH_ROWS": "100",
    }


def manage(environment: dict[str, str], *arguments: str) -> str:
    """Run a command, and return what it writes."""
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=PROJECT,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout


@contextlib.contextmanager
def serving(environment: dict[str, str], port: int, log: Path) -> Iterator[None]:
    command = [sys.executable, "manage.py", "serve", "--port", str(port)]
    with log.open("w") as output:
        process = subprocess.Popen(
            command, cwd=PROJECT, env=environment, stdout=output, stderr=output
        )
    try:
        deadline = time.monotonic() + START_SECONDS
        while not is_ready(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"The service did not start:\n{log.read_text()[-5000:]}")
            time.sleep(0.1)
        yield
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()


def is_ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health/ready", timeout=5) as response:
            return bool(response.status == 200)
    except (OSError, urllib.error.HTTPError):
        return False


def log_in(url: str) -> str:
    body = json.dumps({"username": USERNAME, "password": PASSWORD}).encode()
    request = urllib.request.Request(
        f"{url}/api/v1/auth/token/", body, {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30) as response:
        return str(json.load(response)["access"])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
