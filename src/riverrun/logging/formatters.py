"""How a log line looks: `09:15:57.137 | INFO    | Flow run 'name' - message`, or a JSON object.

`LineFormatter` is the fast one of the console; `RunFormatter` and `JsonFormatter` serve users' own configurations.
"""

import logging
import re
import time
from collections.abc import Mapping
from typing import Any, Literal

FLOW_RUNS = "riverrun.flow_runs"
TASK_RUNS = "riverrun.task_runs"
#: stands for a name or an id that a logger was not told
UNKNOWN = "<unknown>"

_RESET = "\x1b[0m"
_LEVEL_COLORS = {
    logging.DEBUG: "\x1b[2m",
    logging.INFO: "\x1b[36m",
    logging.WARNING: "\x1b[33m",
    logging.ERROR: "\x1b[31m",
    logging.CRITICAL: "\x1b[91m",
}
_STATE_COLORS = {
    "Completed": "\x1b[32m",
    "Cached": "\x1b[94m",
    "Cancelled": "\x1b[33m",
    "Cancelling": "\x1b[33m",
    "Failed": "\x1b[31m",
    "TimedOut": "\x1b[31m",
    "Crashed": "\x1b[91m",
    "AwaitingRetry": "\x1b[33m",
    "Retrying": "\x1b[33m",
    "RolledBack": "\x1b[33m",
}
_NAME_COLOR = "\x1b[35m"
_LINK_COLOR = "\x1b[94m"
_striking = re.compile(rf"\b(?:(?P<state>{'|'.join(_STATE_COLORS)})\b(?=\()|(?P<link>https?://[^\s'\"]+))")


class LineFormatter(logging.Formatter):
    """The console's format, written out by hand because a line must cost little. `colored` adds ANSI colours."""

    def __init__(self) -> None:
        super().__init__()
        self.colored = False
        self._second: tuple[int, str] = (-1, "")

    def format(self, record: logging.LogRecord) -> str:
        created = record.created
        second = int(created)
        known, clock = self._second
        if known != second:
            clock = time.strftime("%H:%M:%S", time.localtime(second))
            self._second = (second, clock)
        message = record.getMessage()
        who = _who(record)
        level = f"{record.levelname:<7s}"
        if self.colored:
            level = f"{_LEVEL_COLORS.get(record.levelno, '')}{level}{_RESET}"
            who = re.sub(r"'.*'", rf"{_NAME_COLOR}\g<0>{_RESET}", who)
            message = _striking.sub(_paint, message)
        line = f"{clock}.{int((created - second) * 1000):03d} | {level} | {who} - {message}"
        trail = trailing_text(record, self)
        return f"{line}\n{trail}" if trail else line


def _who(record: logging.LogRecord) -> str:
    if record.name == TASK_RUNS:
        return f"Task run {getattr(record, 'task_run_name', UNKNOWN)!r}"
    if record.name == FLOW_RUNS:
        return f"Flow run {getattr(record, 'flow_run_name', UNKNOWN)!r}"
    return record.name


def _paint(match: re.Match[str]) -> str:
    word = match[0]
    return f"{_STATE_COLORS.get(word, _LINK_COLOR)}{word}{_RESET}"


def trailing_text(record: logging.LogRecord, formatter: logging.Formatter) -> str:
    """The text of a record's exception and stack, without a newline at either end; empty when there is none."""
    if not record.exc_info and not record.exc_text and not record.stack_info:
        return ""
    if record.exc_info and not record.exc_text:
        record.exc_text = formatter.formatException(record.exc_info)
    parts = [record.exc_text or "", formatter.formatStack(record.stack_info) if record.stack_info else ""]
    return "\n".join(part.strip("\n") for part in parts if part)


_RUN_ATTRIBUTES = ("flow_run_name", "flow_run_id", "flow_name", "task_run_name", "task_run_id", "task_name")


class RunFormatter(logging.Formatter):
    """A standard formatter with other formats for the lines of flow runs and task runs."""

    def __init__(
        self,
        format: str | None = None,
        datefmt: str | None = None,
        style: Literal["%", "{", "$"] = "%",
        validate: bool = True,
        *,
        defaults: Mapping[str, Any] | None = None,
        task_run_fmt: str | None = None,
        flow_run_fmt: str | None = None,
    ) -> None:
        known = {
            **dict.fromkeys(_RUN_ATTRIBUTES, UNKNOWN),
            **(defaults or {}),
        }
        super().__init__(format, datefmt, style, validate, defaults=known)
        self._by_logger = {
            name: logging.Formatter(text, datefmt, style, validate, defaults=known)
            for name, text in ((FLOW_RUNS, flow_run_fmt), (TASK_RUNS, task_run_fmt))
            if text is not None
        }

    def format(self, record: logging.LogRecord) -> str:
        own = self._by_logger.get(record.name)
        return super().format(record) if own is None else own.format(record)


class JsonFormatter(logging.Formatter):
    """One JSON object a line (`default`) or an indented one (`pretty`), with every attribute of the record."""

    def __init__(
        self, fmt: Literal["pretty", "default"] | None = "default", datefmt: str | None = None, style: str = "%"
    ) -> None:
        super().__init__()
        if fmt not in {"pretty", "default", None}:
            raise ValueError(f"The format of a JsonFormatter is 'default' or 'pretty', not {fmt!r}.")
        self.pretty = fmt == "pretty"

    def format(self, record: logging.LogRecord) -> str:
        import msgspec

        fields = {**record.__dict__, "message": record.getMessage()}
        if record.exc_info and record.exc_info[1] is not None:
            fields["exc_info"] = {
                "type": type(record.exc_info[1]).__name__,
                "message": str(record.exc_info[1]),
                "traceback": self.formatException(record.exc_info),
            }
        document = msgspec.json.encode(fields, enc_hook=str)
        if self.pretty:
            document = msgspec.json.format(document, indent=2)
        return document.decode("utf-8", "backslashreplace")


#: the peer's name
PrefectFormatter = RunFormatter
