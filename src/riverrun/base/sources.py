"""Where the values of settings come from: environment, `.env`, project files, profile; strongest first.

Gives values as somebody wrote them; `base.config` reads and checks them. Loaded when settings are first asked for.
Files are looked for in the working directory and parsed only if they exist.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from riverrun.base.config import BY_FIELD, PROFILE_VARIABLE, TABLE, Given, find, is_known
from riverrun.base.errors import ConfigurationError, MissingProfileError
from riverrun.base.setting import PREFIX

#: these decide where the profiles are, so a profile cannot hold them
NOT_IN_PROFILES = frozenset({"home", "profiles_path"})


def given_values() -> dict[str, Given]:
    """Every value that somebody gave, by field; unread, unchecked, of each the one from the strongest source."""
    values = _above_profiles()
    for key, value, origin in _from_profile(profiles_path(values)):
        if is_known(key) and find(key).field not in NOT_IN_PROFILES:
            values.setdefault(find(key).field, Given(value, origin, key))
    return values


def _above_profiles() -> dict[str, Given]:
    values: dict[str, Given] = {}
    for source in (_from_environment, _from_dotenv, _from_project):
        for key, value, origin in source():
            if is_known(key):
                values.setdefault(find(key).field, Given(value, origin, key))
    return values


def unknown_keys() -> list[tuple[str, str]]:
    """(key, source) of everything that looks like a setting of riverrun and is none."""
    everything = [
        *_from_environment(known_only=False),
        *_from_dotenv(),
        *_from_project(),
        *_from_profile(profiles_path()),
    ]
    return [(key, origin) for key, _value, origin in everything if not is_known(key)]


def profiles_path(values: Mapping[str, Given] | None = None) -> Path:
    """The file of the profiles, which no profile can move."""
    path: Path = read_one("profiles_path", values if values is not None else _above_profiles())
    return path


def read_one(field: str, values: Mapping[str, Given]) -> Any:
    """One setting, read from given values or its default."""
    setting, given = TABLE[field], values.get(field)
    if given is not None:
        return setting.read(given.value, given.source, given.key)
    return setting.default_for(Path() if field == "home" else read_one("home", values))


def told(name: str) -> str | None:
    """What the process that started this one, or a test, tells it by the variable `RIVERRUN__<name>` (or the peer's)."""
    for prefix in ("RIVERRUN__", "PREFECT__"):
        value = os.environ.get(prefix + name)
        if value is not None:
            return value
    return None


def _from_environment(*, known_only: bool = True) -> Iterator[tuple[str, Any, str]]:
    if known_only:
        keys: Iterable[str] = (PREFIX + name.upper() for name in BY_FIELD)
    else:
        keys = sorted(key for key in os.environ if key.startswith(PREFIX) and key != PROFILE_VARIABLE)
    for key in keys:
        value = os.environ.get(key)
        if value:  # an empty variable counts as unset
            yield key, value, "the environment"


def _from_dotenv() -> Iterator[tuple[str, Any, str]]:
    text = text_of(".env")
    if text is None:
        return
    for line in text.splitlines():
        key, equals, value = line.strip().removeprefix("export ").partition("=")
        key, value = key.strip(), value.strip()
        if not equals or not key.startswith(PREFIX) or key == PROFILE_VARIABLE:
            continue
        if value[:1] in {'"', "'"} and value.rfind(value[0]) > 0:
            value = value[1 : value.rfind(value[0])]
        else:
            value = value.partition(" #")[0].rstrip()
        if value:
            yield key, value, ".env"


def _from_project() -> Iterator[tuple[str, Any, str]]:
    for name in ("riverrun.toml", "pyproject.toml"):
        text = text_of(name)
        if text is None or (name == "pyproject.toml" and "tool.riverrun" not in text):
            continue
        document = parse_toml(text, name)
        if name == "pyproject.toml":
            document = document.get("tool", {}).get("riverrun", {})
            name += " [tool.riverrun]"
        yield from ((key, value, name) for key, value in flat(document))


def _from_profile(path: Path) -> Iterator[tuple[str, Any, str]]:
    wanted = os.environ.get(PROFILE_VARIABLE)
    text = text_of(path)
    document = parse_toml(text, str(path)) if text is not None else {}
    profiles = document.get("profiles", {})
    name = wanted or document.get("active")
    if name is None or (name == "default" and name not in profiles):
        return
    if name not in profiles:
        why = f"{PROFILE_VARIABLE} names it" if wanted else f"{path} calls it active"
        known = ", ".join(sorted({*profiles, "default"}))
        raise MissingProfileError(f"There is no profile {name!r} in {path}, though {why}. Known profiles: {known}.")
    yield from ((key, value, f"profile {name!r}") for key, value in flat(profiles[name]))


def flat(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def text_of(path: str | Path) -> str | None:
    try:
        # not "utf-8-sig": its codec is imported on first use, and a fork during an import leaves the child waiting
        with open(path, encoding="utf-8", errors="replace") as file:  # noqa: PTH123 - half the cost of Path.open
            return file.read().removeprefix("\ufeff")
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError):
        return None  # what cannot be read cannot configure; `config validate` shows the sources in use


def parse_toml(text: str, name: str) -> dict[str, Any]:
    """The TOML document; raises `ConfigurationError` naming the file and the line."""
    import tomllib

    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{name} is not valid TOML: {error}.") from None
