"""Profiles: named sets of settings in one file, one of them active.

Reads and edits `profiles.toml`; whoever only wants the values that hold uses `base.config`. Editing goes through tomlkit,
which keeps comments and order, and replaces the file atomically with mode 0600, since it may hold keys.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from riverrun.base.config import PROFILE_VARIABLE, find, is_known
from riverrun.base.errors import ConfigurationError, InputError, MissingProfileError, ProfileSettingsValidationError
from riverrun.base.setting import Setting
from riverrun.base.sources import flat, parse_toml, text_of

if TYPE_CHECKING:
    from tomlkit import TOMLDocument

#: the profile that is there before anybody makes one
DEFAULT = "default"


class Profile:
    """A name and the settings under it, as they were written. Keys that are no settings stay in `unknown`."""

    def __init__(self, name: str, settings: Mapping[Any, Any] | None = None, source: Path | None = None) -> None:
        self.name = name
        self.source = source
        self.settings: dict[Setting, Any] = {}
        self.unknown: dict[str, Any] = {}
        for key, value in (settings or {}).items():
            if isinstance(key, Setting) or is_known(key):
                self.settings[find(key)] = value
            else:
                self.unknown[key] = value

    def to_environment_variables(self) -> dict[str, str]:
        """The profile as variables of the environment."""
        return {key.name: key.write(value) for key, value in self.settings.items() if value is not None}

    def problems(self) -> list[tuple[Setting, ConfigurationError]]:
        """The settings whose values cannot be read, with why."""
        found = []
        for key, value in self.settings.items():
            try:
                key.read(value, f"profile {self.name!r}")
            except ConfigurationError as error:
                found.append((key, error))
        return found

    def validate_settings(self) -> None:
        """Raises `ProfileSettingsValidationError` if a value cannot be read."""
        if found := self.problems():
            raise ProfileSettingsValidationError(list(found))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Profile) and (self.name, self.settings) == (other.name, other.settings)

    def __hash__(self) -> int:
        return hash(self.name)

    def __repr__(self) -> str:
        shown = {key.name: key.show(value) for key, value in self.settings.items()}
        return f"Profile(name={self.name!r}, settings={shown!r}, source={self.source!r})"


class ProfilesCollection:
    """The profiles of a file, by name, and which of them is active."""

    def __init__(self, profiles: Iterable[Profile] = (), active: str | None = None) -> None:
        self.profiles_by_name = {profile.name: profile for profile in profiles}
        self.active_name = active

    @property
    def names(self) -> set[str]:
        return set(self.profiles_by_name)

    @property
    def active_profile(self) -> Profile | None:
        return None if self.active_name is None else self[self.active_name]

    def set_active(self, name: str | None, check: bool = True) -> None:
        """Make a profile the active one; raises `MissingProfileError` if there is none of that name."""
        if check and name is not None:
            self[name]
        self.active_name = name

    def add_profile(self, profile: Profile) -> None:
        """Raises `InputError` if the name is taken."""
        if profile.name in self.profiles_by_name:
            raise InputError(f"There is a profile {profile.name!r} already.")
        self.profiles_by_name[profile.name] = profile

    def update_profile(self, name: str, settings: Mapping[Any, Any], source: Path | None = None) -> Profile:
        """Set some settings of a profile (None removes one); the profile is made if it is missing."""
        old = self.profiles_by_name.get(name)
        merged = {**(old.settings if old else {}), **{find(key): value for key, value in settings.items()}}
        new = Profile(name, {key: value for key, value in merged.items() if value is not None}, source)
        if old is not None:
            new.source = source or old.source
            new.unknown = old.unknown
        self.profiles_by_name[name] = new
        return new

    def remove_profile(self, name: str) -> None:
        self[name]
        del self.profiles_by_name[name]

    def to_dict(self) -> dict[str, Any]:
        """As the file has it."""
        return {
            "active": self.active_name,
            "profiles": {profile.name: profile.to_environment_variables() for profile in self},
        }

    def items(self) -> list[tuple[str, Profile]]:
        return list(self.profiles_by_name.items())

    def __getitem__(self, name: str) -> Profile:
        try:
            return self.profiles_by_name[name]
        except KeyError:
            known = ", ".join(sorted(self.names)) or "none"
            message = f"There is no profile {name!r}. Known profiles: {known}."
            raise MissingProfileError(message) from None

    def __iter__(self) -> Iterator[Profile]:
        return iter(self.profiles_by_name.values())

    def __len__(self) -> int:
        return len(self.profiles_by_name)

    def __contains__(self, name: object) -> bool:
        return name in self.profiles_by_name

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ProfilesCollection) and self.to_dict() == other.to_dict()

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"ProfilesCollection(profiles={list(self)!r}, active={self.active_name!r})"


def read_profiles(path: Path) -> ProfilesCollection:
    """The profiles of a file, and always the one called "default"; raises `ConfigurationError` on broken TOML."""
    text = text_of(path)
    document = parse_toml(text, str(path)) if text is not None else {}
    profiles = [Profile(name, dict(flat(table)), path) for name, table in document.get("profiles", {}).items()]
    if DEFAULT not in (profile.name for profile in profiles):
        profiles.insert(0, Profile(DEFAULT))
    return ProfilesCollection(profiles, active=document.get("active") or DEFAULT)


def active_name(profiles: ProfilesCollection) -> str:
    """The name of the profile in force: `RIVERRUN_PROFILE`, or what the file calls active."""
    return os.environ.get(PROFILE_VARIABLE) or profiles.active_name or DEFAULT


def active_settings(profiles: ProfilesCollection) -> Profile:
    """The profile in force."""
    return profiles[active_name(profiles)]


def write_profiles(profiles: ProfilesCollection, path: Path) -> None:
    """Make the file say what the collection says; comments of what stays are kept."""
    with edit_profiles(path) as document:
        tables = document["profiles"]
        for name in [name for name in tables if name not in profiles]:
            del tables[name]
        for profile in profiles:
            wanted = {**profile.unknown, **profile.to_environment_variables()}
            table = tables.setdefault(profile.name, {})
            for key in [key for key, _value in flat(table) if not (key in profile.unknown or is_known(key))]:
                remove_key(table, key)
            for key in [key for key, _value in flat(table) if is_known(key) and find(key).name not in wanted]:
                remove_key(table, key)
            for key, value in wanted.items():
                set_key(table, key, value)
        document["active"] = profiles.active_name or DEFAULT


@contextmanager
def edit_profiles(path: Path) -> "Iterator[TOMLDocument]":
    """The file as a tomlkit document with a `profiles` table; what the block leaves in it replaces the file.

    Nothing is written when the block raises. Two editors wait for each other (a lock on the directory).
    """
    import fcntl

    import tomlkit

    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(directory, fcntl.LOCK_EX)
        text = text_of(path) or ""
        parse_toml(text, str(path))  # for the message: tomlkit's does not name the file
        document = tomlkit.parse(text)
        if "active" not in document:
            document["active"] = DEFAULT
        document.setdefault("profiles", tomlkit.table(is_super_table=True))
        yield document
        _replace(path, tomlkit.dumps(document))
    finally:
        os.close(directory)


def set_key(table: Any, key: str, value: Any) -> None:
    """Set a setting in the table of a profile, under the name it already has there if any."""
    setting = find(key) if is_known(key) else None
    for written, _value in flat(table):
        if written == key or (setting is not None and is_known(written) and find(written) is setting):
            *groups, last = written.split(".")
            for group in groups:
                table = table[group]
            if table[last] != value:
                table[last] = value
            return
    table[key] = value


def remove_key(table: Any, key: str) -> bool:
    """Remove a setting from the table of a profile, under whatever name it has; False if it was not there."""
    setting = find(key) if is_known(key) else None
    found = False
    for written, _value in list(flat(table)):
        if written == key or (setting is not None and is_known(written) and find(written) is setting):
            *groups, last = written.split(".")
            inner = table
            for group in groups:
                inner = inner[group]
            del inner[last]
            found = True
    return found


def _replace(path: Path, text: str) -> None:
    import tempfile

    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # made with mode 0600
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path.resolve())  # a link stays a link
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
