"""`riverrun version`."""

import click

from riverrun.cli.groups import json_option
from riverrun.cli.output import print_fields, print_json


@click.command()
@json_option
def version(as_json: bool) -> None:
    """Show the versions of riverrun and of what it stands on, the profile, the home directory and the database."""
    import platform
    import sqlite3

    from riverrun import __version__
    from riverrun.base.config import settings
    from riverrun.base.profiles import active_name, read_profiles
    from riverrun.base.setting import mask_password

    current = settings()
    database = current.api_database_connection_url or f"sqlite:///{current.home / 'riverrun.db'}"
    facts = {
        "version": __version__,
        "python": f"{platform.python_version()} ({platform.python_implementation()})",
        "sqlite": sqlite3.sqlite_version,
        "platform": f"{platform.system().lower()}/{platform.machine()}",
        "profile": active_name(read_profiles(current.profiles_path)),
        "home": str(current.home),
        "database": mask_password(database),
        "api": current.api_url,
    }
    if as_json:
        print_json(facts)
        return
    labels = {"version": "Version", "python": "Python", "sqlite": "SQLite", "api": "API"}
    print_fields(
        (labels.get(name, name.capitalize()), value or "none: the store of this machine is used")
        for name, value in facts.items()
    )
