"""Errors on the wire: one table maps the families of errors to statuses; bodies have the shape that the peer's clients read.

A permanent error is never a 5xx: clients repeat those.
"""

from collections.abc import Mapping
from typing import Any

from riverrun.base import errors

#: by family, the first that fits
STATUS: tuple[tuple[type[Exception], int], ...] = (
    (errors.NotFoundError, 404),
    (errors.ConflictError, 409),
    (errors.DeniedError, 403),
    (errors.InputError, 422),
    (errors.UnavailableError, 503),
)


class HTTPError(Exception):
    """An answer that is an error: status, `detail` for the body, headers. For cases that no family stands for."""

    def __init__(self, status: int, detail: Any, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = dict(headers or {})


class InvalidRequest(Exception):
    """The request itself is wrong: where (`loc`, e.g. ("body", "limit")), what, and of which kind."""

    def __init__(self, loc: tuple[str | int, ...], message: str, kind: str = "value_error", body: Any = None) -> None:
        super().__init__(message)
        self.loc = loc
        self.message = message
        self.kind = kind
        self.body = body


def answer_to(error: BaseException) -> tuple[int, Any, dict[str, str]] | None:
    """Status, body and headers for an error; None for one that nobody expected."""
    if isinstance(error, HTTPError):
        return error.status, {"detail": error.detail}, error.headers
    if isinstance(error, InvalidRequest):
        return 422, invalid_body(error), {}
    for family, status in STATUS:
        if isinstance(error, family):
            headers = {"Retry-After": "1"} if status == 503 else {}
            return status, {"detail": str(error)}, headers
    return None


def invalid_body(error: InvalidRequest) -> dict[str, Any]:
    """The body of a 422 as the peer's clients read it."""
    return {
        "exception_message": "Invalid request received.",
        "exception_detail": [{"loc": list(error.loc), "msg": error.message, "type": error.kind}],
        "request_body": error.body,
    }
