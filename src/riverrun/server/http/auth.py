"""Who asks. Without sign-in everybody who reaches the server is the local principal; with an API key or an auth string configured,
a request has to bring it. Users and roles come here later.
"""

import base64
import re
import secrets
from hashlib import sha256
from typing import Any
from zlib import crc32

from riverrun.base.errors import InputError
from riverrun.server.db.units import Caller
from riverrun.server.http.errors import HTTPError

_CLIENT = re.compile(r"(?:prefect|riverrun)/(\d+(?:\.\d+)*)")


def caller_of(headers: dict[str, str], state: dict[str, Any], request_id: Any, *, public: bool = False) -> Caller:
    """The caller of a request; raises HTTPError 401."""
    credentials: frozenset[str] = state.get("credentials", frozenset())
    if credentials and not public and not accepts(credentials, _given(headers.get("authorization", ""))):
        raise HTTPError(401, "Unauthorized", {"WWW-Authenticate": "Bearer"})
    return Caller(client_version=client_version(headers.get("user-agent", "")), request_id=request_id)


def accepts(credentials: frozenset[str], given: str | None) -> bool:
    """Whether what was given (an API key or an auth string) is one of the credentials; with none, everybody is let in."""
    return not credentials or digest(given or "") in credentials


def digest(credential: str) -> str:
    """The form in which a key or an auth string is kept. It is long and random, so nothing slow is needed to guard it."""
    return sha256(credential.encode("utf-8", "surrogatepass")).hexdigest()


def credentials_of(auth_string: str | None, keys: list[str]) -> frozenset[str]:
    """The digests of what the settings accept; raises InputError for a key that cannot be one."""
    found = set()
    if auth_string is not None:
        user, colon, password = auth_string.partition(":")
        if not (user and colon and password):
            raise InputError("RIVERRUN_SERVER_API_AUTH_STRING has to be `user:password`.")
        found.add(digest(auth_string))
    for key in keys:
        if key.startswith("sha256:"):
            if not re.fullmatch(r"sha256:[0-9a-f]{64}", key):
                raise InputError("RIVERRUN_SERVER_API_KEYS: `sha256:` is followed by the 64 digits of a key's digest.")
            found.add(key.removeprefix("sha256:"))
        elif is_key(key):
            found.add(digest(key))
        else:
            raise InputError(
                "RIVERRUN_SERVER_API_KEYS holds something that is no key: `riverrun server key` makes one. (Mistyped? "
                "The last six characters of a key are its check sum.)"
            )
    return frozenset(found)


_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_KEY = re.compile(r"rr_[a-z]{2,4}_[0-9A-Za-z]{22}_[0-9A-Za-z]{6}")


def make_key(kind: str = "svc") -> str:
    """A new API key. `kind` says whose: pat (a person's), svc (a service's), wkr (a worker's)."""
    body = f"rr_{kind}_{''.join(secrets.choice(_DIGITS) for _ in range(22))}"
    return f"{body}_{_check_sum(body)}"


def is_key(text: str) -> bool:
    """Whether a text has the form of an API key and its check sum is right; whether it is accepted is another matter."""
    return _KEY.fullmatch(text) is not None and text[-6:] == _check_sum(text[:-7])


def _check_sum(body: str) -> str:
    rest, digits = crc32(body.encode()), ""
    for _ in range(6):
        rest, digit = divmod(rest, 62)
        digits = _DIGITS[digit] + digits
    return digits


def _given(header: str) -> str | None:
    scheme, _, value = header.partition(" ")
    if scheme.lower() == "bearer":
        return value.strip()
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(value.strip(), validate=True).decode()
        except ValueError:
            return None
    return None


def client_version(user_agent: str) -> tuple[int, ...] | None:
    """The version of the client's library, from its user agent."""
    found = _CLIENT.match(user_agent)
    return None if found is None else tuple(int(part) for part in found[1].split("."))
