"""What each operation of the API demands of its caller, written out by hand."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from mlapi.tests.roles.people import NONE, Role
from registry.models import Right

HIDDEN, OWN = "hidden", "own"
# Whose prediction, of which model. For what belongs to a model, the first two are the same.
TARGETS = ("own", "other", HIDDEN)

# The status that the caller must get: 401, 403, 404, or 200 for "allowed", whatever comes of it.
Rule: TypeAlias = Callable[[Role, str], int]


def rights_on(role: Role, target: str) -> frozenset[Right] | None:
    return role.on_hidden if target == HIDDEN else role.on_shown


def public(role: Role, target: str) -> int:
    return 200


def signed_in(role: Role, target: str) -> int:
    return 200 if role.is_signed_in else 401


def visible(role: Role, target: str) -> int:
    return 404 if rights_on(role, target) is None else 200


def having(right: Right) -> Rule:
    def rule(role: Role, target: str) -> int:
        held = rights_on(role, target)
        if held is None:
            return 404
        return 200 if right in held else 403

    return rule


def readable(role: Role, target: str) -> int:
    """Their own, also of a model that they may not use any more, and what they may read."""
    return 200 if target == OWN or Right.READ_LOG in (rights_on(role, target) or NONE) else 404


def readable_model(role: Role, target: str) -> int:
    return 200 if Right.READ_LOG in (rights_on(role, target) or NONE) else 404


def cancels_canaries(role: Role, target: str) -> int:
    """Changing a monitor that moves aliases takes both rights."""
    status = having(Right.MANAGE_VERSIONS)(role, target)
    if status != 200:
        return status
    return 200 if Right.MOVE_ALIASES in (rights_on(role, target) or NONE) else 403


def acknowledges(role: Role, target: str) -> int:
    """The response has the finding, which may quote the log."""
    status = having(Right.MANAGE_VERSIONS)(role, target)
    return having(Right.READ_LOG)(role, target) if status == 200 else status


def reports(role: Role, target: str) -> int:
    if readable(role, target) == 404:
        return 404
    return 200 if Right.REPORT_OUTCOMES in (rights_on(role, target) or NONE) else 403


def replays(role: Role, target: str) -> int:
    status = having(Right.READ_LOG)(role, target)
    if status != 200:
        return status
    held = rights_on(role, target) or NONE
    return 200 if held & {Right.PREDICT, Right.MANAGE_VERSIONS} else 403


def sees_job(role: Role, target: str) -> int:
    """The jobs here are replays. A key sees its owner's only if their right is in its scopes."""
    if role.is_key and Right.READ_LOG not in role.scopes:
        return 404
    return readable(role, target)


def cancels_job(role: Role, target: str) -> int:
    if sees_job(role, target) == 404:
        return 404
    if target == OWN:
        return 200
    return 200 if Right.MANAGE_VERSIONS in (rights_on(role, target) or NONE) else 403


def registers(role: Role, target: str) -> int:
    """The same for a model that is hidden and for one that does not exist."""
    return 200 if Right.MANAGE_VERSIONS in (rights_on(role, target) or NONE) else 403


def adds_models(role: Role, target: str) -> int:
    return 200 if role.is_everywhere and Right.MANAGE_VERSIONS in role.on_shown else 403


def by_person(right: Right) -> Rule:
    def rule(role: Role, target: str) -> int:
        status = having(right)(role, target)
        return 403 if status == 200 and role.is_key else status

    return rule


def of_asker(role: Role, target: str) -> int:
    """The request in these tests is somebody else's."""
    return 404 if rights_on(role, target) is None else 403


def holds_key(role: Role, target: str) -> int:
    """People manage their own keys, and administrators all."""
    if role.is_key:
        return 403
    return 200 if target == OWN or role.is_administrator else 404


def person(role: Role, target: str) -> int:
    return 403 if role.is_key else 200


def administers(role: Role, target: str) -> int:
    return 200 if role.is_administrator else 403


@dataclass(frozen=True)
class Operation:
    """`path` and `body` are filled in with the fields of `Target`."""

    rule: Rule
    body: Mapping[str, Any] | None = None
    # For a list: which member of its rows must be which field of the target, if it is in the list.
    member: tuple[str, str] | None = None
    query: Mapping[str, str] = field(default_factory=dict)


