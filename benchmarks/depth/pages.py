"""The requests of `python -m benchmarks depth`."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from urllib.parse import parse_qs, quote, urlencode, urlsplit

from benchmarks.harness.client import Answer, Client
from benchmarks.harness.service import (
    PASSWORD,
    PREDICTIONS,
    USERNAME,
    RunningService,
    prediction_request,
)

LIMIT = 100
ADMIN = "/admin/predictions/prediction/"


@dataclass(frozen=True, slots=True)
class Page:
    """A request that is sent again and again; `rows` is how many its answer lists."""

    name: str
    send: Callable[[], Answer]
    status: int = 200
    rows: int = 0


def api_pages(running: RunningService) -> list[Page]:
    """Every filter at its first page and deep down; the first one is the bare first page."""
    client = running.client()
    newest = _times(client, {"limit": "1"})[-1]
    oldest = newest - timedelta(days=365)
    middle = (oldest + (newest - oldest) / 2).isoformat()
    late, early = {"created_after": middle}, {"created_before": middle}
    common = {"model_id": str(running.model_id("common"))}
    rare = {"model_id": str(running.model_id("rare"))}
    failed, succeeded = {"status": "failed"}, {"status": "succeeded"}
    filters = {
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
        "created_after, created_before": {"created_after": oldest.isoformat()} | early,
        "all four": common | failed | {"created_after": oldest.isoformat()} | early,
    }
    pages = []
    for name, parameters in filters.items():
        start = datetime.fromisoformat(parameters.get("created_after", oldest.isoformat()))
        end = datetime.fromisoformat(parameters.get("created_before", newest.isoformat()))
        # Of rare rows the last few hundred must not lie all before this point.
        is_rare = "failed" in parameters.values() or parameters.get("model_id") == rare["model_id"]
        deep = start + (end - start) * (0.2 if is_rare else 0.01)
        pages.append(_page(client, f"{name}: first page", parameters))
        pages.append(_page(client, f"{name}: deep", parameters | _cursor(client, deep)))
    return pages


def other_requests(running: RunningService, size: str) -> list[Page]:
    """One prediction, a new one, the admin's list: named alike for tables of every size."""
    client = running.client()
    newest = client.get(f"{PREDICTIONS}?limit=1").json()[0]["id"]
    model = running.model_id("common")
    body = prediction_request(model, (5.1, 3.5, 1.4, 0.2))
    admin = _logged_in(running.port)
    lists = {
        "admin's list": "",
        "admin's list, status": "?status__exact=succeeded",
        "admin's list, model": f"?model__id__exact={model}",
        "admin's list, page 5": "?p=5",
    }
    return [
        Page(f"GET by id, old, {size}", lambda: client.get(f"{PREDICTIONS}1/")),
        Page(f"GET by id, new, {size}", lambda: client.get(f"{PREDICTIONS}{newest}/")),
        Page(f"POST, {size}", lambda: client.post(PREDICTIONS, body), 201),
        *(
            Page(f"{name}, {size}", partial(admin.get, f"{ADMIN}{query}"))
            for name, query in lists.items()
        ),
    ]


def _page(client: Client, name: str, parameters: dict[str, str]) -> Page:
    path = f"{PREDICTIONS}?{urlencode({'limit': str(LIMIT), **parameters})}"
    rows = len(client.get(path).json())
    return Page(name, lambda: client.get(path), rows=rows)


def _times(client: Client, parameters: dict[str, str]) -> list[datetime]:
    rows = client.get(f"{PREDICTIONS}?{urlencode(parameters)}").json()
    return [datetime.fromisoformat(row["created_at"]) for row in rows]


def _cursor(client: Client, before: datetime) -> dict[str, str]:
    """The key of the newest row before this time, out of the Link that follows it."""
    answer = client.get(f"{PREDICTIONS}?limit=1&created_before={quote(before.isoformat())}")
    link = re.search(r"<([^>]+)>", answer.headers.get("link", ""))
    assert link is not None, answer
    return {"cursor": parse_qs(urlsplit(link[1]).query)["cursor"][0]}


def _logged_in(port: int) -> Client:
    """A client with a session of the admin."""
    page = Client(port).get("/admin/login/")
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.body.decode())
    assert token is not None
    form = {"username": USERNAME, "password": PASSWORD, "csrfmiddlewaretoken": token[1]}
    headers = {
        "Content-Type": "application/x-www-form-urlencoded",
        "Cookie": _cookies(page),
    }
    client = Client(port)
    answer = client.send("POST", "/admin/login/", urlencode(form).encode(), headers)
    assert answer.status == 302, answer
    client.headers["Cookie"] = _cookies(answer)
    return client


def _cookies(answer: Answer) -> str:
    return "; ".join(re.findall(r"((?:csrftoken|sessionid)=[^;,]+)", answer.headers["set-cookie"]))
