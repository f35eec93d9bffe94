"""The status of each exception, and the handlers that turn exceptions into errors."""

import logging
import re
import sys
from collections.abc import Mapping
from http import HTTPStatus
from typing import TypedDict

from django.core.exceptions import PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.core.signals import got_request_exception
from django.db import InterfaceError, OperationalError
from django.db.models import ProtectedError
from django.http import Http404, HttpRequest, HttpResponse, UnreadablePostError
from django.urls import Resolver404
from rest_framework import exceptions
from rest_framework.request import Request

from mlapi.bodies.streams import BodyDamaged, BodyError, BodyIncomplete, BodyTooLarge
from mlapi.configuration.refusals import public_message
from mlapi.error_format import Problem
from mlapi.error_messages import NON_FIELD_ERRORS, flatten, plain_detail, truncate
from mlapi.server.in_flight import BodyTooSlow
from predictions.authentication import CachedTokenAuthentication, error_for
from predictions.evaluation.explanations.errors import (
    ExplanationBusy,
    ExplanationFailed,
    ExplanationRefused,
    ExplanationTimedOut,
    ExplanationUnavailable,
)
from predictions.evaluation.monitoring.alerts.changes import AlertEnded
from predictions.evaluation.monitoring.changes import (
    InvalidMonitor,
    MonitorExists,
    TooManyMonitors,
)
from predictions.evaluation.outcomes.recording import OutcomesRefused
from predictions.evaluation.promotion.requirements import InvalidRequirement, PromotionRefused
from predictions.evaluation.quality.tasks import NoQuality
from predictions.evaluation.references.errors import (
    ReferenceBusy,
    ReferenceRefused,
    ReferenceTooLarge,
)
from predictions.evaluation.replays.plan import InputsMasked
from predictions.evaluation.replays.runner import ReplayBusy, ReplayTaken, ReplayTooLarge
from predictions.export.formats import FormatUnavailable
from predictions.export.streaming import ExportBusy
from predictions.following import LogRestored
from predictions.input_files.errors import FileRefused, ParquetUnavailable
from predictions.jobs.changes import JobEnded, JobNotRetriable, TooManyJobs
from predictions.models import (
    AlertNotFound,
    JobNotFound,
    LegalHoldNotFound,
    MonitorNotFound,
    MonitorReportNotFound,
    PredictionNotFound,
    ReferenceNotFound,
    ReplayNotFound,
)
from predictions.retention.errors import ErasureTooLarge, HeldByLaw, LegalHoldReleased, NamesSubject
from predictions.serving.guards import CallerInactive
from predictions.serving.idempotency import InvalidKey, KeyReused
from predictions.serving.limits.bulkheads import ModelOverloaded
from predictions.serving.limits.deadlines import InvalidTimeout
from predictions.serving.questions import Caller
from predictions.serving.services import (
    PredictionFailed,
    PredictionTimedOut,
    PredictionUnavailable,
)
from registry.access.keys.changes import ApiKeyEnded, TooManyApiKeys
from registry.access.limits import RateLimited
from registry.aliases.decisions import RequestClosed
from registry.aliases.recording import AliasMoved, ApprovalRequired
from registry.aliases.validation import MoveRefused
from registry.artifacts.errors import (
    ArtifactRejected,
    ArtifactTooLarge,
    StorageFull,
    StorageUnavailable,
)
from registry.loading.errors import ArtifactMissing, ModelNotReady, ModelQuarantined
from registry.models import ApiKeyNotFound, ModelNotFound, RequestNotFound, WebhookNotFound
from registry.open_inference.binary import TensorError
from registry.registered_models.changes import RegisteredModelExists, RegisteredModelInUse
from registry.registered_models.grants import GrantNotFound
from registry.services import ArtifactExists, VersionExists, VersionInUse
from registry.signatures.validation import InvalidInput, join_messages
from registry.webhooks.changes import WebhookExists

logger = logging.getLogger(__name__)

# As simplejwt's, which DRF sends with the errors of authentication.
CHALLENGE = 'Bearer realm="api"'

