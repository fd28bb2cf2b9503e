"""Tracebacks as the user wrote them: the engine's own frames are taken out, so that ten retries or five nested runs read like
plain calls. Set RIVERRUN_DEBUG_MODE to keep them."""

from pathlib import Path
from types import TracebackType
from typing import TypeVar

from riverrun.base.config import settings

E = TypeVar("E", bound=BaseException)

_PACKAGE = str(Path(__file__).resolve().parent.parent) + "/"


def user_traceback(tb: TracebackType | None) -> TracebackType | None:
    """The traceback without the frames of this package; as it was if nothing else would be left."""
    frames = []
    step = tb
    while step is not None:
        if not step.tb_frame.f_code.co_filename.startswith(_PACKAGE):
            frames.append(step)
        step = step.tb_next
    if not frames:
        return tb
    result: TracebackType | None = None
    for step in reversed(frames):
        # a signal may strike at an instruction that belongs to no line
        line = step.tb_lineno or step.tb_frame.f_code.co_firstlineno
        result = TracebackType(result, step.tb_frame, step.tb_lasti, line)
    return result


def strip(error: E) -> E:
    """The same exception, its traceback reduced to user code."""
    if settings().debug_mode:
        return error
    return error.with_traceback(user_traceback(error.__traceback__))
