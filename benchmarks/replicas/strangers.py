"""A second user, who must never see the rows of the first, and keys that end in every replica."""

import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field

from benchmarks.harness.client import Client, Response
from benchmarks.harness.service import PREDICTIONS, CommandFailed
from benchmarks.replicas.cluster import MODEL, STRANGER, STRANGERS_PASSWORD, Cluster

KEYS = "/api/v1/api-keys/"
PAUSE_SECONDS = 0.2
KEY_SECONDS = 10.0
RETRY_SECONDS = 0.5
TIMEOUT_SECONDS = 60.0


@dataclass(slots=True)
class Sightings:
    """What the stranger has asked for, and what of it belonged to somebody else."""

    reads: int = 0
    others_rows: int = 0
    examples: list[str] = field(default_factory=list)


class Background:
    """A thread that repeats a step while the `with` block runs; an error of its own is raised."""

    def __init__(self, step: Callable[[], None], pause_seconds: float) -> None:
        self._step, self._pause_seconds = step, pause_seconds
        self._stop = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Background":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            while not self._stop.wait(self._pause_seconds):
                self._step()
        except BaseException as error:
            self._error = error


class Stranger:
    """Makes predictions of their own, with keys that the other user also uses, and looks around."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster, self.sightings = cluster, Sightings()
        token = _until_answered(
            lambda: self._log_in(cluster), lambda response: response.status == 200
        ).json()["access"]
        self._client = cluster.client({"Authorization": f"Bearer {token}"})
        self._owner = cluster.client()
        self._own: set[int] = set()

    @staticmethod
    def _log_in(cluster: Cluster) -> Response:
        with Client(cluster.port) as client:
            credentials = {"username": STRANGER, "password": STRANGERS_PASSWORD}
            return client.post("/api/v1/auth/token/", credentials)

    def step(self) -> None:
        """Both users predict with the same Idempotency-Key; then the stranger reads."""
        key = {"Idempotency-Key": uuid.uuid4().hex, "Content-Type": "application/json"}
        theirs = self._predict(self._owner, key, self._cluster.model.rows[0])
        own = self._predict(self._client, key, self._cluster.model.rows[1])
        if own is not None:
            self._own.add(own)
        if theirs is not None:
            if theirs == own:
                self._note(f"the answer {theirs} of another user's key")
            self._read(theirs)
        self._list()

    def _predict(
        self, client: Client, headers: dict[str, str], row: tuple[float, ...] | list[float]
    ) -> int | None:
        body = f'{{"model": "{MODEL}", "input_data": {{"features": {list(row)}}}}}'.encode()
        response = _ask(lambda: client.send("POST", PREDICTIONS, body, headers))
        return response.json()["id"] if response and response.status == 201 else None

    def _read(self, prediction_id: int) -> None:
        response = _ask(lambda: self._client.get(f"{PREDICTIONS}{prediction_id}/"))
        if response is not None and response.status < 500:
            self.sightings.reads += 1
            if response.status != 404:
                self._note(f"GET of {prediction_id}: {response.status}")

    def _list(self) -> None:
        response = _ask(lambda: self._client.get(f"{PREDICTIONS}?limit=50"))
        if response is None or response.status != 200:
            return
        self.sightings.reads += 1
        rows = response.json()
        rows = rows["results"] if isinstance(rows, dict) else rows
        # A prediction without an answer may have been recorded, so the list may have more of the
        # stranger's rows than are known: their inputs say whose they are.
        features = [float(value) for value in self._cluster.model.rows[1]]
        for row in rows:
            if row["id"] not in self._own and row["input_data"]["features"] != features:
                self._note(f"list has {row['id']}")

    def _note(self, text: str) -> None:
        self.sightings.others_rows += 1
        self.sightings.examples.append(text)


@dataclass(slots=True)
class KeyRounds:
    """Keys that were made, used and revoked, and the predictions before and after that."""

    rounds: int = 0
    predicted_before: int = 0
    predicted_after: int = 0


class KeyUser:
    """Makes a key, predicts with it, revokes it, and tries it again on every replica."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster, self.found = cluster, KeyRounds()
        self._client = cluster.client()

    def step(self) -> None:
        made = _until_answered(
            lambda: self._client.post(KEYS, {"name": "benchmark", "scopes": ["predict"]}),
            lambda response: response.status == 201,
        ).json()
        headers = {"Authorization": f"Bearer {made['key']}"}
        end = time.monotonic() + KEY_SECONDS
        with self._cluster.client(headers) as client:
            while time.monotonic() < end:
                self.found.predicted_before += self._predict(client)
                time.sleep(PAUSE_SECONDS)
        _until_answered(
            lambda: self._client.post(f"{KEYS}{made['id']}/revoke/", {}),
            # A revocation whose answer was lost is repeated, and may have been made.
            lambda response: response.status in (200, 409),
        )
        for replica in self._cluster.replicas:
            with Client(replica.port, headers, timeout=10) as client:
                self.found.predicted_after += self._predict(client)
        self.found.rounds += 1

    def _predict(self, client: Client) -> bool:
        features = list(self._cluster.model.rows[0])
        request = {"model": MODEL, "input_data": {"features": features}}
        response = _ask(lambda: client.post(PREDICTIONS, request))
        return response is not None and response.status == 201


def _ask(send: Callable[[], Response]) -> Response | None:
    """The response; None if none came, since a replica was killed."""
    try:
        return send()
    except OSError:
        return None


def _until_answered(
    send: Callable[[], Response], is_wanted: Callable[[Response], bool]
) -> Response:
    """Repeat a request until it gets the wanted response; raises CommandFailed if it never does."""
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while True:
        response = _ask(send)
        if response is not None and is_wanted(response):
            return response
        if time.monotonic() > deadline:
            text = "no response" if response is None else f"{response.status}: {response.body!r}"
            raise CommandFailed(f"A request got {text} for {TIMEOUT_SECONDS:.0f} s")
        time.sleep(RETRY_SECONDS)
