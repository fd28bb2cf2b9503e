"""One request to the REST interface as a value: what to send, and what the answer is.

`client/calls/` builds them, `client/http.py` sends them. Nothing here does I/O, so one definition serves sync and async
code alike: `send(read_flow_run(id))`, `await asend(read_flow_run(id))`.
"""

from collections.abc import Mapping
from typing import Any, Final, Generic, TypeVar
from urllib.parse import quote
from uuid import UUID

from msgspec import UNSET, Struct

T = TypeVar("T")


class Raw:
    """Stands in `Call.returns` where the caller wants the HTTP response itself."""


#: no body at all; None is JSON's null
NO_BODY: Final = UNSET

JSON: Final = "application/json"
MSGPACK: Final = "application/x-msgpack"


class Call(Struct, Generic[T], frozen=True):
    """A request of which the answer is a `T`.

    `path` stands below the API's URL, quoted (`at` does it). `returns` is the type that the answer's JSON is read as; None
    reads nothing, `Raw` gives the HTTP response. `body` is a Struct, a list or dictionary of them, or bytes of the
    `content_type`. With `absent_is_none` a 404 answers None instead of raising ObjectNotFound; `noun` names in messages
    what was asked for. `timeout` takes the place of the setting (a long poll), `headers` are sent as well.
    """

    method: str
    path: str
    returns: Any = None
    body: Any = NO_BODY
    query: Mapping[str, Any] | None = None
    absent_is_none: bool = False
    noun: str | None = None
    content_type: str = JSON
    timeout: float | None = None
    headers: Mapping[str, str] | None = None


def at(*parts: object) -> str:
    """The path of parts, each quoted: `at("variables", "name", "a/b")` is `/variables/name/a%2Fb`."""
    return "".join("/" + quote(str(part), safe="") for part in parts)


#: how callers may name an object
Id = UUID | str


def get(path: str, returns: Any, **options: Any) -> Call[Any]:
    return Call("GET", path, returns, **options)


def post(path: str, body: Any = NO_BODY, returns: Any = None, **options: Any) -> Call[Any]:
    return Call("POST", path, returns, body, **options)


def patch(path: str, body: Any, **options: Any) -> Call[None]:
    return Call("PATCH", path, None, body, **options)


def delete(path: str, **options: Any) -> Call[None]:
    return Call("DELETE", path, None, **options)
