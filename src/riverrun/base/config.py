"""Every setting of riverrun, in one table, and the values that hold now.

A value comes from the first of: `temporary_settings`, the sources of `base.sources` (environment, files, profile), the
default in the table. Sources are read on the first use, and again after `reload()` or when a RIVERRUN_* variable changes.
This module is on the path of `from riverrun import flow, task`: it must import nothing heavy and read nothing at import.
"""

# ruff: noqa: E501 - a setting is one line of the table

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from riverrun.base.errors import ConfigurationError
from riverrun.base.setting import PEER_PREFIX, PREFIX, Setting

#: names the active profile; not a setting, since it decides where settings come from
PROFILE_VARIABLE = f"{PREFIX}PROFILE"

_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL", "NOTSET")


def _(
    default: Any,
    doc: str,
    *,
    also: tuple[str, ...] = (),
    secret: bool = False,
    minimum: float | None = None,
    choices: tuple[str, ...] = (),
) -> Any:
    return Setting(default, doc, also=also, secret=secret, minimum=minimum, choices=choices)


class Settings:
    """The values of all settings at one moment; frozen. `settings()` gives the current ones.

    Every field may also be reached by its groups, as in `settings().tasks.runner.thread_pool_max_workers`.
    """

    # fmt: off
    home: Path = _("~/.riverrun", "Directory of everything riverrun keeps on this machine.")
    profiles_path: Path = _("{home}/profiles.toml", "File of the profiles.")
    debug_mode: bool = _(False, "Show tracebacks of riverrun's own errors and log more.")
    test_mode: bool = _(False, "Set by riverrun's testing tools: nothing leaves the process.", also=("testing_test_mode", "testing_unit_test_mode", "unit_test_mode"))

    api_url: str | None = _(None, "URL of a server's API (`http://host:4200/api`). Unset: this machine's store is used.")
    api_key: str | None = _(None, "Key sent to the API as a bearer token.", secret=True)
    api_auth_string: str | None = _(None, "`user:password` sent to the API as basic authentication.", secret=True)
    api_database_connection_url: str | None = _(None, "SQLAlchemy URL of the store. Unset: the SQLite file riverrun.db in `RIVERRUN_HOME`.", also=("server_database_connection_url",))
    api_ssl_cert_file: Path | None = _(None, "Certificates (PEM) that vouch for the API instead of the usual authorities.")
    api_tls_insecure_skip_verify: bool = _(False, "Do not check the API's certificate. Whoever is in between can read and change everything.")
    api_request_timeout: float = _(60.0, "Seconds to wait for an answer of the API.", minimum=0)
    client_custom_headers: dict[str, str] = _({}, "Headers sent with each call to the API, as a JSON object of texts (for a proxy in between).", secret=True)
    client_max_retries: int = _(5, "How often a call to the API is tried again after a broken connection or an answer that says to.", minimum=0)

    logging_level: str = _("INFO", "Lowest level that riverrun's loggers handle.", choices=_LEVELS)
    logging_log_prints: bool = _(False, "Turn `print` in flows and tasks into log lines.")
    logging_colors: bool | None = _(None, "Colours in the log on the console. Unset: when it is a terminal.")
    logging_markup: bool = _(False, "Interpret style markup such as `[red]` in log messages on the console.")
    logging_extra_loggers: list[str] = _([], "Other loggers whose lines are kept with the run that emitted them.")
    logging_to_api_enabled: bool = _(True, "Keep the lines of runs in the journal, and so in the store.")
    logging_config_path: Path | None = _(None, "A logging configuration file (YAML or JSON `dictConfig`) used instead of riverrun's own.", also=("logging_settings_path",))

    results_default_serializer: str = _("pickle", "Serializer of results where none is named.")
    results_persist_by_default: bool = _(False, "Persist results of flows and tasks that do not say.")
    results_local_storage_path: Path = _("{home}/storage", "Directory of persisted results where no storage is named.", also=("local_storage_path",))
    results_default_storage_block: str | None = _(None, "Path, fsspec URL or saved block (`type/name`) where results are stored instead of the local directory.", also=("default_result_storage_block",))

    tasks_default_retries: int = _(0, "Retries of tasks that do not say.", also=("task_default_retries",), minimum=0)
    tasks_default_retry_delay_seconds: float | list[float] = _(0.0, "Seconds between the retries of tasks that do not say; a list gives each retry its own.", also=("task_default_retry_delay_seconds",), minimum=0)
    tasks_default_persist_result: bool | None = _(None, "Persist results of tasks that do not say. Unset: as the run around does.")
    tasks_scheduling_default_storage_block: str | None = _(None, "Saved block (`type/name`), path or fsspec URL where the parameters of background tasks are stored that name no storage. Unset: where results are.", also=("task_scheduling_default_storage_block",))
    tasks_default_no_cache: bool = _(False, "Tasks that name no cache policy are not cached.")
    tasks_disable_caching: bool = _(False, "No task is cached, whatever it says.")
    tasks_refresh_cache: bool = _(False, "Every task runs and overwrites what is cached.")
    tasks_runner_thread_pool_max_workers: int = _(1000, "Most task runs that a thread runner runs at once.", also=("task_runner_thread_pool_max_workers",), minimum=1)
    tasks_runner_process_pool_max_workers: int | None = _(None, "Most task runs that a process runner runs at once. Unset: the number of processors.", minimum=1)

    flows_default_retries: int = _(0, "Retries of flows that do not say.", also=("flow_default_retries",), minimum=0)
    flows_default_retry_delay_seconds: float = _(0.0, "Seconds between the retries of flows that do not say.", also=("flow_default_retry_delay_seconds",), minimum=0)
    flows_default_persist_result: bool | None = _(None, "Persist results of flows that do not say. Unset: as `RIVERRUN_RESULTS_PERSIST_BY_DEFAULT`.")

    deployments_default_work_pool_name: str | None = _(None, "Work pool of deployments that name none.", also=("default_work_pool_name",))

    journal_dir: Path = _("{home}/journal", "Directory of the journals. Put it on a volume where the home directory does not last.")
    journal_segment_bytes: int = _(2 * 1024**2, "Bytes of one segment of a journal.", minimum=4096)
    journal_ingest_bytes: int = _(64 * 1024**2, "A journal longer than this is ingested in the background while its process runs.", minimum=4096)
    journal_max_bytes: int = _(4 * 1024**3, "Bytes that one process's journal may take on disk; beyond, records are counted as lost and the run goes on.", minimum=4096)
    journal_memory_bytes: int = _(64 * 1024**2, "Bytes of records kept in memory while the disk is full or cannot be written.", minimum=0)
    journal_exit_seconds: float = _(5.0, "Longest wait at the end of a process for its journal to be taken over.", minimum=0)

    engine_crash_grace_seconds: float = _(5.0, "Seconds given to running tasks when the process is told to end.", minimum=0)

    server_api_host: str = _("127.0.0.1", "Address that `riverrun server start` listens on.")
    server_api_port: int = _(4200, "Port that `riverrun server start` listens on; 0 takes a free one.", minimum=0)
    server_api_auth_string: str | None = _(None, "`user:password` that the server asks its clients for.", secret=True)
    server_api_keys: list[str] = _([], "API keys that the server accepts: keys themselves, or `sha256:` and the digest of one (`riverrun server key` makes both).", secret=True)
    server_allowed_hosts: list[str] = _([], "Names beside those of this machine under which the server may be reached; `*` allows every name.")
    server_database_listen_url: str | None = _(None, "URL of PostgreSQL for LISTEN and NOTIFY, where the store's own URL leads through a pooler.", secret=True)
    server_encryption_key: str | None = _(None, "Key that seals secrets in the store: 32 bytes in base64; older keys after a comma. Unset: the file encryption.key in `RIVERRUN_HOME`, made at the first start.", secret=True)
    server_logging_level: str = _("INFO", "Lowest level of what the server logs.", choices=_LEVELS)
    server_retention_days: float = _(90.0, "Days for which the server keeps finished runs with their logs and artifacts, events, and what else grows; 0 keeps everything.", minimum=0)

    cli_colors: bool | None = _(None, "Colours in the output of the command line. Unset: when it is a terminal and NO_COLOR is not set.")
    cli_prompt: bool | None = _(None, "Ask before doing what cannot be undone. Unset: when a person sits at a terminal.")
    # fmt: on

    def __init__(self, explicit: "Mapping[str, Given] | None" = None) -> None:
        """Settings of the given values (read and checked here) over the defaults."""
        explicit = explicit or {}
        values = self.__dict__
        values["_explicit"] = explicit
        for name, setting in TABLE.items():
            given = explicit.get(name)
            if given is not None:
                values[name] = setting.read(given.value, given.source, given.key)
            else:
                values[name] = setting.default_for(values.get("home", Path()))

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(
            f"Settings are frozen: set {PREFIX}{name.upper()} or use temporary_settings({{{name!r}: ...}})."
        )

    if not TYPE_CHECKING:  # a flat field that does not exist must not pass the type checker

        def __getattr__(self, name: str) -> Any:
            return _grouped(self, name)

    def source(self, name: str) -> str:
        """Where the value of a field comes from; "default" when nobody set it."""
        given = self._given.get(name)
        return "default" if given is None else given.source

    @property
    def _given(self) -> "Mapping[str, Given]":
        given: Mapping[str, Given] = self.__dict__["_explicit"]
        return given

    def with_values(self, updates: Mapping[Any, Any], source: str = "temporary settings") -> "Settings":
        """These settings with some changed. Keys are fields, variables or Setting objects."""
        given = {
            find(key).field: Given(value, source, str(getattr(key, "name", key))) for key, value in updates.items()
        }
        return Settings({**self._given, **given})

    def without_values(self, keys: Iterable[Any]) -> "Settings":
        """These settings with some at their defaults again."""
        names = {find(key).field for key in keys}
        return Settings({name: given for name, given in self._given.items() if name not in names})

    def copy_with_update(
        self,
        updates: Mapping[Any, Any] | None = None,
        set_defaults: Mapping[Any, Any] | None = None,
        restore_defaults: Iterable[Any] | None = None,
    ) -> "Settings":
        """These settings changed: first some put back to their defaults, then what nobody has set, then `updates`."""
        new = self.without_values(restore_defaults) if restore_defaults else self
        if set_defaults:
            unset = {key: value for key, value in set_defaults.items() if find(key).field not in new._given}
            new = new.with_values(unset)
        return new.with_values(updates) if updates else new

    def to_environment_variables(self, *, exclude_unset: bool = True, include_secrets: bool = True) -> dict[str, str]:
        """The variables that give another process these settings."""
        return {
            setting.name: setting.write(value)
            for name, setting in TABLE.items()
            if (value := getattr(self, name)) is not None
            and (include_secrets or not setting.is_secret)
            and not (exclude_unset and name not in self._given)
        }

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Settings) and all(getattr(self, name) == getattr(other, name) for name in TABLE)

    def __hash__(self) -> int:
        return hash(tuple(str(getattr(self, name)) for name in TABLE))

    def __reduce__(self) -> tuple[Any, ...]:
        return Settings, (dict(self._given),)

    def __repr__(self) -> str:
        shown = (f"{name}={TABLE[name].show(getattr(self, name))!r}" for name in TABLE if name in self._given)
        return f"Settings({', '.join(shown)})"


