"""What clients are told when something cannot be done: RFC 9457 problems with stable codes.

The only place that knows which status a `DomainError` has.
"""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic_core import to_json
from pymongo.errors import PyMongoError
from starlette.exceptions import HTTPException
from starlette.routing import Match

from domain.changes import store_is_away
from domain.errors import (
    Conflict,
    DomainError,
    Forbidden,
    IdempotencyKeyReused,
    Invalid,
    NotFound,
    StaleRevision,
    TooManyRequests,
    TryAgain,
    Unauthenticated,
    Unavailable,
)
from domain.observe import logger

log = logger(__name__)

#: The nearest class in an error's ancestry decides.
STATUSES: Mapping[type[DomainError], int] = {
    Unauthenticated: 401,
    Forbidden: 403,
    NotFound: 404,
    Conflict: 409,
    StaleRevision: 412,
    Invalid: 422,
    IdempotencyKeyReused: 422,
    TooManyRequests: 429,
    Unavailable: 503,
}
PROBLEM_JSON = "application/problem+json"
#: Seconds after which a client may try again.
RETRY_AFTER = {"Retry-After": "1"}
CHALLENGE = 'Bearer realm="stockyard"'
#: Bounds of what a validation problem tells.
MOST_ERRORS, LONGEST_TEXT = 20, 200
#: Codes and sentences of what the framework finds wrong.
_FRAMEWORK = {
    404: ("route_not_found", "There is no such route."),
    405: ("method_not_allowed", "The route does not take this method."),
    400: ("malformed_body", "The body could not be read."),
}


class BadRequest(HTTPException):
    """What is wrong with the request as HTTP, before the domain has a say."""

    def __init__(
        self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(status, detail=message, headers=headers)
        self.code = code


def malformed_body(reason: str) -> BadRequest:
    """The body is no JSON, or no UTF-8."""
    return BadRequest(400, "malformed_body", f"The body is not valid JSON: {reason}")


def overloaded() -> BadRequest:
    """The process has all the work that it takes at once."""
    return BadRequest(503, "overloaded", "There are too many requests at work. Try again.", RETRY_AFTER)


def invalid_field(*location: str | int, kind: str, message: str) -> RequestValidationError:
    """A problem with one field that no model could find."""
    return RequestValidationError([{"type": kind, "loc": location, "msg": message, "input": None}])


def problem(
    status: int,
    *,
    code: str,
    detail: str,
    request_id: str | None,
    headers: Mapping[str, str] | None = None,
    **members: Any,
) -> Response:
    """A problem as an answer. `members` are extensions; empty ones are left out."""
    body = {
        "type": f"urn:stockyard:problem:{code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "code": code,
        "detail": detail,
        "request_id": request_id,
    } | {name: value for name, value in members.items() if value}
    return Response(to_json(body, fallback=str), status, dict(headers or {}), media_type=PROBLEM_JSON)


def problem_of(error: BadRequest, request_id: str | None) -> Response:
    """The answer to what is wrong with the request as HTTP."""
    return problem(
        error.status_code,
        code=error.code,
        detail=str(error.detail),
        request_id=request_id,
        headers=error.headers,
    )


def status_of(error: DomainError) -> int:
    """The HTTP status of a domain error."""
    return next((STATUSES[kind] for kind in type(error).__mro__ if kind in STATUSES), 400)


def install(app: FastAPI) -> None:
    """Registers the handlers. What none of them takes is the middleware's, see `failed`."""
    app.add_exception_handler(DomainError, _domain_error)  # type: ignore[arg-type]
    app.add_exception_handler(RequestValidationError, _validation_error)  # type: ignore[arg-type]
    app.add_exception_handler(HTTPException, _http_error)  # type: ignore[arg-type]
    app.add_exception_handler(PyMongoError, _store_error)  # type: ignore[arg-type]
    app.add_exception_handler(TryAgain, _busy)


def failed(request_id: str | None) -> Response:
    """The answer to what nobody foresaw; the trace is in the log and nowhere else."""
    return problem(500, code="internal", detail="Something went wrong on our side.", request_id=request_id)


def _request_id(request: Request) -> str | None:
    found: str | None = request.scope.get("request_id")
    return found


def _domain_error(request: Request, error: DomainError) -> Response:
    status, headers, facts = status_of(error), {}, error.detail
    if status == HTTPStatus.UNAUTHORIZED:
        tried = ', error="invalid_token"' if "authorization" in request.headers else ""
        headers = {"WWW-Authenticate": CHALLENGE + tried}
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        headers = {"Retry-After": str(facts["retry_after"])}
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        headers, facts = RETRY_AFTER, {}
    return problem(
        status,
        code=error.code,
        detail=error.message,
        request_id=_request_id(request),
        headers=headers,
        facts=facts,
    )


def _validation_error(request: Request, error: RequestValidationError) -> Response:
    found: Sequence[Mapping[str, Any]] = error.errors()
    return problem(
        422,
        code="validation_error",
        detail=f"{len(found)} part(s) of the request cannot be accepted.",
        request_id=_request_id(request),
        errors=[_field(each) for each in found[:MOST_ERRORS]],
    )


def _field(error: Mapping[str, Any]) -> dict[str, str]:
    """Where and what, never the input itself."""
    path = ".".join(str(part) for part in error["loc"])
    return {
        "field": path[:LONGEST_TEXT],
        "code": str(error["type"])[:LONGEST_TEXT],
        "message": str(error["msg"])[:LONGEST_TEXT],
    }


def _http_error(request: Request, error: HTTPException) -> Response:
    if isinstance(error, BadRequest):
        return problem_of(error, _request_id(request))
    headers = dict(error.headers or {})
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = ", ".join(_methods(request))
        if request.method == "OPTIONS":
            return Response(status_code=204, headers=headers)
    code, detail = _FRAMEWORK.get(error.status_code, ("http_error", str(error.detail)))
    return problem(
        error.status_code, code=code, detail=detail, request_id=_request_id(request), headers=headers
    )


def _methods(request: Request) -> list[str]:
    """Every method that the path takes, over all of its routes."""
    found = {"OPTIONS"}
    for route in request.app.routes:
        if route.matches(request.scope)[0] is not Match.NONE:
            found |= set(getattr(route, "methods", None) or ())
    return sorted(found | {"HEAD"} if "GET" in found else found)


def _store_error(request: Request, error: PyMongoError) -> Response:
    if not store_is_away(error):
        raise error
    log.warning("the store is away", error=type(error).__name__)
    return _busy(request, error)


def _busy(request: Request, _: Exception) -> Response:
    return problem(
        503,
        code=Unavailable.code,
        detail=Unavailable.message,
        request_id=_request_id(request),
        headers=RETRY_AFTER,
    )