# The exceptions of the apps; str(error) is the message for the caller. They may have `errors`
# (messages by field path), `retry_after` (seconds) and `extensions` (more members of the problem).
# A subclass has the status of its nearest parent in this table.
DOMAIN_STATUSES: dict[type[Exception], HTTPStatus] = {
    BodyTooSlow: HTTPStatus.REQUEST_TIMEOUT,
    BodyIncomplete: HTTPStatus.BAD_REQUEST,
    BodyDamaged: HTTPStatus.BAD_REQUEST,
    BodyTooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    ModelNotFound: HTTPStatus.NOT_FOUND,
    PredictionNotFound: HTTPStatus.NOT_FOUND,
    ApiKeyNotFound: HTTPStatus.NOT_FOUND,
    ApiKeyEnded: HTTPStatus.CONFLICT,
    TooManyApiKeys: HTTPStatus.CONFLICT,
    VersionExists: HTTPStatus.CONFLICT,
    VersionInUse: HTTPStatus.CONFLICT,
    MoveRefused: HTTPStatus.CONFLICT,
    AliasMoved: HTTPStatus.CONFLICT,
    ApprovalRequired: HTTPStatus.CONFLICT,
    RequestClosed: HTTPStatus.CONFLICT,
    RequestNotFound: HTTPStatus.NOT_FOUND,
    RegisteredModelExists: HTTPStatus.CONFLICT,
    RegisteredModelInUse: HTTPStatus.CONFLICT,
    GrantNotFound: HTTPStatus.NOT_FOUND,
    ArtifactExists: HTTPStatus.CONFLICT,
    ArtifactMissing: HTTPStatus.CONFLICT,
    StorageFull: HTTPStatus.INSUFFICIENT_STORAGE,
    StorageUnavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    ArtifactTooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    ArtifactRejected: HTTPStatus.BAD_REQUEST,
    ModelNotReady: HTTPStatus.SERVICE_UNAVAILABLE,
    ModelQuarantined: HTTPStatus.SERVICE_UNAVAILABLE,
    InvalidInput: HTTPStatus.BAD_REQUEST,
    TensorError: HTTPStatus.BAD_REQUEST,
    CallerInactive: HTTPStatus.UNAUTHORIZED,
    InvalidKey: HTTPStatus.BAD_REQUEST,
    KeyReused: HTTPStatus.UNPROCESSABLE_ENTITY,
    PredictionFailed: HTTPStatus.UNPROCESSABLE_ENTITY,
    PredictionUnavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    PredictionTimedOut: HTTPStatus.GATEWAY_TIMEOUT,
    RateLimited: HTTPStatus.TOO_MANY_REQUESTS,
    ModelOverloaded: HTTPStatus.SERVICE_UNAVAILABLE,
    InvalidTimeout: HTTPStatus.BAD_REQUEST,
    LogRestored: HTTPStatus.SERVICE_UNAVAILABLE,
    ExportBusy: HTTPStatus.SERVICE_UNAVAILABLE,
    FormatUnavailable: HTTPStatus.NOT_IMPLEMENTED,
    ErasureTooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    NamesSubject: HTTPStatus.BAD_REQUEST,
    HeldByLaw: HTTPStatus.CONFLICT,
    LegalHoldNotFound: HTTPStatus.NOT_FOUND,
    LegalHoldReleased: HTTPStatus.CONFLICT,
    ReferenceNotFound: HTTPStatus.NOT_FOUND,
    ReferenceRefused: HTTPStatus.BAD_REQUEST,
    FileRefused: HTTPStatus.BAD_REQUEST,
    ReferenceTooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    ReferenceBusy: HTTPStatus.SERVICE_UNAVAILABLE,
    ParquetUnavailable: HTTPStatus.NOT_IMPLEMENTED,
    ReplayNotFound: HTTPStatus.NOT_FOUND,
    InputsMasked: HTTPStatus.CONFLICT,
    ReplayTooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    ReplayBusy: HTTPStatus.SERVICE_UNAVAILABLE,
    ReplayTaken: HTTPStatus.CONFLICT,
    JobNotFound: HTTPStatus.NOT_FOUND,
    JobEnded: HTTPStatus.CONFLICT,
    JobNotRetriable: HTTPStatus.CONFLICT,
    TooManyJobs: HTTPStatus.CONFLICT,
    InvalidRequirement: HTTPStatus.BAD_REQUEST,
    PromotionRefused: HTTPStatus.CONFLICT,
    OutcomesRefused: HTTPStatus.BAD_REQUEST,
    NoQuality: HTTPStatus.CONFLICT,
    MonitorNotFound: HTTPStatus.NOT_FOUND,
    MonitorReportNotFound: HTTPStatus.NOT_FOUND,
    MonitorExists: HTTPStatus.CONFLICT,
    TooManyMonitors: HTTPStatus.CONFLICT,
    InvalidMonitor: HTTPStatus.BAD_REQUEST,
    AlertNotFound: HTTPStatus.NOT_FOUND,
    AlertEnded: HTTPStatus.CONFLICT,
    ExplanationRefused: HTTPStatus.CONFLICT,
    ExplanationBusy: HTTPStatus.SERVICE_UNAVAILABLE,
    ExplanationFailed: HTTPStatus.UNPROCESSABLE_ENTITY,
    ExplanationTimedOut: HTTPStatus.GATEWAY_TIMEOUT,
    ExplanationUnavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    WebhookNotFound: HTTPStatus.NOT_FOUND,
    WebhookExists: HTTPStatus.CONFLICT,
}


class HandlerContext(TypedDict):
    """The part of DRF's context that the exception handler uses."""

    request: Request | HttpRequest


def exception_handler(error: Exception, context: HandlerContext) -> HttpResponse:
    """DRF's EXCEPTION_HANDLER. It handles every exception, so DEBUG does not change the API."""
    request = context["request"]
    if not isinstance(request, Request):
        # The exception was raised before DRF wrapped the request, or outside DRF.
        return _handle(error, request)
    if caller := _unchecked_caller(request):
        error = error_for(caller, error)
    return _handle(error, request._request)