def _read_table() -> dict[str, Setting]:
    table: dict[str, Setting] = {}
    for name, annotation in Settings.__annotations__.items():
        setting = vars(Settings)[name]
        setting.bind(name, annotation)
        table[name] = setting
        delattr(Settings, name)  # values live in the instance; the class keeps none of them
    return table


#: every setting by its field name
TABLE: dict[str, Setting] = _read_table()


class Given(NamedTuple):
    """A value as somebody gave it: not yet read, with the source and the name they used."""

    value: Any
    source: str
    key: str


# -- names ------------------------------------------------------------------------------------------------------------

#: every setting by every field it is known under
BY_FIELD = {name: setting for setting in TABLE.values() for name in setting.fields}


def find(key: Any) -> Setting:
    """The setting that a field name, dotted path, variable (RIVERRUN_X or PREFECT_X) or Setting object names.

    Raises `ConfigurationError` with the nearest names when there is none.
    """
    text = str(getattr(key, "name", key))
    setting = BY_FIELD.get(field_of(text))
    if setting is None:
        raise ConfigurationError(f"There is no setting {text!r}.{did_you_mean(text)}")
    return setting


def field_of(key: str) -> str:
    """The field name in a key: `RIVERRUN_API_URL`, `api.url`, `API_URL` are all `api_url`."""
    upper = key.upper()
    for prefix in (PREFIX, PEER_PREFIX):
        if upper.startswith(prefix):
            key = key[len(prefix) :]
            break
    return key.replace(".", "_").lower()


