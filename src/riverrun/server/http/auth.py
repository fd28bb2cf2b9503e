"""Who asks. Without sign-in everybody who reaches the server is the local principal; with an API key or an auth string configured,
a request has to bring it. Users and roles come here later.
"""

import base64
import hmac
import re
from typing import Any

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
    """Whether what was given is one of the credentials; takes the same time for every wrong one."""
    if not credentials:
        return True
    matches = [hmac.compare_digest((given or "").encode(), one.encode()) for one in sorted(credentials)]
    return any(matches)


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
