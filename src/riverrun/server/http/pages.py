"""What many bodies have in common: the size of a page, texts that an index has to hold."""

from riverrun.server.http.errors import InvalidRequest

#: rows of a page, unless the request asks for fewer; more are refused
PAGE = 200
#: characters of a name: PostgreSQL refuses index entries of more than 2,704 bytes
NAME = 500


def page(limit: int | None, where: str = "body") -> int:
    """The number of rows to give; raises InvalidRequest."""
    if limit is None:
        return PAGE
    if not 0 <= limit <= PAGE:
        raise InvalidRequest((where, "limit"), f"The limit {limit:,} is not between 0 and {PAGE}.", "less_than_equal")
    return limit


def short(text: str | None, *loc: str | int) -> None:
    """Refuse a text that is too long for a name."""
    if text is not None and len(text) > NAME:
        raise InvalidRequest(("body", *loc), f"The text has {len(text):,} characters; at most {NAME} are taken here.")
