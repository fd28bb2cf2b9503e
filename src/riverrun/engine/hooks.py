"""Hooks: the user's functions that are told of a state. A failing hook is logged and does no harm."""

from collections.abc import Callable, Sequence
from typing import Any

from riverrun.engine.drive import Steps
from riverrun.engine.effects import Hook


def hook_name(fn: Callable[..., Any]) -> str:
    """A hook's name for messages; callables without one are named by their type."""
    return getattr(fn, "__name__", None) or type(getattr(fn, "func", fn)).__name__


def run_hooks(hooks: Sequence[Callable[..., Any]], args: tuple[Any, ...], logger: Any) -> Steps:
    """Run the hooks in order with `args` = (task or flow, run, state).

    Only what strikes from outside (Ctrl-C, SIGTERM, cancellation) ends the sequence, and is raised.
    """
    for fn in hooks:
        name = hook_name(fn)
        logger.info("Running hook %r in response to entering state %r", name, args[2].name)
        hook = Hook(fn, *args)
        yield hook
        if hook.error is None:
            logger.info("Hook %r finished running successfully", name)
        elif isinstance(hook.error, Exception):
            logger.error("An error was encountered while running hook %r", name, exc_info=hook.error)
        else:
            raise hook.error