MANAGE, READ, PREDICT = Right.MANAGE_VERSIONS, Right.READ_LOG, Right.PREDICT
FEATURES = [5.1, 3.5, 1.4, 0.2]
TENSOR = {"name": "features", "datatype": "FP64", "shape": [1, 4], "data": FEATURES}
WINDOW = {"from": "2026-01-01T00:00:00Z", "to": "2026-02-01T00:00:00Z"}
REQUESTS, REGISTERED = "/api/v1/alias-requests/", "/api/v1/registered-models/"
ERASURES, HOLDS = "/api/v1/erasures/", "/api/v1/legal-holds/"
JOBS = "/api/v1/jobs/"
KEYS, WEBHOOKS = "/api/v1/api-keys/", "/api/v1/webhooks/"
MONITORS, ALERTS = "/api/v1/monitors/", "/api/v1/alerts/"
TARGET = {"name": "w", "url": "https://hooks.example.com/", "events": ["alias.moved"]}
V2 = "/v2/models/{name}/"

OPERATIONS: dict[tuple[str, str], Operation] = {
    ("get", REQUESTS): Operation(visible, member=("id", "request")),
    ("get", REQUESTS + "{request}/"): Operation(visible),
    ("post", REQUESTS + "{request}/approve/"): Operation(by_person(Right.MOVE_ALIASES), {}),
    ("post", REQUESTS + "{request}/reject/"): Operation(
        by_person(Right.MOVE_ALIASES), {"reason": "no"}
    ),
    ("post", REQUESTS + "{request}/withdraw/"): Operation(of_asker, {}),
    ("get", "/api/v1/aliases/"): Operation(visible, member=("name", "name")),
    ("get", "/api/v1/aliases/{name}/champion/"): Operation(visible),
    ("put", "/api/v1/aliases/{name}/champion/"): Operation(
        having(Right.MOVE_ALIASES), {"version": "1"}
    ),
    ("delete", "/api/v1/aliases/{name}/champion/"): Operation(having(Right.MOVE_ALIASES)),
    ("get", "/api/v1/aliases/{name}/champion/comparison/"): Operation(having(READ), query=WINDOW),
    ("get", "/api/v1/aliases/{name}/champion/history/"): Operation(visible),
    ("post", "/api/v1/aliases/{name}/champion/rollback/"): Operation(
        having(Right.MOVE_ALIASES), {}
    ),
    ("get", ALERTS): Operation(readable_model, member=("id", "alert")),
    ("get", ALERTS + "{alert}/"): Operation(readable_model),
    ("post", ALERTS + "{alert}/acknowledge/"): Operation(acknowledges),
    ("get", KEYS): Operation(holds_key, member=("id", "key")),
    ("post", KEYS): Operation(person, {"name": "k", "scopes": ["predict"]}),
    ("get", KEYS + "{key}/"): Operation(holds_key),
    ("post", KEYS + "{key}/revoke/"): Operation(holds_key),
    ("post", KEYS + "{key}/rotate/"): Operation(holds_key, {}),
    ("get", "/api/v1/audit-events/"): Operation(administers),
    ("post", "/api/v1/auth/refresh/"): Operation(public, {}),
    ("post", "/api/v1/auth/token/"): Operation(public, {}),
    ("post", "/api/v1/auth/verify/"): Operation(public, {}),
    ("get", ERASURES): Operation(administers),
    ("post", ERASURES): Operation(administers, {"subject": "nobody", "reason": "asked"}),
    ("get", HOLDS): Operation(administers),
    ("post", HOLDS): Operation(administers, {"subject": "someone", "reason": "a case"}),
    ("post", HOLDS + "{hold}/release/"): Operation(administers, {"reason": "closed"}),
    ("get", "/api/v1/exports/predictions/"): Operation(
        readable, member=("id", "prediction"), query={"format": "ndjson"}
    ),
    ("get", JOBS): Operation(sees_job, member=("id", "job")),
    ("post", JOBS): Operation(
        replays, {"kind": "replay", "parameters": {"from": "{version}", "to": "{version}"}}
    ),
    ("get", JOBS + "{job}/"): Operation(sees_job),
    ("post", JOBS + "{job}/cancel/"): Operation(cancels_job),
    ("get", JOBS + "{job}/errors/"): Operation(sees_job),
    ("get", "/api/v1/models/"): Operation(visible, member=("id", "version")),
    ("post", "/api/v1/models/"): Operation(registers, {"name": "{name}", "framework": "onnx"}),
    ("get", "/api/v1/models/{version}/"): Operation(visible),
    ("patch", "/api/v1/models/{version}/"): Operation(having(MANAGE), {"description": "x"}),
    ("delete", "/api/v1/models/{version}/"): Operation(having(MANAGE)),
    ("get", "/api/v1/models/{version}/artifact/"): Operation(having(MANAGE)),
    ("put", "/api/v1/models/{version}/artifact/"): Operation(having(MANAGE), {}),
    ("post", "/api/v1/models/{version}/invocations/"): Operation(
        having(PREDICT), {"instances": [FEATURES]}
    ),
    ("get", "/api/v1/models/{version}/predictions/"): Operation(visible),
    ("get", "/api/v1/models/{version}/quality/"): Operation(having(READ), query=WINDOW),
    ("get", "/api/v1/models/{version}/reference/"): Operation(having(READ)),
    ("put", "/api/v1/models/{version}/reference/"): Operation(having(MANAGE), WINDOW),
    ("get", "/api/v1/outcomes/"): Operation(readable, member=("prediction_id", "prediction")),
    ("post", "/api/v1/outcomes/"): Operation(
        reports, {"prediction_id": "{prediction}", "label": 0}
    ),
    ("get", "/api/v1/predictions/"): Operation(readable, member=("id", "prediction")),
    ("post", "/api/v1/predictions/"): Operation(
        having(PREDICT), {"model_id": "{version}", "input_data": {"features": FEATURES}}
    ),
    ("get", "/api/v1/predictions/{prediction}/"): Operation(readable),
    ("get", "/api/v1/predictions/{prediction}/explanation/"): Operation(readable),
    ("post", "/api/v1/predictions/batch/"): Operation(
        having(PREDICT), {"model_id": "{version}", "inputs": [{"features": FEATURES}]}
    ),
    ("get", MONITORS): Operation(readable_model, member=("id", "monitor")),
    ("post", MONITORS): Operation(having(MANAGE), {"model": "{name}", "name": "new"}),
    ("get", MONITORS + "{monitor}/"): Operation(readable_model),
    ("patch", MONITORS + "{monitor}/"): Operation(cancels_canaries, {"rolls_back_canary": True}),
    ("delete", MONITORS + "{monitor}/"): Operation(having(MANAGE)),
    ("get", MONITORS + "{monitor}/reports/"): Operation(readable_model),
    ("get", MONITORS + "{monitor}/reports/{report}/"): Operation(readable_model),
    ("get", REGISTERED): Operation(visible, member=("name", "name")),
    ("post", REGISTERED): Operation(adds_models, {"name": "new"}),
    ("get", REGISTERED + "{name}/"): Operation(visible),
    ("patch", REGISTERED + "{name}/"): Operation(having(MANAGE), {"description": "x"}),
    ("delete", REGISTERED + "{name}/"): Operation(having(MANAGE)),
    ("get", REGISTERED + "{name}/grants/"): Operation(by_person(MANAGE)),
    ("put", REGISTERED + "{name}/grants/"): Operation(
        by_person(MANAGE), {"user": "eve", "rights": ["manage_versions"]}
    ),
    ("delete", REGISTERED + "{name}/grants/{grant}/"): Operation(by_person(MANAGE)),
    ("get", "/api/v1/replays/"): Operation(readable_model, member=("id", "replay")),
    ("post", "/api/v1/replays/"): Operation(replays, {"from": "{version}", "to": "{version}"}),
    ("get", "/api/v1/replays/{replay}/"): Operation(readable_model),
    ("get", "/api/v1/replays/{replay}/results/"): Operation(readable_model),
    ("get", WEBHOOKS): Operation(administers),
    ("post", WEBHOOKS): Operation(administers, TARGET),
    ("get", WEBHOOKS + "{webhook}/"): Operation(administers),
    ("patch", WEBHOOKS + "{webhook}/"): Operation(administers, {}),
    ("delete", WEBHOOKS + "{webhook}/"): Operation(administers),
    ("post", WEBHOOKS + "{webhook}/rotate/"): Operation(administers),
    ("post", WEBHOOKS + "{webhook}/test/"): Operation(administers),
    ("get", WEBHOOKS + "{webhook}/deliveries/"): Operation(administers),
    ("post", WEBHOOKS + "{webhook}/deliveries/{delivery}/resend/"): Operation(administers),
    ("get", "/v1/models/"): Operation(visible, member=("", "name")),
    ("get", "/v1/models/{name}/"): Operation(visible),
    ("post", "/v1/models/{name}:predict/"): Operation(having(PREDICT), {"instances": [FEATURES]}),
    ("get", "/v2/"): Operation(signed_in),
    ("get", "/v2/health/live/"): Operation(public),
    ("get", "/v2/health/ready/"): Operation(public),
    ("post", "/v2/repository/index/"): Operation(visible, {}, member=("name", "name")),
    **{
        (method, root + rest): Operation(rule, body)
        for root in (V2, V2 + "versions/1/")
        for method, rest, rule, body in (
            ("get", "", visible, None),
            ("post", "infer/", having(PREDICT), {"inputs": [TENSOR]}),
            ("get", "ready/", visible, None),
            ("get", "stats/", having(READ), None),
        )
    },
}
