"""Sends calls to the API and reads the answers: `send` in sync code, `asend` in async code.

The rules of an exchange (what is tried again and when, which error an answer becomes) are one generator; two small drivers
do the waiting. `client/connections.py` has the HTTP clients.
"""

import random
import time
from collections.abc import Generator
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from riverrun.base.config import settings
from riverrun.base.errors import (
    AccessDenied,
    ConfigurationError,
    HTTPStatusError,
    InputError,
    ObjectAlreadyExists,
    ObjectGone,
    ObjectNotFound,
    RequestConflict,
    RequestRefused,
    RiverrunError,
    ServerFailure,
    UnavailableError,
)
from riverrun.client import connections, journal
from riverrun.client.call import NO_BODY, Call, Raw
from riverrun.client.location import api_url, ensure_api_url

if TYPE_CHECKING:
    import httpx

T = TypeVar("T")

#: what this process has written itself is to be known to the server that is asked; the longest wait for that
SETTLE_SECONDS = 1.0
RETRIED = frozenset({408, 429, 502, 503})
LONGEST_DELAY = 60.0

#: paths of what has nothing to do with runs: these calls need not wait until the server knows this process's records
_APART = ("/variables", "/block_", "/v2/concurrency_limits", "/concurrency_limits", "/admin", "/collections")

#: status -> the error it becomes; others by their hundred
_ERRORS: dict[int, type[RiverrunError]] = {
    401: AccessDenied,
    403: AccessDenied,
    404: ObjectNotFound,
    409: ObjectAlreadyExists,
    410: ObjectGone,
    423: RequestConflict,
}


def send(
    call: Call[T], retries: int | None = None, base_url: str | None = None, client: "httpx.Client | None" = None
) -> T:
    """Send the call and return its answer.

    Connection errors and the answers 408, 429, 502 and 503 are tried again `retries` times (default: the setting
    `client_max_retries`). `base_url` is the API's URL where it is not to be found out, `client` who sends it instead of
    the process's own.
    """
    exchange = _exchange(call, retries)
    step = next(exchange)
    try:
        while True:
            if isinstance(step, float):
                time.sleep(step)
                step = exchange.send(None)
            else:
                url = base_url or ensure_api_url()
                if not call.path.startswith(_APART):
                    journal.settle(SETTLE_SECONDS)
                step = exchange.send(_request(step, url, client))
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]


async def asend(
    call: Call[T], retries: int | None = None, base_url: str | None = None, client: "httpx.AsyncClient | None" = None
) -> T:
    """Send the call from async code; as `send`."""
    import asyncio

    exchange = _exchange(call, retries)
    step = next(exchange)
    try:
        while True:
            if isinstance(step, float):
                await asyncio.sleep(step)
                step = exchange.send(None)
            else:
                url = base_url or api_url()
                if url is None:
                    url = await asyncio.to_thread(ensure_api_url)
                if not call.path.startswith(_APART) and not journal.settle(0):
                    await asyncio.to_thread(journal.settle, SETTLE_SECONDS)
                step = exchange.send(await _arequest(step, url, client))
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]


# -- the rules of an exchange ---------------------------------------------------------------------------------------------

_Outcome = Any  # an httpx.Response, an httpx.TransportError, or None after a delay


def _exchange(call: Call[T], retries: int | None) -> Generator[Call[T] | float, _Outcome, T]:
    """Yields the call to be sent, or seconds to wait; is sent the response or the transport's error."""
    left = settings().client_max_retries if retries is None else retries
    attempt = 0
    while True:
        outcome = yield call
        delay = _delay(outcome, attempt)
        if delay is None or attempt >= left:
            return _answer(call, outcome)  # type: ignore[no-any-return]
        attempt += 1
        yield delay


def _delay(outcome: _Outcome, attempt: int) -> float | None:
    """Seconds until the next attempt, or None where another one makes no sense."""
    import httpx

    wait = min(2.0**attempt, LONGEST_DELAY) * random.uniform(0.5, 1.0)  # noqa: S311 - spreads retries, guards nothing
    if isinstance(outcome, httpx.Response):
        if outcome.status_code not in RETRIED:
            return None
        return min(_seconds(outcome.headers.get("retry-after")) or wait, LONGEST_DELAY)
    # An address that cannot be is not tried again; a connection that fails or breaks is.
    return None if isinstance(outcome, httpx.UnsupportedProtocol | httpx.InvalidURL) else wait


