"""Databases that refuse writes, and the requests that write."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeAlias

from django.db import DatabaseError, connection
from django.test import Client
from rest_framework.test import APIClient

from predictions.models import Prediction
from registry.models import ModelVersion
from registry.testing.artifacts import Artifact
from registry.testing.clients import PASSWORD

ROLE = "mlapi_test_reader"
PREDICTIONS = "/api/v1/predictions/"
NDJSON = "application/x-ndjson"
SQLITE_OPTIONS = connection.settings_dict["OPTIONS"]

# As the server reports it when a table cannot grow.
FULL_DISK = (
    """
    CREATE FUNCTION mlapi_test_no_room() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        RAISE disk_full USING MESSAGE = 'could not extend file: No space left on device';
    END $$
    """,
    f"CREATE TRIGGER mlapi_test_no_room BEFORE INSERT ON {Prediction._meta.db_table}"
    " EXECUTE FUNCTION mlapi_test_no_room()",
)

Fault: TypeAlias = Callable[[], Any]


def execute(*statements: str) -> None:
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def reconnect() -> None:
    """Have this thread and the pool make new connections, with the settings of now."""
    with suppress(DatabaseError):
        connection.close()
    if connection.vendor == "postgresql":
        connection.close_pool()  # type: ignore[attr-defined]


@contextmanager
def read_only() -> Iterator[None]:
    """A database that starts only read-only transactions, as after a failover to a standby."""
    if connection.vendor == "sqlite":
        with _sqlite_command("PRAGMA query_only=ON"):
            yield
        return
    name = connection.ops.quote_name(connection.settings_dict["NAME"])
    execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    reconnect()
    try:
        yield
    finally:
        execute(
            "SET default_transaction_read_only = off",
            f"ALTER DATABASE {name} RESET default_transaction_read_only",
        )
        # The pool still has connections that were opened before: a service must get rid of them.
        execute("SET default_transaction_read_only = on")


@contextmanager
def role_without_insert() -> Iterator[None]:
    """A role that may read everything."""
    execute(f"CREATE ROLE {ROLE} LOGIN", f"GRANT pg_read_all_data TO {ROLE}")
    user = connection.settings_dict["USER"]
    connection.settings_dict["USER"] = ROLE
    reconnect()
    try:
        yield
    finally:
        connection.settings_dict["USER"] = user
        reconnect()
        execute(f"REVOKE pg_read_all_data FROM {ROLE}", f"DROP ROLE {ROLE}")


@contextmanager
def no_more_room() -> Iterator[None]:
    """A disk that is full for large predictions; smaller ones may fit into the pages of SQLite."""
    if connection.vendor == "postgresql":
        execute(*FULL_DISK)
        try:
            yield
        finally:
            execute("DROP FUNCTION mlapi_test_no_room CASCADE")
        return
    execute("VACUUM")
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA page_count")
        (count,) = cursor.fetchone()
    with _sqlite_command(f"PRAGMA max_page_count={count}"):
        yield


@contextmanager
def _sqlite_command(command: str) -> Iterator[None]:
    """Run a command on every new connection to SQLite, and on no connection that follows."""
    usual = SQLITE_OPTIONS["init_command"]
    SQLITE_OPTIONS["init_command"] = f"{usual} {command};"
    reconnect()
    try:
        yield
    finally:
        SQLITE_OPTIONS["init_command"] = usual


class Requests:
    """Each route that writes, as a request that succeeds unless the database refuses."""

    def __init__(self, iris: ModelVersion, artifact: Artifact, row: Prediction) -> None:
        self.iris, self.row, self.prediction = iris, artifact.row, row
        self.artifact = artifact

    def predict(self, api: APIClient) -> Any:
        return api.post(PREDICTIONS, {"model_id": self.iris.pk, "input_data": self.row})

    def predict_with_key(self, api: APIClient) -> Any:
        body = {"model_id": self.iris.pk, "input_data": self.row}
        return api.post(PREDICTIONS, body, headers={"Idempotency-Key": "k"})

    def batch(self, api: APIClient) -> Any:
        return api.post(
            f"{PREDICTIONS}batch/", {"model_id": self.iris.pk, "inputs": [self.row] * 2}
        )

    def infer(self, api: APIClient) -> Any:
        tensor = {"name": "features", "datatype": "FP64", "shape": [1, 4], "data": [5, 3, 1, 0]}
        return api.post("/v2/models/iris:1/infer", {"inputs": [tensor]})

    def v1(self, api: APIClient) -> Any:
        return api.post("/v1/models/iris:1:predict", {"instances": [[5, 3, 1, 0]]})

    def invocations(self, api: APIClient) -> Any:
        url = f"/api/v1/models/{self.iris.pk}/invocations"
        return api.post(url, {"inputs": [[5, 3, 1, 0]]})

    def change(self, api: APIClient) -> Any:
        return api.patch(f"/api/v1/models/{self.iris.pk}/", {"description": "x"})

    def register(self, api: APIClient) -> Any:
        return api.post("/api/v1/models/", {"name": "new", "framework": "sklearn"})

    def register_with_file(self, api: APIClient) -> Any:
        body = {"name": "new", "framework": "sklearn", "artifact": self.artifact.upload()}
        return api.post("/api/v1/models/", body, format="multipart")

    def move_alias(self, api: APIClient) -> Any:
        return api.put("/api/v1/aliases/iris/champion", {"version": "1"})

    def report_outcome(self, api: APIClient) -> Any:
        outcomes = [{"prediction_id": self.prediction.pk, "label": "setosa"}]
        return api.post("/api/v1/outcomes/", {"outcomes": outcomes})

    def replay(self, api: APIClient) -> Any:
        return api.post("/api/v1/replays/", {"from": "iris:1", "to": "iris:1"})

    def wrong_password(self, api: APIClient) -> Any:
        return Client().post(
            "/api/v1/auth/token/",
            {"username": "root", "password": "wrong"},
            content_type="application/json",
        )

    def log_in_to_the_admin(self, api: APIClient) -> Any:
        return Client(raise_request_exception=False).post(
            "/admin/login/?next=/admin/", {"username": "root", "password": PASSWORD}
        )


WRITES = [name for name in vars(Requests) if not name.startswith("_")]
