"""Records log-ins, and those that failed, in the audit trail.

Anybody can fail to log in, as often as they like. So that they cannot fill the table, each process
records a limited number of failures a minute, and with the next one how many it left out.
"""

import threading
import time
from typing import Any

from django.contrib.auth.models import User
from django.contrib.auth.signals import user_logged_in, user_login_failed
from django.dispatch import receiver
from django.http import HttpRequest

from registry.access import audit
from registry.access.accessor import Accessor
from registry.models import AuditEvent

MAX_FAILURES_PER_MINUTE = 30


class FailureBudget:
    """Counts the failures of a minute, and those beyond the limit. Safe for threads."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._minute_began = float("-inf")
        self._recorded = 0
        self._left_out = 0

    def take(self) -> int | None:
        """None if this failure is not to be recorded; else how many have not been since the last
        one that was.
        """
        with self._lock:
            now = time.monotonic()
            if now - self._minute_began >= 60:
                self._minute_began, self._recorded = now, 0
            if self._recorded >= self._limit:
                self._left_out += 1
                return None
            self._recorded += 1
            left_out, self._left_out = self._left_out, 0
            return left_out


budget = FailureBudget(MAX_FAILURES_PER_MINUTE)


def record_login(user: User, request_id: str, *, target: str) -> None:
    """Record that a user has logged in at `target`; an error refuses the log-in."""
    audit.record(AuditEvent.Action.LOGGED_IN, Accessor(user, None, request_id), target=target)


@receiver(user_logged_in, dispatch_uid="mlapi.audit")
def _logged_in(sender: object, request: HttpRequest, user: User, **named: Any) -> None:
    # The token endpoint does not send this signal.
    record_login(user, _request_id(request), target="admin")


@receiver(user_login_failed, dispatch_uid="mlapi.audit")
def _login_failed(
    sender: object,
    credentials: dict[str, Any],
    request: HttpRequest | None = None,
    **named: Any,
) -> None:
    left_out = budget.take()
    if left_out is None:
        return
    # What was typed is not stored unless it is the name of a user: it may be a password.
    user = User.objects.filter(username=str(credentials.get("username", ""))).first()
    audit.record(
        AuditEvent.Action.LOGIN_FAILED,
        Accessor(user, None, _request_id(request)),
        target=_place(request),
        details={"is_known_user": user is not None, "not_recorded_before": left_out},
    )


def _request_id(request: HttpRequest | None) -> str:
    return getattr(request, "request_id", "")


def _place(request: HttpRequest | None) -> str:
    if request is None:
        return ""
    return "admin" if request.path_info.startswith("/admin") else "token"
