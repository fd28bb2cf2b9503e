"""Names of what people make by name."""

from riverrun.server.http.errors import InvalidRequest
from riverrun.server.http.pages import short


def check_name(name: str, *path: str | int) -> None:
    """Raises InvalidRequest, at the path in the body, for a name that is empty or too long."""
    where = path or ("name",)
    if not name.strip("'\" \t\r\n"):
        raise InvalidRequest(("body", *where), "A name cannot be empty.")
    short(name, *where)