def is_known(key: str) -> bool:
    """Whether `find(key)` finds a setting."""
    return field_of(key) in BY_FIELD


def did_you_mean(key: str) -> str:
    """A sentence naming the settings nearest to a key, starting with a space; empty if none is near."""
    from difflib import get_close_matches

    near = get_close_matches(field_of(key), [*BY_FIELD, "profile"], n=3, cutoff=0.7)
    names = dict.fromkeys(BY_FIELD[name].name if name in BY_FIELD else PROFILE_VARIABLE for name in near)
    return f" Did you mean {' or '.join(names)}?" if names else ""


class SettingsGroup:
    """The settings whose names begin with a prefix, as attributes."""

    def __init__(self, current: Settings, prefix: str) -> None:
        self._current = current
        self._prefix = prefix

    def __getattr__(self, name: str) -> Any:
        return _grouped(self._current, f"{self._prefix}_{name}")

    def __repr__(self) -> str:
        return f"<settings {self._prefix}_* of {self._current!r}>"


def _grouped(current: Settings, path: str) -> Any:
    if not path.startswith("_"):
        setting = BY_FIELD.get(path)
        if setting is not None:
            return current.__dict__[setting.field]
        if any(name.startswith(f"{path}_") for name in BY_FIELD):
            return SettingsGroup(current, path)
    raise AttributeError(f"There is no setting {path!r}.{did_you_mean(path) if not path.startswith('_') else ''}")


