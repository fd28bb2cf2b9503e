"""Names of what people make by name: not empty, of a length that an index holds."""

from riverrun.server.http.errors import InvalidRequest

#: PostgreSQL refuses index entries above 2,704 bytes, and a character has up to four
LONGEST = 600


def check_name(name: str, *path: str | int) -> str:
    """The name; raises InvalidRequest at the path in the body."""
    where = ("body", *(path or ("name",)))
    if not name.strip("'\" \t\r\n"):
        raise InvalidRequest(where, "A name cannot be empty.")
    if len(name) > LONGEST:
        raise InvalidRequest(where, f"The name has {len(name):,} characters; at most {LONGEST} are taken.")
    return name
