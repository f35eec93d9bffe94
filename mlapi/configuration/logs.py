"""The logging configuration: structured lines with the request's id, from all libraries."""

import json
from collections.abc import Sequence
from contextvars import ContextVar
from typing import Any

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

# The id of the request that this thread is handling; empty outside a request.
request_id: ContextVar[str] = ContextVar("request_id", default="")

# Django attaches these objects to its records; a request may contain secrets.
UNLOGGED_EXTRAS = ("request", "server_time")


def logging_config(level: str, style: str) -> dict[str, Any]:
    """A dictConfig that logs to stderr at `level`, in `style`: console or json."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "structured": {
                "()": structlog.stdlib.ProcessorFormatter,
                "foreign_pre_chain": _shared_processors(),
                "processors": [
                    structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                    *_renderers(style),
                ],
            }
        },
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "structured"}},
        "root": {"handlers": ["stderr"], "level": level},
        "loggers": {
            # Django's own handlers would write lines twice: the access log has every response, and
            # problems.py logs unexpected exceptions with their traceback.
            "django": {"handlers": [], "level": "NOTSET"},
            "django.request": {"level": "CRITICAL"},
            "django.server": {"handlers": [], "level": "ERROR", "propagate": True},
            # At INFO it writes several lines per login.
            "axes": {"level": "WARNING"},
        },
    }


def _shared_processors() -> Sequence[Processor]:
    return [
        _add_request_id,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        _drop_unlogged_extras,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]


def _renderers(style: str) -> Sequence[Processor]:
    if style == "json":
        return [
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(serializer=json.dumps, default=str),
        ]
    return [
        structlog.dev.ConsoleRenderer(
            colors=False, exception_formatter=structlog.dev.plain_traceback
        )
    ]


def _add_request_id(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    if current_id := request_id.get():
        event["request_id"] = current_id
    return event


def _drop_unlogged_extras(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    for name in UNLOGGED_EXTRAS:
        event.pop(name, None)
    return event
