"""The server's own log: one line per event on standard error, as text for people or as JSON for machines.

Records may carry `extra={"facts": {...}}`: request ids and the like, shown as `name=value` or as members of the document.
"""

import logging
import sys
import traceback
from typing import Any

import msgspec

from riverrun.base.clock import now

_QUIET = ("uvicorn.error", "uvicorn.access", "websockets", "websockets.server", "alembic", "asyncio")


def set_up(level: str, *, as_json: bool = False) -> None:
    """Send the server's loggers to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json() if as_json else _Text())
    root = logging.getLogger("riverrun.server")
    root.handlers = [handler]
    root.propagate = False
    root.setLevel(level)
    for name in _QUIET:
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.propagate = False
        # what these libraries tell of every connection says nothing to whoever runs a server
        logger.setLevel(max(logging.WARNING, root.level) if name != "uvicorn.error" else logging.CRITICAL)


def _facts(record: logging.LogRecord) -> dict[str, Any]:
    return getattr(record, "facts", None) or {}


def _one_line(text: str) -> str:
    """Control characters neutralised: what clients send must not write lines of its own."""
    return "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in text)


class _Text(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        facts = "".join(f" {name}={value}" for name, value in _facts(record).items())
        instant = f"{now():%Y-%m-%d %H:%M:%S.%f}"[:-3]
        line = f"{instant} {record.levelname:<7} {record.name}: {_one_line(record.getMessage() + facts)}"
        if record.exc_info and record.exc_info[0] is not None:
            line += "\n" + "".join(traceback.format_exception(*record.exc_info)).rstrip()
        return line


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        document = {
            "timestamp": now(),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **_facts(record),
        }
        if record.exc_info and record.exc_info[0] is not None:
            document["traceback"] = "".join(traceback.format_exception(*record.exc_info))
        return msgspec.json.encode(document, enc_hook=str).decode()