def _unchecked_caller(request: Request) -> Caller | None:
    """The caller of a request for predictions, whose rights nothing has checked yet."""
    caller: Caller | None = getattr(request._request, "caller", None)
    # Not `successful_authenticator`, which would authenticate once more if that has failed.
    if caller is None and isinstance(
        getattr(request, "_authenticator", None), CachedTokenAuthentication
    ):
        caller = Caller.identified_by(request)
    return caller


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _problem_of(exception).response(request)


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _problem_of(exception).response(request)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    detail = (
        f"CSRF verification failed: {reason} Reload the page and send the form again. If that does"
        " not help, the origin of this site is missing in CSRF_TRUSTED_ORIGINS."
    )
    return Problem(HTTPStatus.FORBIDDEN, detail).response(request)


def not_found(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """Django's handler404, and the view of unknown URLs: DEBUG does not change the response."""
    if exception is None or isinstance(exception, Resolver404) or not str(exception):
        detail = f"There is nothing at {request.path}"
        return Problem(HTTPStatus.NOT_FOUND, detail).response(request)
    return _problem_of(exception).response(request)


def server_error(request: HttpRequest) -> HttpResponse:
    """Django's handler500, for exceptions outside DRF; called while the exception is handled."""
    error = sys.exception()
    if not isinstance(error, Exception):
        error = RuntimeError()
    return _handle(error, request, is_signal_sent=True)


def _handle(
    error: Exception, request: HttpRequest, *, is_signal_sent: bool = False
) -> HttpResponse:
    problem = _problem_of(error)
    if isinstance(error, OperationalError | InterfaceError):
        logger.error("The database is unavailable", exc_info=error)
    elif problem.status == HTTPStatus.INTERNAL_SERVER_ERROR:
        logger.error("Unexpected exception", exc_info=error)
        if not is_signal_sent:
            # Django sends it for the exceptions that it handles itself. Error trackers and the test
            # client listen to it.
            got_request_exception.send(sender=None, request=request)
    return problem.response(request)


def _problem_of(error: Exception) -> Problem:
    if isinstance(error, exceptions.APIException):
        return _api_problem(error)
    error = _cause_of_unreadable_body(error)
    for cls in type(error).__mro__:
        if status := DOMAIN_STATUSES.get(cls):
            return _domain_problem(error, cls, status)
    match error:
        case Http404():
            return Problem(HTTPStatus.NOT_FOUND, str(error) or "Not found.")
        case PermissionDenied():
            return Problem(HTTPStatus.FORBIDDEN, str(error) or "Permission denied.")
        case RequestDataTooBig():
            return Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "The request body is too large.")
        case SuspiciousOperation():
            return Problem(HTTPStatus.BAD_REQUEST, "The request is malformed.")
        case UnreadablePostError():
            return Problem(HTTPStatus.BAD_REQUEST, "The request body could not be read.")
        case ProtectedError():
            # The pages that delete check first: another request was faster.
            detail = "Other records refer to this one by now, so that it was not deleted."
            return Problem(HTTPStatus.CONFLICT, detail)
        case OperationalError() | InterfaceError():
            return Problem(
                HTTPStatus.SERVICE_UNAVAILABLE, public_message(error), headers={"Retry-After": "1"}
            )
    return Problem(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "An unexpected error occurred. It is logged with this request_id.",
    )


def _cause_of_unreadable_body(error: Exception) -> Exception:
    """The BodyError that Django has wrapped, maybe twice; another error as it is."""
    cause: BaseException | None = error
    while isinstance(cause, UnreadablePostError):
        cause = cause.__cause__
    return cause if isinstance(cause, BodyError) else error


def _domain_problem(error: Exception, cls: type[Exception], status: HTTPStatus) -> Problem:
    retry_after = getattr(error, "retry_after", None)
    errors: Mapping[str, list[str]] = getattr(error, "errors", {})
    headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
    if status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = CHALLENGE
    return Problem(
        status,
        str(error),
        type="urn:mlapi:problem:" + re.sub(r"(?<!^)(?=[A-Z])", "-", cls.__name__).lower(),
        title=re.sub(r"(?<!^)(?=[A-Z])", " ", cls.__name__).capitalize(),
        errors={path or NON_FIELD_ERRORS: messages for path, messages in errors.items()},
        extensions=getattr(error, "extensions", {}),
        headers=headers,
    )


def _api_problem(error: exceptions.APIException) -> Problem:
    headers = {}
    if challenge := getattr(error, "auth_header", None):
        headers["WWW-Authenticate"] = challenge
    if (wait := getattr(error, "wait", None)) is not None:
        headers["Retry-After"] = str(max(1, round(wait)))
    if not isinstance(error, exceptions.ValidationError):
        return Problem(error.status_code, plain_detail(error.detail), headers=headers)
    errors: dict[str, list[str]] = {}
    flatten(error.detail, "", errors)
    summary = join_messages(
        message if path == NON_FIELD_ERRORS else f"{path}: {message}"
        for path, messages in errors.items()
        for message in messages
    )
    return Problem(error.status_code, truncate(summary), errors=errors, headers=headers)
