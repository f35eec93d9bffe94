"""What the user of the story does with the service, by its documented commands and API."""

import csv
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from benchmarks.harness.client import Client
from benchmarks.harness.service import BATCH, CommandFailed, Installation, RunningService

NAME = "car-loans"
ALIAS = f"/api/v1/aliases/{NAME}/champion/"
LABEL = "outcome"
DATATYPES = {
    "car_value": "FP64",
    "salary_range": "BYTES",
    "debt_to_income_ratio": "FP64",
    "loan_length": "FP64",
    "repaid_loan_on_prev_car": "BOOL",
    "size_of_downpayment": "BYTES",
    "driver_tenure": "FP64",
}
BATCH_ROWS = 25


@dataclass(frozen=True, slots=True)
class Application:
    """An application for a loan, and what becomes of it."""

    number: str
    features: dict[str, object]
    label: str

    @classmethod
    def read(cls, row: dict[str, str], *, is_repaid: bool) -> "Application":
        """From a row of the data set's files."""
        values: dict[str, object] = {}
        for name, datatype in DATATYPES.items():
            if datatype == "BYTES":
                values[name] = row[name]
            else:
                values[name] = row[name] == "True" if datatype == "BOOL" else float(row[name])
        return cls(f"loan-{row['id']}", values, "repaid" if is_repaid else "defaulted")


def write_applications(file: Path, applications: Iterable[Application]) -> None:
    """A table of features and labels, as CSV."""
    with file.open("w", newline="", encoding="utf-8") as output:
        writer = csv.DictWriter(output, [*DATATYPES, LABEL])
        writer.writeheader()
        for application in applications:
            writer.writerow({**application.features, LABEL: application.label})


def register(installation: Installation, file: Path, version: str, reference: Path) -> None:
    signature = {
        "inputs": [
            {"name": name, "datatype": datatype, "shape": [-1]}
            for name, datatype in DATATYPES.items()
        ]
    }
    installation.manage(
        *("register_model", str(file), "--name", NAME, "--version", version),
        *("--signature", json.dumps(signature)),
        *("--reference", str(reference), "--label-column", LABEL),
    )


class Lender:
    """A caller of the service, who is also responsible for its models."""

    def __init__(self, service: RunningService) -> None:
        self._service = service
        versions = self._get("/api/v1/models/", name=NAME)
        self.model_ids: dict[str, int] = {row["version"]: row["id"] for row in versions}
        self._monitor_id = 0

    def start_canary(self, version: str, percent: float) -> None:
        move = {"version": "1", "canary": {"version": version, "percent": percent}}
        self._send("PUT", ALIAS, {**move, "reason": "as good on held-out data"})

    def create_monitor(self) -> None:
        monitor = {"model": NAME, "name": "daily", "window_hours": 24}
        created = self._send("POST", "/api/v1/monitors/", {**monitor, "rolls_back_canary": True})
        self._monitor_id = created["id"]

    def apply(self, applications: Sequence[Application]) -> None:
        """Ask the champion about them, in batches. Chance decides which arm answers a batch."""
        with self._service.client() as client:
            for first in range(0, len(applications), BATCH_ROWS):
                batch = applications[first : first + BATCH_ROWS]
                inputs = {"inputs": [one.features for one in batch]}
                names = {"references": [one.number for one in batch]}
                _answer(client, "POST", BATCH, {"model": NAME, **inputs, **names})

    def report_outcomes(self, applications: Iterable[Application]) -> None:
        outcomes = [{"reference": one.number, "label": one.label} for one in applications]
        self._send("POST", "/api/v1/outcomes/", {"outcomes": outcomes})

    def report(self, version: str, since: datetime) -> dict[str, Any] | None:
        """The monitor's report of the version's window that begins then, with its findings."""
        path = f"/api/v1/monitors/{self._monitor_id}/reports/"
        for row in self._get(path, model_id=self.model_ids[version]):
            if datetime.fromisoformat(row["since"]) == since:
                detail: dict[str, Any] = self._get(f"{path}{row['id']}/")
                return detail
        return None

    def measured_accuracy(self, version: str, since: datetime, until: datetime) -> float | None:
        """By the outcomes that are known, of predictions that were made from `since` on."""
        path = f"/api/v1/models/{self.model_ids[version]}/quality/"
        window = {"from": since.isoformat(), "to": until.isoformat()}
        figures = self._get(path, **window)["classification"]
        accuracy: float | None = figures and figures["accuracy"]
        return accuracy

    def alerts(self) -> list[dict[str, Any]]:
        """All alerts, the oldest first."""
        found: list[dict[str, Any]] = self._get("/api/v1/alerts/", model=NAME)
        return found[::-1]

    def canary(self) -> dict[str, Any] | None:
        """The canary of the champion, if there is one."""
        canary: dict[str, Any] | None = self._get(ALIAS)["canary"]
        return canary

    def last_move(self) -> dict[str, Any]:
        """The newest move in the history of the alias."""
        moves: list[dict[str, Any]] = self._get(f"{ALIAS}history/")
        return moves[0]

    def _get(self, path: str, **query: object) -> Any:
        with self._service.client() as client:
            return _answer(client, "GET", f"{path}?{urlencode(query)}" if query else path)

    def _send(self, method: str, path: str, value: object) -> Any:
        with self._service.client() as client:
            return _answer(client, method, path, value)


def _answer(client: Client, method: str, path: str, value: object = None) -> Any:
    body = None if value is None else json.dumps(value).encode()
    response = client.send(method, path, body, {"Content-Type": "application/json"})
    if response.status >= 300:
        raise CommandFailed(f"{method} {path}: {response.status} {response.body.decode()[:1000]}")
    return response.json()
