"""`log_prints`: `print` in user code becomes a line of the run's log.

`builtins.print` is replaced only while at least one run that asked for it is alive; whether a call is logged is decided by the
innermost run of the caller's context, so other code prints as ever.
"""

import builtins
import os
import sys
import threading
from builtins import print as _print
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from typing import Any

from riverrun.context import FlowRunContext, TaskRunContext

_lock = threading.Lock()
_users = 0
#: what `print` was before it was replaced: the builtin, or what somebody else had put there
_before: Any = _print


def print_as_log(*args: Any, **kwargs: Any) -> None:
    """Print to the log of the innermost run if it has `log_prints`, else really print.

    A `file` that is neither None nor one of `sys.stdout` and `sys.stderr` is printed to.
    """
    context = TaskRunContext.get() or FlowRunContext.get()
    file = kwargs.get("file")
    elsewhere = file is not None and file is not sys.stdout and file is not sys.stderr
    if context is None or not context.log_prints or elsewhere:
        _before(*args, **kwargs)
        return
    from riverrun.logging.loggers import get_run_logger

    buffer = StringIO()
    _print(*args, **{**kwargs, "file": buffer, "flush": False})  # noqa: T201 - formats the text as `print` would
    get_run_logger().info(buffer.getvalue().removesuffix("\n"), stacklevel=2)


@contextmanager
def patch_print() -> Iterator[None]:
    """Send `print` through `print_as_log` inside the block; blocks in several threads may overlap."""
    global _users, _before
    with _lock:
        if _users == 0 and builtins.print is not print_as_log:
            _before = builtins.print
            builtins.print = print_as_log
        _users += 1
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            # Somebody who replaced `print` meanwhile keeps it; ours underneath only prints when no run asks for more.
            if _users == 0 and builtins.print is print_as_log:
                builtins.print = _before


def _renew_lock() -> None:
    global _lock
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_renew_lock)