# -- the current settings -----------------------------------------------------------------------------------------------

_temporary: ContextVar[Settings | None] = ContextVar("riverrun_settings", default=None)
_cached: Settings | None = None

#: os.environ's own dictionary: comparing raw values costs a tenth of reading them through `os.environ`
_environ: dict[Any, Any] = getattr(os.environ, "_data", {})
_environ_length = -1
_environ_values: Any = None
_watched: Callable[[Any], Any] = len


def settings() -> Settings:
    """The settings that hold here and now.

    Cheap enough for hot paths (about 0.1 us). A change of a RIVERRUN_* variable or of HOME is noticed on the next call;
    changed files, another working directory, and a new variable that came while another went are not: call `reload()`.
    """
    current = _temporary.get()
    if current is not None:
        return current
    if _cached is not None and len(_environ) == _environ_length:
        try:
            if _watched(_environ) == _environ_values:
                return _cached
        except KeyError:
            pass
    return reload()


def reload() -> Settings:
    """Read all sources again. Raises `ConfigurationError` or `MissingProfileError` when they do not make sense."""
    global _cached, _environ_length, _environ_values, _watched
    from riverrun.base.sources import given_values

    _cached = None  # if the sources make no sense now, the next call must not take what was before
    # Which variables to compare is decided before they are read: a change in between is then noticed by the next call.
    prefix, home = os.environ.encodekey(PREFIX), os.environ.encodekey("HOME")
    length = len(_environ)
    raw = dict(_environ)
    keys = [key for key in raw if key == home or key.startswith(prefix)]
    watched = itemgetter(*keys) if keys else len
    values = watched(raw)
    _cached = Settings(given_values())
    _environ_length, _environ_values, _watched = length, values, watched
    return _cached


@contextmanager
def temporary_settings(
    updates: Mapping[Any, Any] | None = None,
    set_defaults: Mapping[Any, Any] | None = None,
    restore_defaults: Iterable[Any] | None = None,
) -> Iterator[Settings]:
    """Other settings inside the block, in this context only (a thread started inside does not see them).

    Keys are fields, variables or Setting objects; values are checked like any other. `set_defaults` changes only what
    nobody has set, `restore_defaults` names settings to put back to their defaults.
    """
    new = settings().copy_with_update(updates, set_defaults, restore_defaults)
    token = _temporary.set(new)
    try:
        yield new
    finally:
        _temporary.reset(token)
