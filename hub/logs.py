"""Log lines that name their request or job: as text for people, as JSON for machines. Addresses are logged by route: some links are permissions."""

import logging
import re
import time
import uuid
from collections.abc import Callable
from typing import Any

import structlog
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.functional import LazyObject

logger = logging.getLogger("hub.requests")
REQUEST_ID = re.compile(r"[A-Za-z0-9_.:-]{8,64}")  # as a proxy in front may have given it
HEADER = "X-Request-Id"
PERMISSION = re.compile(r"(/lfs/(?:file|part|complete)/|/accounts/(?:password/reset/key|confirm-email)/)[^/\s?'\"]+[^\s'\"]*")
TOKEN = re.compile(r"(mdl_)[0-9A-Za-z]{8,}")


def _without_permissions(log: Any, method: str, event: dict[str, Any]) -> dict[str, Any]:
    """Leave out what lets its holder in: addresses that are permissions, access tokens, and whole requests, which Django hands to its own lines."""
    event.pop("request", None)
    event["event"] = str(event["event"])
    for name, value in event.items():
        if isinstance(value, str):
            event[name] = TOKEN.sub(r"\1...", PERMISSION.sub(r"\1...", value))
    return event


SHARED: list[Any] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.PositionalArgumentsFormatter(),
    structlog.stdlib.ExtraAdder(),
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.format_exc_info,
    _without_permissions,  # last, because sentences of exceptions repeat what came
]


def config(form: str, level: str, *, requests: bool) -> dict[str, Any]:
    """Return the logging settings; `form` is text or json, `requests` whether every request gets a line."""
    last: Any = structlog.processors.JSONRenderer() if form == "json" else structlog.dev.ConsoleRenderer(colors=False, pad_event_to=0, sort_keys=False)
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "line": {
                "()": structlog.stdlib.ProcessorFormatter,
                "foreign_pre_chain": SHARED,
                "processors": [structlog.stdlib.ProcessorFormatter.remove_processors_meta, last],
            }
        },
        "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
        "root": {"handlers": ["console"], "level": level},
        "loggers": {
            "hub.requests": {"level": "INFO" if requests else "WARNING"},
            "django.request": {"level": "ERROR"},
            "httpx": {"level": "WARNING"},
            "httpx2": {"level": "WARNING"},
            "kombu.connection": {"level": "ERROR"},
            "celery": {"level": "WARNING"},
        },
    }


def report_to_sentry(dsn: str) -> None:
    """Report our own faults to a Sentry server, without people's data: no cookies, bodies, addresses or local variables."""
    import sentry_sdk  # loaded only where it is used

    sentry_sdk.init(dsn=dsn, send_default_pii=False, include_local_variables=False, max_request_body_size="never", before_send=_without_address)


def _without_address(event: Any, hint: Any) -> Any:
    """Leave out the address: some links are permissions. The route stays as the transaction's name."""
    if request := event.get("request"):
        event["request"] = {"method": request.get("method")}
    return event


def request_id() -> str:
    """Return the id of the request that is being answered, or a new one."""
    return str(structlog.contextvars.get_contextvars().get("request_id") or uuid.uuid4().hex)


class RequestMiddleware:
    """Gives every request an id, which its log lines and its answer carry, and logs how it ended; it comes first of all."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Pass the request on."""
        if not request.META.get("CONTENT_LENGTH", "").isdigit():  # what counts bytes takes any length for a number
            request.META.pop("CONTENT_LENGTH", None)
        given = request.headers.get(HEADER, "")
        name = given if REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        start = time.perf_counter()
        with structlog.contextvars.bound_contextvars(request_id=name):
            response = self.get_response(request)
            if HEADER not in response:
                response[HEADER] = name
            if logger.isEnabledFor(logging.INFO):
                logger.info("request", extra=_facts(request, response, time.perf_counter() - start))
        return response


def _facts(request: HttpRequest, response: HttpResponseBase, seconds: float) -> dict[str, Any]:
    user = request.__dict__.get("user")
    if isinstance(user, LazyObject):  # a session's account that nobody asked for is not looked up for the log
        user = getattr(request, "_cached_user", None)
    return {
        "method": request.method if request.method and request.method.isalpha() else "?",
        "route": request.resolver_match.route if request.resolver_match else "",
        "status": response.status_code,
        "ms": round(seconds * 1000, 1),
        "user": user.pk if user is not None and user.is_authenticated else None,
    }
