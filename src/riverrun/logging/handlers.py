"""Where log lines go: the console, and the journal with the run they belong to.

Handlers never raise into user code, and a line that is logged while one of them works on another does not come back to it.
"""

import logging
import os
import sys
import threading
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, TextIO

from riverrun.base.config import settings
from riverrun.context import FlowRunContext, TaskRunContext
from riverrun.logging.formatters import UNKNOWN, LineFormatter, trailing_text
from riverrun.wire.journal import LogRecord

#: characters of one message in the journal; longer ones are cut in the middle of nowhere but say so
MAX_MESSAGE = 1_000_000

_plain = logging.Formatter()


class _Busy(threading.local):
    now = False


class JournalHandler(logging.Handler):
    """Appends the lines of runs to the journal; lines outside of runs and those with `send_to_api=False` are passed over.

    The run is the one named by `flow_run_id` and `task_run_id` of the record (as the run loggers set them), else the
    innermost of the current context.
    """

    def __init__(self, level: int | str = logging.NOTSET) -> None:
        super().__init__(level)
        self._append: Callable[[LogRecord], object] | None = None
        self._busy = _Busy()

    def acquire(self) -> None:
        """Nothing: see `createLock`."""

    def release(self) -> None:
        """Nothing: see `createLock`."""

    def createLock(self) -> None:  # noqa: N802 - name of the standard library
        """No lock: the journal has its own. Python 3.13 enters it all the same."""
        self.lock = nullcontext()  # type: ignore[assignment]

    def emit(self, record: logging.LogRecord) -> None:
        if self._busy.now or not getattr(record, "send_to_api", True) or not settings().logging_to_api_enabled:
            return
        self._busy.now = True
        try:
            flow_run, task_run = _runs_of(record)
            if flow_run is None and task_run is None:
                return
            if self._append is None:
                from riverrun.client import journal

                self._append = journal.append
            created = int(record.created * 1_000_000)
            self._append(LogRecord(flow_run, task_run, created, record.levelno, record.name, _message(record)))
        except Exception:  # noqa: BLE001 - the edge towards user code: a log line must not fail a run
            self.handleError(record)
        finally:
            self._busy.now = False


def _runs_of(record: logging.LogRecord) -> tuple[bytes | None, bytes | None]:
    flow_run = _id_bytes(getattr(record, "flow_run_id", None))
    task_run = _id_bytes(getattr(record, "task_run_id", None))
    if flow_run is not None:
        return flow_run, task_run
    task_context = TaskRunContext.get()
    if task_context is not None:
        run = task_context.task_run
        if task_run is None:
            task_run = run.id.bytes
        if task_run == run.id.bytes:  # its flow run, if it has one, is the line's; a context around it says nothing
            return (None if run.flow_run_id is None else run.flow_run_id.bytes), task_run
    flow_context = FlowRunContext.get()
    if flow_context is not None and flow_context.flow_run is not None:
        flow_run = flow_context.flow_run.id.bytes
    return flow_run, task_run


def _id_bytes(value: Any) -> bytes | None:
    if value is None or value == UNKNOWN:
        return None
    if isinstance(value, str):
        raw = bytes.fromhex(value.replace("-", ""))
    elif isinstance(value, bytes):
        raw = value
    else:
        raw = value.bytes
    if len(raw) != 16:
        raise ValueError(f"{value!r} is not the id of a run")
    return raw


def _message(record: logging.LogRecord) -> str:
    message = record.getMessage()
    trail = trailing_text(record, _plain)
    if trail:
        message = f"{message}\n{trail}"
    if len(message) > MAX_MESSAGE:
        cut = len(message) - MAX_MESSAGE
        message = f"{message[:MAX_MESSAGE]}... [{cut} more characters were cut off by riverrun]"
    return message


class ConsoleHandler(logging.Handler):
    """Writes lines to `stream` (default: whatever `sys.stderr` is at the moment), in colours on a terminal.

    Colours follow the setting `logging_colors`, else NO_COLOR and TERM, else whether the stream is a terminal. Nothing is
    written while a handler of the root logger writes to the same terminal, so a user's `basicConfig` does not double
    lines.
    """

    def __init__(self, stream: TextIO | None = None, level: int | str = logging.NOTSET, **_ignored: Any) -> None:
        super().__init__(level)
        self.stream = stream
        self.formatter: logging.Formatter | None = LineFormatter()
        self._colors: tuple[TextIO | None, bool | None, bool] = (None, None, False)

    def handle(self, record: logging.LogRecord) -> bool:
        """As inherited, but no signal comes between taking the lock and what gives it back (before Python 3.13 one may)."""
        kept: Any = self.filter(record)  # since Python 3.12 it may be another record
        if kept:
            assert self.lock is not None  # made by the constructor
            with self.lock:
                self.emit(kept if isinstance(kept, logging.LogRecord) else record)
        return bool(kept)

    def emit(self, record: logging.LogRecord) -> None:
        stream = self.stream
        if stream is None:
            stream = sys.stderr
            if stream is None or (logging.root.handlers and _root_writes_to_terminal()):
                return
        try:
            current = settings()
            formatter = self.formatter
            if isinstance(formatter, LineFormatter):
                formatter.colored = self._has_colors(stream, current.logging_colors)
            line = formatter.format(record) if formatter is not None else record.getMessage()
            if current.logging_markup:
                line = _apply_markup(line, colored=self._has_colors(stream, current.logging_colors))
            _write(stream, line + "\n")
        except Exception:  # noqa: BLE001 - the edge towards user code: a log line must not fail a run
            if not getattr(stream, "closed", False):  # at the exit of an interpreter there is nobody left to tell
                self.handleError(record)

    def flush(self) -> None:
        stream = self.stream or sys.stderr
        if stream is not None and not getattr(stream, "closed", False):
            stream.flush()

    def _has_colors(self, stream: TextIO, wanted: bool | None) -> bool:
        known, asked, answer = self._colors
        if known is not stream or asked is not wanted:
            answer = wanted if wanted is not None else has_colors(stream)
            self._colors = (stream, wanted, answer)
        return answer


def has_colors(stream: TextIO) -> bool:
    """Whether a stream is a terminal that the user wants colours on (NO_COLOR, TERM=dumb)."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    try:
        return stream.isatty()
    except (AttributeError, ValueError):
        return False


def _root_writes_to_terminal() -> bool:
    standard = (sys.stderr, sys.stdout, sys.__stderr__, sys.__stdout__)
    return any(
        hasattr(handler, "console") or any(getattr(handler, "stream", None) is stream for stream in standard)
        for handler in logging.root.handlers
        if not isinstance(handler, ConsoleHandler) and getattr(handler, "stream", handler) is not None
    )


def _write(stream: TextIO, text: str) -> None:
    try:
        stream.write(text)
    except UnicodeEncodeError:
        encoding = getattr(stream, "encoding", None) or "ascii"
        stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
    stream.flush()


def _apply_markup(line: str, *, colored: bool) -> str:
    from io import StringIO

    from rich.console import Console
    from rich.errors import MarkupError
    from rich.text import Text

    try:
        styled = Text.from_markup(line)
    except MarkupError:
        return line
    buffer = StringIO()
    console = Console(file=buffer, force_terminal=colored, no_color=not colored, soft_wrap=True, width=10_000)
    console.print(styled, end="", soft_wrap=True)
    return buffer.getvalue()


#: the peer's names, for configurations that mention them
APILogHandler = JournalHandler
PrefectConsoleHandler = ConsoleHandler
