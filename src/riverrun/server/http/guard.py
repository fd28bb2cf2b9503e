"""What is refused before a handler is looked for: foreign hosts and origins, wrong versions of the protocol; and the database's
own refusals in words.

Without sign-in the server listens on loopback alone, and a page in the user's browser must not reach it either: `Host` has to be
a name of this machine, and requests that change something must not come from another origin (RELIABILITY S2).
"""

import re
import sqlite3
import sys
from typing import Any
from urllib.parse import urlsplit

import sqlalchemy as sa

from riverrun.server.http.errors import HTTPError

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1", "[::1]"})
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
#: what a page of another origin may send without asking first
_FORMS = frozenset({"text/plain", "application/x-www-form-urlencoded", "multipart/form-data"})
#: on every answer: no guessing of types, no frames, no caches, no addresses told to other sites
RESPONSE_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
)
_VERSION = re.compile(r"\d+\.\d+\.\d+")
_MINIMUM = (0, 8, 0)
#: how SQLite's sentences about its limits begin; they have no code of their own
_SQLITE_LIMITS = ("LIKE or GLOB pattern too complex", "too many SQL variables", "Expression tree is too large")


def headers_of(scope: Any) -> dict[str, str]:
    """The headers by lower-case name."""
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}


class Guard:
    """Checks `Host` and `Origin` against the names under which the server may be reached."""

    def __init__(self, hosts: frozenset[str] = LOOPBACK) -> None:
        self.hosts = hosts | LOOPBACK

    def check_http(self, method: str, headers: dict[str, str]) -> None:
        """Raises HTTPError."""
        if not self._knows(headers.get("host", "")):
            raise HTTPError(
                421,
                f"This server is not {headers.get('host', '')!r}. Name it in RIVERRUN_SERVER_ALLOWED_HOSTS to allow it.",
            )
        if method not in _SAFE and not self._same_origin(headers):
            raise HTTPError(403, "Requests from pages of other origins are refused.")

    def allows_socket(self, headers: dict[str, str]) -> bool:
        return self._knows(headers.get("host", "")) and self._same_origin(headers)

    def _knows(self, host: str) -> bool:
        return "*" in self.hosts or _name(host) in self.hosts

    def _same_origin(self, headers: dict[str, str]) -> bool:
        if headers.get("sec-fetch-site") in {"cross-site", "same-site"}:
            return False
        origin = headers.get("origin")
        return origin is None or urlsplit(origin).netloc == headers.get("host")


def _name(host: str) -> str:
    return (host.rpartition(":")[0] if re.search(r":\d+$", host) else host).lower()


def check_media_type(headers: dict[str, str], *, is_json: bool, raw: str | None = None) -> None:
    """Refuse a body that a page of another origin may send without asking, and where JSON is read, anything else.

    Clients that say no type are let through unless they are browsers, which always say where they come from. `raw` is what a
    route that takes the body as it is asks for.
    """
    given = headers.get("content-type", "").partition(";")[0].strip().lower()
    if not given:
        wrong = "origin" in headers or "sec-fetch-site" in headers
    elif is_json:
        wrong = given != "application/json" and not (given.startswith("application/") and given.endswith("+json"))
    else:
        wrong = given in _FORMS and given != raw
    if wrong:
        raise HTTPError(415, f"The body's content type is {given!r}; application/json is what is read here.")


def check_version(headers: dict[str, str]) -> None:
    """The version of the protocol that the client speaks, when it says one."""
    version = headers.get("x-prefect-api-version")
    if version is None:
        return
    if not _VERSION.fullmatch(version):
        raise HTTPError(400, f"{version!r} is not a version of the API (x.y.z).")
    if tuple(map(int, version.split("."))) < _MINIMUM:
        raise HTTPError(400, f"The client speaks version {version} of the API; this server speaks 0.8.0 and newer.")


def answer_to_database(error: BaseException) -> tuple[int, Any, dict[str, str]] | None:
    """A status for an error of the database: a refused value is the request's fault, a full or lost database is not."""
    cause = getattr(error, "orig", None) or error
    # of the driver's own cursors, whose errors SQLAlchemy does not wrap
    psycopg = sys.modules.get("psycopg")
    if isinstance(error, sa.exc.IntegrityError) or isinstance(cause, sqlite3.IntegrityError):
        return 409, {"detail": "This collides with something that is already there."}, {}
    refused = (
        isinstance(cause, OverflowError | UnicodeError) or _is_refused_by_driver(error, cause) or _is_too_much(cause)
    )
    if refused or isinstance(error, sa.exc.DataError):
        return 422, {"detail": f"The database does not take a value: {_first_line(cause)}"}, {}
    if isinstance(error, sa.exc.ProgrammingError) or getattr(cause, "sqlite_errorcode", None) == sqlite3.SQLITE_ERROR:
        return None  # a statement of ours is wrong: trying again would not help
    if isinstance(error, sa.exc.DatabaseError | sa.exc.TimeoutError) or isinstance(cause, sqlite3.Error):
        return 503, {"exception_message": "Service Unavailable", "detail": _first_line(cause)}, {"Retry-After": "1"}
    if psycopg is not None and isinstance(error, psycopg.Error):
        return answer_to_database(sa.exc.DBAPIError.instance("", {}, error, psycopg.Error))
    return None


def _is_refused_by_driver(error: BaseException, cause: BaseException) -> bool:
    """Whether psycopg itself did not take a value; errors of the server have an SQLSTATE."""
    return isinstance(error, sa.exc.ProgrammingError) and getattr(cause, "sqlstate", "") is None


def _is_too_much(cause: BaseException) -> bool:
    """Whether a value is longer, or there are more of them, than the database's limits allow."""
    if (getattr(cause, "sqlstate", None) or "").startswith("54"):  # PostgreSQL: program limit exceeded
        return True
    return getattr(cause, "sqlite_errorcode", None) == sqlite3.SQLITE_ERROR and str(cause).startswith(_SQLITE_LIMITS)


def _first_line(error: BaseException) -> str:
    return str(error).strip().split("\n", 1)[0]
