"""`riverrun profile`: keep several sets of settings and switch between them."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from riverrun.base.config import PROFILE_VARIABLE
from riverrun.base.errors import InputError
from riverrun.cli.groups import Group, confirm, json_option
from riverrun.cli.output import plain, print_json, say, style, write

if TYPE_CHECKING:
    from riverrun.base.profiles import ProfilesCollection


@click.group(cls=Group)
def profile() -> None:
    """Keep several sets of settings and switch between them."""


@profile.command()
@json_option
def ls(as_json: bool) -> None:
    """List the profiles; the one in force has a star."""
    from riverrun.base.profiles import active_name

    profiles, _path = _load()
    active = active_name(profiles)
    if as_json:
        print_json([{"name": name, "active": name == active} for name in profiles.profiles_by_name])
        return
    for name in profiles.profiles_by_name:
        write(style(f"* {plain(name)}", fg="green") if name == active else f"  {plain(name)}")


@profile.command()
@click.argument("name")
def use(name: str) -> None:
    """Make a profile the active one."""
    import os

    profiles, path = _load()
    profiles.set_active(name)
    _save(profiles, path)
    say(f"Profile {name!r} is now active.")
    forced = os.environ.get(PROFILE_VARIABLE)
    if forced and forced != name:
        say(f"Note: {PROFILE_VARIABLE}={forced} in the environment wins.")


@profile.command()
@click.argument("name")
@click.option("--from", "source", metavar="NAME", help="Copy the settings of this profile.")
def create(name: str, source: str | None) -> None:
    """Make a new profile."""
    from riverrun.base.profiles import Profile

    profiles, path = _load()
    _check_name(name)
    original = profiles[source] if source is not None else None
    copied: dict[Any, Any] = {**original.settings, **original.unknown} if original else {}
    profiles.add_profile(Profile(name, copied))
    _save(profiles, path)
    say(f"Created profile {name!r}{f' with the settings of {source!r}' if source else ''}.")
    say(f"Use it with `riverrun profile use {name}`, or once with `riverrun -p {name} ...`.")


@profile.command()
@click.argument("name", required=False)
@click.option("--show-secrets/--hide-secrets", default=False, help="Do not mask keys and passwords.")
@json_option
def inspect(name: str | None, *, show_secrets: bool, as_json: bool) -> None:
    """Show the settings of a profile; of the one in force if none is named."""
    from riverrun.base.profiles import active_name

    profiles, _path = _load()
    if name is None:
        name = active_name(profiles)
        say(f"Profile {name!r} is in force.")
    chosen = profiles[name]
    shown = {key.name: key.show(value, secrets=show_secrets) for key, value in chosen.settings.items()}
    shown |= {key: str(value) for key, value in chosen.unknown.items()}
    if as_json:
        print_json({"name": name, "settings": shown})
    elif not shown:
        say(f"Profile {name!r} sets nothing.")
    else:
        for key, value in shown.items():
            write(f"{key}={style(repr(plain(value)), fg='blue')}")


@profile.command()
@click.argument("name")
@click.argument("new_name")
def rename(name: str, new_name: str) -> None:
    """Change the name of a profile."""
    from riverrun.base.profiles import edit_profiles

    profiles, path = _load()
    profiles[name]
    _check_name(new_name)
    if new_name in profiles:
        raise InputError(f"There is a profile {new_name!r} already.")
    with edit_profiles(path) as document:
        document["profiles"][new_name] = document["profiles"].pop(name, {})
        if document["active"] == name:
            document["active"] = new_name
    say(f"Renamed profile {name!r} to {new_name!r}.")


@profile.command()
@click.argument("name")
def delete(name: str) -> None:
    """Delete a profile that is not the active one."""
    from riverrun.base.profiles import active_name

    profiles, path = _load()
    profiles[name]
    if name in {active_name(profiles), profiles.active_name}:
        raise InputError(f"Profile {name!r} is active. `riverrun profile use` another one first.")
    confirm(f"Delete profile {name!r}?")
    profiles.remove_profile(name)
    _save(profiles, path)
    say(f"Deleted profile {name!r}.")


def _load() -> "tuple[ProfilesCollection, Path]":
    from riverrun.base.profiles import read_profiles
    from riverrun.base.sources import profiles_path

    path = profiles_path()
    return read_profiles(path), path


def _save(profiles: "ProfilesCollection", path: Path) -> None:
    from riverrun.base.profiles import write_profiles

    write_profiles(profiles, path)


def _check_name(name: str) -> None:
    if not name.strip() or not name.isprintable() or name != name.strip():
        raise InputError(
            f"{name!r} cannot be the name of a profile: use visible characters, without blanks at the ends."
        )