def _seconds(header: str | None) -> float | None:
    try:
        return max(float(header), 0.0) if header else None
    except ValueError:
        return None  # a date: the delays of our own are as good


def _answer(call: Call[Any], outcome: _Outcome) -> Any:
    import httpx

    if not isinstance(outcome, httpx.Response):
        raise _unreachable(call, outcome) from outcome
    if call.returns is Raw and not outcome.is_error:
        return outcome
    if outcome.status_code == 404 and call.absent_is_none:
        return None
    if not outcome.is_success:
        raise _error(call, outcome)
    if call.returns is None or (call.returns is Any and not outcome.content):
        return None
    try:
        return _decoder(call.returns).decode(outcome.content)
    except msgspec.MsgspecError as error:
        raise UnavailableError(
            f"{_where(outcome.request)} answered with something else than this version of riverrun understands: "
            f"{error}. Is RIVERRUN_API_URL the address of a riverrun server's API?"
        ) from error


@lru_cache(maxsize=256)
def _decoder(kind: Any) -> "msgspec.json.Decoder[Any]":
    return msgspec.json.Decoder(kind, strict=False)


def _error(call: Call[Any], response: "httpx.Response") -> RiverrunError:
    """The error that an answer means, with the server's words and what was asked."""
    status = response.status_code
    text = f"{call.noun} " if call.noun and status == 404 else ""
    message = f"{text}{_detail(response)} ({status} from {_where(response.request)})"
    if status == 401:
        message += " Set RIVERRUN_API_KEY or RIVERRUN_API_AUTH_STRING to what the server asks for."
    kind = _ERRORS.get(status) or (ServerFailure if status >= 500 else RequestRefused)
    return _status_error(kind, message, response.request, response)


def _status_error(
    kind: type[RiverrunError], message: str, request: "httpx.Request", response: "httpx.Response"
) -> RiverrunError:
    """An error that `except httpx.HTTPStatusError` catches, too: that is what Prefect's client raises for some methods."""
    hashable: Any = kind
    error: Any = _caught_as_httpx(hashable)(message, request=request, response=response)
    if not issubclass(kind, HTTPStatusError):  # an error about an object
        error.http_exc, error.help_message = error, message
    return error  # type: ignore[no-any-return]


@lru_cache(maxsize=32)
def _caught_as_httpx(kind: Any) -> Any:
    import httpx

    ours = () if issubclass(kind, HTTPStatusError) else (HTTPStatusError,)
    names = {
        "__init__": HTTPStatusError.__init__,
        "__reduce__": lambda self: (_status_error, (kind, str(self), self.request, self.response)),
        "__module__": kind.__module__,
        "__doc__": kind.__doc__,
    }
    return type(kind.__name__, (kind, *ours, httpx.HTTPStatusError), names)


def _detail(response: "httpx.Response") -> str:
    """What the server says is wrong, in words: both forms of error bodies, else the beginning of the text."""
    try:
        body = msgspec.json.decode(response.content)
    except msgspec.MsgspecError:
        return response.text.strip()[:500] or response.reason_phrase
    if not isinstance(body, dict):
        return str(body)[:500]
    detail = body.get("exception_detail") or body.get("detail") or body.get("exception_message")
    if isinstance(detail, list):
        return "; ".join(_problem(each) for each in detail)
    return detail if isinstance(detail, str) else response.reason_phrase


def _problem(problem: Any) -> str:
    if not isinstance(problem, dict):
        return str(problem)
    path = ".".join(str(part) for part in problem.get("loc", ()))
    return f"{path}: {problem.get('msg')}" if path else str(problem.get("msg"))


def _where(request: "httpx.Request") -> str:
    return f"{request.method} {request.url}"


