"""Bodies of requests: size, depth and characters are checked before anything is built of them, then msgspec decodes.

Naive times mean UTC wherever they are stored (`base.clock.to_micros`).
"""

import re
from collections.abc import Callable
from typing import Any, get_args

import msgspec

from riverrun.server.http.errors import HTTPError, InvalidRequest

MAX_BYTES = 10 * 1024 * 1024
MAX_DEPTH = 64
_STRINGS = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_LONG_NUMBER = re.compile(rb"(?<![\w.\"])-?\d{19,}(?![\w.])")
_AT = re.compile(r"(?s)(?P<message>.*?)(?: - at `(?P<path>[^`]*)`)?")
_PATH_PART = re.compile(r"\.([^.\[\]]+)|\[(\d+|\.\.\.)\]")
_INT64 = 2**63


#: an escape in a JSON string: a pair of surrogates, one without its other half, NUL, anything else
_ESCAPE = re.compile(
    rb"(\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})|(\\u[dD][89a-fA-F][0-9a-fA-F]{2})|(\\u0000)|(\\.)",
    re.DOTALL,
)


def decoder(kind: Any, *, mend: bool = False) -> Callable[[bytes], Any]:
    """A function that makes a value of `kind` of a body; it raises InvalidRequest.

    What no database holds in a text (NUL, half a pair of surrogates) is refused; with `mend` a sign takes its place, for
    what running code has made: its messages and documents must not get lost by a character.
    """
    decode = msgspec.json.Decoder(kind, strict=False).decode
    # a request without a body is one with no field set, where the body is an object
    empty = b"{}" if isinstance(kind, type) and issubclass(kind, msgspec.Struct) else b"null"

    lenient = any(getattr(part, "__name__", "").endswith("Body") for part in (kind, *get_args(kind)))

    def decode_body(body: bytes) -> Any:
        check(body)
        if b"\\u0000" in body or (mend and (b"\\ud" in body or b"\\uD" in body)):
            body = _ESCAPE.sub(_mended if mend else _without_nul, body)
        try:
            return decode(body or empty)
        except msgspec.ValidationError as error:
            if lenient and (fewer := _without_nulls(body)) is not None:
                return decode_body(fewer)
            raise invalid(error, body) from None
        except msgspec.DecodeError as error:
            raise InvalidRequest(("body",), f"The body is not JSON: {error}", "json_invalid") from None
        except (RecursionError, OverflowError, ValueError) as error:
            raise InvalidRequest(("body",), str(error)) from None

    return decode_body


def _without_nulls(body: bytes) -> bytes | None:
    """The body without those of its fields that are null: the peer's clients send them for "as usual", even for an offset."""
    try:
        fields = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError):  # the error that led here says what is wrong
        return None
    if not isinstance(fields, dict) or None not in fields.values():
        return None
    return msgspec.json.encode({name: value for name, value in fields.items() if value is not None})


def _mended(escape: re.Match[bytes]) -> bytes:
    _pair, half, nul, _other = escape.groups()
    return b"\\ufffd" if half else b"\\u2400" if nul else escape[0]


def _without_nul(escape: re.Match[bytes]) -> bytes:
    if escape[3]:
        raise InvalidRequest(("body",), "NUL characters are not allowed.")
    return escape[0]


def check(body: bytes) -> None:
    """Refuse what no handler may get: deep nesting, numbers that no column holds."""
    if len(body) > MAX_BYTES:
        raise HTTPError(413, f"The body has {len(body):,} bytes; at most {MAX_BYTES:,} are taken.")
    if is_too_deep(body):
        raise InvalidRequest(("body",), f"The body is nested deeper than {MAX_DEPTH} levels.")
    for number in _LONG_NUMBER.findall(_STRINGS.sub(b'""', body) if _LONG_NUMBER.search(body) else b""):
        if len(number) > 20 or not -_INT64 <= int(number) < _INT64:
            raise InvalidRequest(("body",), f"The number {number[:24].decode()}... does not fit into 64 bits.")


def is_too_deep(body: bytes) -> bool:
    """Whether JSON is nested deeper than `MAX_DEPTH`."""
    return body.count(b"[") + body.count(b"{") > MAX_DEPTH and _is_deep(body)


def _is_deep(body: bytes) -> bool:
    brackets = _STRINGS.sub(b"", body).translate(None, _NOT_BRACKETS)
    for _ in range(MAX_DEPTH):
        if not brackets:
            return False
        shorter = brackets.replace(b"[]", b"").replace(b"{}", b"")
        if shorter == brackets:
            return False  # not JSON at all; the decoder says so
        brackets = shorter
    return bool(brackets)


#: what clients of the peer tell apart by its kind, by the first words of a message
_KINDS = {"Object contains unknown field": "extra_forbidden", "Object missing required field": "missing"}


def invalid(error: msgspec.ValidationError, body: bytes = b"") -> InvalidRequest:
    """The refusal of a value, with the path of the field."""
    message, loc = located(str(error))
    kind = next((kind for words, kind in _KINDS.items() if message.startswith(words)), "value_error")
    return InvalidRequest(("body", *loc), message, kind, excerpt(body))


def located(text: str) -> tuple[str, tuple[str | int, ...]]:
    """Message and path of a msgspec error's text, whose path stands at its end as "- at `$.a[0]`"."""
    found = _AT.fullmatch(text)
    assert found is not None
    path = found["path"] or ""
    loc = tuple(name or (int(index) if index.isdigit() else index) for name, index in _PATH_PART.findall(path))
    return found["message"], loc


def excerpt(body: bytes) -> Any:
    """The body as an error shows it: whole when it is small."""
    if not body or len(body) > 2000:
        return None
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError):
        return None
