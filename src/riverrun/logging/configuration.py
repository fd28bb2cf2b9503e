"""Attaches riverrun's handlers, once, on the first flow run or the first logger asked for.

Only loggers named `riverrun` and below (and those in the setting `logging_extra_loggers`) are touched; the root logger
belongs to the user. A configuration file of the user's (setting `logging_config_path`) replaces all of this.
"""

import logging
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from riverrun.base.config import settings
from riverrun.base.errors import ConfigurationError

if TYPE_CHECKING:
    from riverrun.base.config import Settings

ROOT = "riverrun"

_lock = threading.RLock()
_done = False


def ensure_logging_setup() -> None:
    """Set logging up unless that has been done in this process."""
    if not _done:
        with _lock:
            if not _done:
                setup_logging()


def setup_logging(incremental: bool | None = None) -> None:  # noqa: ARG001 - the peer's signature; repeating is always safe
    """Attach the handlers and set the levels from the settings in force now.

    Calling it again applies changed levels. Raises ConfigurationError when the user's configuration file cannot be
    used.
    """
    global _done
    with _lock:
        current = settings()
        if current.logging_config_path is not None and current.logging_config_path.exists():
            if not _done:
                _apply_file(current.logging_config_path)
        else:
            _attach(current)
        _done = True


def load_logging_config(path: Path) -> dict[str, Any]:
    """The `dictConfig` mapping in a JSON, TOML or YAML file.

    `${RIVERRUN_...}` in its texts stands for the value of that setting. Raises ConfigurationError naming the file.
    """
    try:
        content = path.read_text(encoding="utf-8")
        if path.suffix == ".json":
            import msgspec

            config = msgspec.json.decode(content)
        elif path.suffix == ".toml":
            import tomllib

            config = tomllib.loads(content)
        else:
            config = _yaml(content)
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"The logging configuration {path} cannot be read: {error}. Correct the file or unset"
            " RIVERRUN_LOGGING_CONFIG_PATH."
        ) from error
    if not isinstance(config, dict):
        raise ConfigurationError(
            f"The logging configuration {path} must be a mapping, it is a {type(config).__name__}."
        )
    filled: dict[str, Any] = _fill(config, settings())
    return filled


def _attach(current: "Settings") -> None:
    from riverrun.logging.handlers import ConsoleHandler, JournalHandler

    level = current.logging_level.upper()
    for name in (ROOT, *current.logging_extra_loggers):
        logger = logging.getLogger(name)
        if name == ROOT or logger.level == logging.NOTSET:
            logger.setLevel(level)
        for kind in (ConsoleHandler, JournalHandler):
            if not any(isinstance(handler, kind) for handler in logger.handlers):
                logger.addHandler(kind())


def _apply_file(path: Path) -> None:
    import logging.config

    config = load_logging_config(path)
    config.setdefault("version", 1)
    config.setdefault("disable_existing_loggers", False)
    try:
        logging.config.dictConfig(config)
    except (ValueError, TypeError, AttributeError, ImportError) as error:
        cause = f" ({error.__cause__})" if error.__cause__ else ""
        raise ConfigurationError(f"The logging configuration {path} does not work: {error}{cause}") from error


def _yaml(content: str) -> Any:
    import yaml

    try:
        return yaml.safe_load(content)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error


def _fill(value: Any, current: "Settings") -> Any:
    if isinstance(value, dict):
        return {key: _fill(item, current) for key, item in value.items()}
    if isinstance(value, list):
        return [_fill(item, current) for item in value]
    if isinstance(value, str) and "${" in value:
        import re

        from riverrun.base.config import field_of, is_known

        def replace(match: re.Match[str]) -> str:
            key = match[1]
            return str(getattr(current, field_of(key))) if is_known(key) else match[0]

        return re.sub(r"\$\{(\w+)\}", replace, value)
    return value


def _renew_lock() -> None:
    global _lock
    _lock = threading.RLock()


os.register_at_fork(after_in_child=_renew_lock)
