"""`riverrun config`: show, change and check settings. Changes go to the profile in force."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import click

from riverrun.base.config import PROFILE_VARIABLE, TABLE, did_you_mean, field_of, find
from riverrun.base.errors import ConfigurationError, InputError, MissingProfileError
from riverrun.base.setting import Setting
from riverrun.cli.groups import Group, json_option
from riverrun.cli.output import plain, print_json, say, style, write


@click.group(cls=Group)
def config() -> None:
    """Show, change and check settings."""


class _Row(NamedTuple):
    setting: Setting
    shown: str
    source: str
    problem: str | None


@config.command()
@click.option("--show-defaults/--hide-defaults", default=False, help="Also settings that nobody set.")
@click.option("--show-sources/--hide-sources", default=True, help="Where each value comes from.", show_default=True)
@click.option("--show-secrets/--hide-secrets", default=False, help="Do not mask keys and passwords.")
@json_option
def view(*, show_defaults: bool, show_sources: bool, show_secrets: bool, as_json: bool) -> None:
    """Show the settings that hold now.

    A value comes from the first of: the environment, .env, riverrun.toml, pyproject.toml, the profile.
    """
    profile = _profile_in_force()
    rows = [row for row in _rows(show_secrets) if show_defaults or row.source != "default"]
    if as_json:
        document: dict[str, Any] = {"profile": profile, "settings": []}
        for row in rows:
            entry: dict[str, Any] = {"name": row.setting.name, "value": row.shown or None}
            if show_sources:
                entry["source"] = row.source
            if row.problem:
                entry["problem"] = row.problem
            document["settings"].append(entry)
        print_json(document)
        return
    write(f"{PROFILE_VARIABLE}={style(repr(profile), fg='blue')}")
    for row in rows:
        origin = style(f" (from {row.source})" if row.source != "default" else " (default)", dim=True)
        wrong = style("  not valid, see `riverrun config validate`", fg="red") if row.problem else ""
        write(f"{row.setting.name}={style(repr(plain(row.shown)), fg='blue')}{origin if show_sources else ''}{wrong}")


def _rows(secrets: bool) -> Iterator[_Row]:
    from riverrun.base.sources import given_values, read_one

    given = given_values()
    home = read_one("home", given)
    for setting in TABLE.values():
        value = given.get(setting.field)
        if value is None:
            yield _Row(setting, setting.show(setting.default_for(home), secrets=secrets), "default", None)
            continue
        try:
            typed = setting.read(value.value, value.source, value.key)
        except ConfigurationError as error:
            yield _Row(setting, setting.show(str(value.value), secrets=secrets), value.source, str(error))
        else:
            yield _Row(setting, setting.show(typed, secrets=secrets), value.source, None)


@config.command("set")
@click.argument("settings", nargs=-1, required=True, metavar="NAME=VALUE...")
def set_(settings: tuple[str, ...]) -> None:
    """Set settings in the profile in force.

    \b
    riverrun config set RIVERRUN_LOGGING_LEVEL=DEBUG RIVERRUN_API_URL=http://127.0.0.1:4200/api
    """
    changes: list[tuple[Setting, str]] = []
    for text in settings:
        name, equals, value = text.partition("=")
        if not equals:
            raise click.UsageError(f"{text!r} is not of the form NAME=VALUE.")
        setting = _changeable(name)
        if not value:
            raise click.UsageError(
                f"{setting.name} is given no value. `riverrun config unset {setting.name}` removes it."
            )
        setting.read(value, "this command", name)
        changes.append((setting, value))
    from riverrun.base.profiles import edit_profiles, set_key

    profile = _profile_in_force()
    with edit_profiles(_profiles_path()) as document:
        table = document["profiles"].setdefault(profile, {})
        for setting, value in changes:
            set_key(table, setting.name, value)
    for setting, value in changes:
        say(f"Set {setting.name} to {setting.show(value)!r}.")
    say(f"Updated profile {profile!r}.")
    _warn_of_overrides(setting for setting, _value in changes)


@config.command()
@click.argument("settings", nargs=-1, required=True, metavar="NAME...")
def unset(settings: tuple[str, ...]) -> None:
    """Remove settings from the profile in force."""
    from riverrun.base.profiles import edit_profiles, remove_key

    # A name that is no setting may still be in the file, and this is how it goes.
    names = [name if "=" not in name else name.partition("=")[0] for name in settings]
    profile = _profile_in_force()
    with edit_profiles(_profiles_path()) as document:
        table = document["profiles"].get(profile, {})
        for name in names:
            if not remove_key(table, name):
                find(name)  # says so if there is no such setting
                raise InputError(f"{find(name).name} is not set in profile {profile!r}. Nothing was changed.")
    for name in names:
        say(f"Unset {name}.")
    say(f"Updated profile {profile!r}.")
    _warn_of_overrides(_known(names))


@config.command()
@json_option
def validate(as_json: bool) -> None:
    """Check the settings that hold now; exit code 1 if one is not valid.

    Names that are no setting (mistyped variables, say) are reported but are no error.
    """
    from riverrun.base.sources import unknown_keys

    problems: list[str] = []
    warnings: list[str] = []
    try:
        problems += [row.problem for row in _rows(secrets=False) if row.problem]
        warnings += [f"{key} in {source} is no setting.{did_you_mean(key)}" for key, source in unknown_keys()]
        _profile_in_force()
    except (ConfigurationError, MissingProfileError) as error:
        problems.append(str(error))
    if as_json:
        print_json({"valid": not problems, "problems": problems, "warnings": warnings})
    else:
        for text in warnings:
            say(f"Warning: {text}")
        for text in problems:
            say(f"Error: {text}")
        say("The settings are not valid." if problems else "The settings are valid.")
    if problems:
        raise click.exceptions.Exit(1)


def _profile_in_force() -> str:
    from riverrun.base.profiles import active_name, read_profiles

    profiles = read_profiles(_profiles_path())
    return profiles[active_name(profiles)].name


def _profiles_path() -> Path:
    from riverrun.base.sources import profiles_path

    return profiles_path()


def _changeable(name: str) -> Setting:
    if field_of(name) == "profile":
        raise InputError("The active profile is chosen with `riverrun profile use NAME`.")
    from riverrun.base.sources import NOT_IN_PROFILES

    setting = find(name)
    if setting.field in NOT_IN_PROFILES:
        raise InputError(
            f"{setting.name} decides where profiles are kept, so a profile cannot set it. Use the environment."
        )
    return setting


def _known(names: list[str]) -> Iterator[Setting]:
    for name in names:
        try:
            yield find(name)
        except ConfigurationError:
            continue


def _warn_of_overrides(changed: Iterable[Setting]) -> None:
    from riverrun.base.sources import given_values

    given = given_values()
    for setting in changed:
        value = given.get(setting.field)
        if value is not None and not value.source.startswith("profile "):
            say(f"Note: {setting.name} is also set in {value.source}, which wins.")
