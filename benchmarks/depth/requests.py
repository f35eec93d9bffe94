"""The requests of `python -m benchmarks depth`."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from urllib.parse import parse_qs, quote, urlencode, urlsplit

from benchmarks.harness.client import Client, Response
from benchmarks.harness.service import (
    PASSWORD,
    PREDICTIONS,
    USERNAME,
    RunningService,
    prediction_request,
)

LIMIT = 100
ADMIN = "/admin/predictions/prediction/"

Parameters = dict[str, str]


@dataclass(frozen=True, slots=True)
class Request:
    """A request that is sent repeatedly; `rows` is the number of rows that it lists."""

    name: str
    send: Callable[[], Response]
    status: int = 200
    rows: int = 0


def api_lists(running: RunningService) -> list[Request]:
    """Every filter at its first page and deep down, beginning with the unfiltered first page."""
    client = running.client()
    rows = client.get(f"{PREDICTIONS}?limit=1").json()
    newest = datetime.fromisoformat(rows[0]["created_at"])
    oldest = newest - timedelta(days=365)
    rare_model = str(running.model_id("rare"))
    lists = []
    for name, parameters in _filters(running, oldest, newest).items():
        start = datetime.fromisoformat(parameters.get("created_after", oldest.isoformat()))
        end = datetime.fromisoformat(parameters.get("created_before", newest.isoformat()))
        # A filter that matches few rows must still have a full page below this point.
        is_rare = "failed" in parameters.values() or parameters.get("model_id") == rare_model
        deep = start + (end - start) * (0.2 if is_rare else 0.01)
        lists.append(_list_request(client, f"{name}: first page", parameters))
        lists.append(_list_request(client, f"{name}: deep", parameters | _cursor(client, deep)))
    return lists


def _filters(running: RunningService, oldest: datetime, newest: datetime) -> dict[str, Parameters]:
    middle = (oldest + (newest - oldest) / 2).isoformat()
    late, early = {"created_after": middle}, {"created_before": middle}
    all_times = {"created_after": oldest.isoformat()}
    common = {"model_id": str(running.model_id("common"))}
    rare = {"model_id": str(running.model_id("rare"))}
    failed, succeeded = {"status": "failed"}, {"status": "succeeded"}
    return {
        "all": {},
        "model_id": common,
        "model_id (1 of 1,000 rows)": rare,
        "status=failed": failed,
        "status=succeeded": succeeded,
        "created_after": late,
        "created_before": early,
        "model_id, status=failed": common | failed,
        "model_id, status=succeeded": common | succeeded,
        "model_id (1 of 1,000 rows), status=failed": rare | failed,
        "model_id (1 of 1,000 rows), created_before": rare | early,
        "model_id, created_after": common | late,
        "status=failed, created_before": failed | early,
        "status=failed, created_after": failed | late,
        "status=succeeded, created_before": succeeded | early,
        "created_after, created_before": all_times | early,
        "all four": common | failed | all_times | early,
    }


def single_requests(running: RunningService) -> list[Request]:
    """An old prediction, a new prediction, and a POST."""
    client = running.client()
    newest = client.get(f"{PREDICTIONS}?limit=1").json()[0]["id"]
    body = prediction_request(running.model_id("common"), (5.1, 3.5, 1.4, 0.2))
    return [
        Request("GET by id, old", lambda: client.get(f"{PREDICTIONS}1/")),
        Request("GET by id, new", lambda: client.get(f"{PREDICTIONS}{newest}/")),
        Request("POST", lambda: client.post(PREDICTIONS, body), 201),
    ]


def admin_lists(running: RunningService) -> list[Request]:
    admin = _log_in_to_admin(running.port)
    queries = {
        "admin list": "",
        "admin list, status": "?status__exact=succeeded",
        "admin list, model": f"?model__id__exact={running.model_id('common')}",
        "admin list, page 5": "?p=5",
    }
    return [Request(name, partial(admin.get, f"{ADMIN}{query}")) for name, query in queries.items()]


def _list_request(client: Client, name: str, parameters: Parameters) -> Request:
    path = f"{PREDICTIONS}?{urlencode({'limit': str(LIMIT), **parameters})}"
    rows = len(client.get(path).json())
    return Request(name, lambda: client.get(path), rows=rows)


def _cursor(client: Client, before: datetime) -> Parameters:
    """The cursor of the newest row before this time, taken from the Link header."""
    response = client.get(f"{PREDICTIONS}?limit=1&created_before={quote(before.isoformat())}")
    link = re.search(r"<([^>]+)>", response.headers.get("link", ""))
    assert link is not None, response
    return {"cursor": parse_qs(urlsplit(link[1]).query)["cursor"][0]}


def _log_in_to_admin(port: int) -> Client:
    """A client with a session in the admin."""
    page = Client(port).get("/admin/login/")
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.body.decode())
    assert token is not None
    form = {"username": USERNAME, "password": PASSWORD, "csrfmiddlewaretoken": token[1]}
    headers = {
        "Content-Type": "application/x-www-form-urlencoded",
        "Cookie": _cookies(page),
    }
    client = Client(port)
    response = client.send("POST", "/admin/login/", urlencode(form).encode(), headers)
    assert response.status == 302, response
    client.headers["Cookie"] = _cookies(response)
    return client


def _cookies(response: Response) -> str:
    pattern = r"((?:csrftoken|sessionid)=[^;,]+)"
    return "; ".join(re.findall(pattern, response.headers["set-cookie"]))
