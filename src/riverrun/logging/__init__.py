"""Loggers for runs: their lines go to the console and, with the run they belong to, into the journal.

Names are resolved on first use, so that importing this package costs nothing.
"""

from typing import TYPE_CHECKING, Any

_HOMES = {
    "LogEavesdropper": "loggers",
    "disable_logger": "loggers",
    "disable_run_logger": "loggers",
    "engine_logger": "loggers",
    "ensure_logging_setup": "configuration",
    "flow_run_logger": "loggers",
    "get_logger": "loggers",
    "get_run_logger": "loggers",
    "is_enabled": "loggers",
    "patch_print": "prints",
    "setup_logging": "configuration",
    "task_run_logger": "loggers",
}

if TYPE_CHECKING:
    from riverrun.logging.configuration import ensure_logging_setup, setup_logging
    from riverrun.logging.loggers import (
        LogEavesdropper,
        disable_logger,
        disable_run_logger,
        engine_logger,
        flow_run_logger,
        get_logger,
        get_run_logger,
        is_enabled,
        task_run_logger,
    )
    from riverrun.logging.prints import patch_print

__all__ = [
    "LogEavesdropper",
    "disable_logger",
    "disable_run_logger",
    "engine_logger",
    "ensure_logging_setup",
    "flow_run_logger",
    "get_logger",
    "get_run_logger",
    "is_enabled",
    "patch_print",
    "setup_logging",
    "task_run_logger",
]


def __getattr__(name: str) -> Any:
    from importlib import import_module

    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value
