"""Settings under the names that users of the peer import: a face of `riverrun.base.config`.

`RIVERRUN_API_URL` and `PREFECT_API_URL` (and so on for each setting) are `Setting` objects with `.value()`.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from riverrun.base import config as _config
from riverrun.base.config import temporary_settings
from riverrun.base.profiles import (
    Profile,
    ProfilesCollection,
    active_name,
    active_settings,
    read_profiles,
    write_profiles,
)
from riverrun.base.setting import PEER_PREFIX, PREFIX, Setting

__all__ = [
    "Profile",
    "ProfilesCollection",
    "Setting",
    "Settings",
    "get_current_settings",
    "load_current_profile",
    "load_profile",
    "load_profiles",
    "save_profiles",
    "temporary_settings",
    "update_current_profile",
]

if TYPE_CHECKING:

    class Settings(_config.Settings):
        """The settings, with their groups (`settings.tasks.runner ...`) visible to type checkers as Any."""

        def __getattr__(self, name: str) -> Any: ...

else:
    Settings = _config.Settings


def get_current_settings() -> Settings:
    """The settings that hold here and now."""
    return cast("Settings", _config.settings())


def load_profiles(include_defaults: bool = True) -> ProfilesCollection:
    """The profiles of the file at `RIVERRUN_PROFILES_PATH`; without defaults, only what the file says."""
    profiles = read_profiles(_config.settings().profiles_path)
    if not include_defaults:
        for name in [profile.name for profile in profiles if profile.source is None]:
            profiles.remove_profile(name)
        if profiles.active_name not in profiles:
            profiles.active_name = None
    return profiles


def load_profile(name: str) -> Profile:
    """One profile; raises `MissingProfileError`, a ValueError, if there is none of that name."""
    return load_profiles()[name]


def load_current_profile() -> Profile:
    """The profile in force."""
    return active_settings(load_profiles())


def save_profiles(profiles: ProfilesCollection) -> None:
    """Write the profiles to the file at `RIVERRUN_PROFILES_PATH`."""
    write_profiles(profiles, _config.settings().profiles_path)
    _config.reload()


def update_current_profile(settings: Mapping[str | Setting, Any]) -> Profile:
    """Set some settings of the profile in force and save it (None removes one).

    Raises `ProfileSettingsValidationError` before anything is written if a value cannot be read.
    """
    profiles = load_profiles()
    new = profiles.update_profile(active_name(profiles), settings)
    new.validate_settings()
    save_profiles(profiles)
    return new


def __getattr__(name: str) -> Setting:
    if name.startswith((PREFIX, PEER_PREFIX)) and _config.is_known(name):
        return _config.find(name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *(setting.name for setting in _config.TABLE.values())])