def _unreachable(call: Call[Any], error: "httpx.TransportError | httpx.InvalidURL") -> RiverrunError:
    import httpx

    request = getattr(error, "_request", None)
    where = _where(request) if request is not None else f"{call.method} {call.path}"
    if isinstance(error, httpx.UnsupportedProtocol | httpx.InvalidURL):
        return ConfigurationError(
            f"There is no server at such an address: {str(error).rstrip('.')} ({where}). Set RIVERRUN_API_URL to one like "
            "http://127.0.0.1:4200/api."
        )
    said = str(error) or type(error).__name__
    if isinstance(error, httpx.TimeoutException) and not isinstance(error, httpx.ConnectTimeout):
        return UnavailableError(
            f"The server did not answer {where} in time ({said}). RIVERRUN_API_REQUEST_TIMEOUT says how long to wait."
        )
    if "CERTIFICATE_VERIFY_FAILED" in said:
        return UnavailableError(
            f"The certificate of the server is not trusted: {said} ({where}). RIVERRUN_API_SSL_CERT_FILE names certificates "
            "that vouch for it."
        )
    return UnavailableError(
        f"The server cannot be reached: {said} ({where}). Start it with `riverrun server start`, or set RIVERRUN_API_URL "
        "to the address of one that runs."
    )


# -- requests -------------------------------------------------------------------------------------------------------------


def _parts(call: Call[Any], base_url: str, own: bool) -> dict[str, Any]:
    """The arguments of httpx for a call; a client of the caller's own knows time-out and authorization itself."""
    current = settings()
    headers = {} if own else connections.standing_headers()
    headers.update(call.headers or {})
    body = call.body
    if body is not NO_BODY:
        headers.setdefault("Content-Type", call.content_type)
        if not isinstance(body, bytes | memoryview):
            body = encode(body)
    parts: dict[str, Any] = {
        "method": call.method,
        "url": base_url + call.path,
        "params": {name: _text(value) for name, value in (call.query or {}).items() if value is not None} or None,
        "headers": headers,
        "content": None if body is NO_BODY else body,
    }
    if call.timeout or not own:
        parts["timeout"] = call.timeout or current.api_request_timeout or None
    return parts


def encode(body: Any) -> bytes:
    """The body as JSON, with the fields that say something; raises InputError on what has no JSON form.

    A field that has its default is left out (and so is UNSET): null where a server has another default would mean something.
    """
    try:
        return msgspec.json.encode(_told(body), enc_hook=_plain)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise InputError(f"This cannot be sent as JSON: {error}") from error


def _told(value: Any) -> Any:
    """Structs as dictionaries of their fields that differ from the defaults; `type` tells shapes apart and stays."""
    if isinstance(value, msgspec.Struct):
        told = {}
        for name, told_as, default, factory in _defaults(type(value)):
            given = getattr(value, name)
            if given is msgspec.UNSET or (
                (given is default or _is_made_by(factory, given)) and not _is_tag(name, given)
            ):
                continue
            told[told_as] = _told(given)
        return told
    if isinstance(value, list | tuple):
        return [_told(each) for each in value]
    return value


@lru_cache(maxsize=256)
def _defaults(kind: type[msgspec.Struct]) -> list[tuple[str, str, Any, Any]]:
    return [
        (field.name, field.encode_name, field.default, field.default_factory) for field in msgspec.structs.fields(kind)
    ]


def _is_tag(name: str, given: Any) -> bool:
    return name == "type" and given is not None


def _is_made_by(factory: Any, given: Any) -> bool:
    return factory is not msgspec.NODEFAULT and bool(factory() == given)


def _plain(value: Any) -> Any:
    dump = getattr(value, "model_dump", None)
    if dump is None or isinstance(value, type):
        raise TypeError(f"{type(value).__name__} has no JSON form")
    return dump(mode="json")


def _text(value: Any) -> Any:
    if isinstance(value, list | tuple | set | frozenset):
        return [_text(item) for item in value]
    return value if isinstance(value, str) else msgspec.json.encode(value).decode().strip('"')


def _request(call: Call[Any], base_url: str, client: "httpx.Client | None") -> _Outcome:
    import httpx

    try:
        sender = client or connections.shared(base_url)
        return sender.request(**_parts(call, base_url, client is not None))
    except (httpx.TransportError, httpx.InvalidURL) as error:
        return error


async def _arequest(call: Call[Any], base_url: str, client: "httpx.AsyncClient | None") -> _Outcome:
    import httpx

    sender = client or await connections.ashared(base_url)
    try:
        return await sender.request(**_parts(call, base_url, client is not None))
    except (httpx.TransportError, httpx.InvalidURL) as error:
        return error
