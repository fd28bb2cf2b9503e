"""The root command: global options, the table of nouns (imported when used), and the edge where errors become messages."""

import os
import signal
import sys

import click

from riverrun import __version__
from riverrun.base.errors import InputError, RiverrunError, TerminationSignal
from riverrun.cli.groups import Group

#: noun -> (module, attribute, one line of help). The help stands here so that `--help` imports no noun.
COMMANDS = {
    "run": ("riverrun.cli.run", "run", "Run a flow from a file or a module."),
    "flow-run": ("riverrun.cli.flow_run", "flow_run", "List, inspect and delete flow runs; read their logs."),
    "task-run": ("riverrun.cli.task_run", "task_run", "List and inspect task runs; read their logs."),
    "flow": ("riverrun.cli.flow", "flow", "List flows."),
    "variable": ("riverrun.cli.variable", "variable", "Keep named values on the server."),
    "block": ("riverrun.cli.block", "block", "Look at blocks, register their types, delete them."),
    "artifact": ("riverrun.cli.artifact", "artifact", "Look at artifacts and delete them."),
    "concurrency-limit": (
        "riverrun.cli.concurrency_limit",
        "concurrency_limit",
        "Limit how many tasks with a tag run at once.",
    ),
    "global-concurrency-limit": (
        "riverrun.cli.global_concurrency_limit",
        "global_concurrency_limit",
        "Limit how much happens at once, or per second.",
    ),
    "event": ("riverrun.cli.event", "event", "Watch events, and emit them."),
    "deploy": ("riverrun.cli.deploy", "deploy", "Deploy flows, as a riverrun.yaml or the command line says."),
    "deployment": ("riverrun.cli.deployment", "deployment", "Look at deployments, run, pause and change them."),
    "schedule": ("riverrun.cli.schedule", "schedule", "Say when deployments run."),
    "work-pool": ("riverrun.cli.work_pool", "work_pool", "Make work pools, limit, pause and look at them."),
    "work-queue": ("riverrun.cli.work_queue", "work_queue", "Make work queues, limit, pause and look at them."),
    "worker": ("riverrun.cli.worker", "worker", "Start workers, which run the flows of a work pool."),
    "server": ("riverrun.cli.server", "server", "Start, stop and look at a server; keep its database."),
    "api": ("riverrun.cli.api", "api", "Send any request to the API of a server."),
    "config": ("riverrun.cli.config", "config", "Show, change and check settings."),
    "profile": ("riverrun.cli.profile", "profile", "Keep several sets of settings and switch between them."),
    "version": ("riverrun.cli.version", "version", "Show the versions of riverrun and of what it stands on."),
}
#: commands of a few questions: a person wants to know at once that the server is away. Others wait for it as flows do.
BRIEF = {
    "variable",
    "block",
    "artifact",
    "concurrency-limit",
    "global-concurrency-limit",
    "event",
    "api",
    "deploy",
    "deployment",
    "schedule",
    "work-pool",
    "work-queue",
}
ALIASES = {
    "flow-runs": "flow-run",
    "task-runs": "task-run",
    "flows": "flow",
    "profiles": "profile",
    "variables": "variable",
    "blocks": "block",
    "artifacts": "artifact",
    "concurrency-limits": "concurrency-limit",
    "gcl": "global-concurrency-limit",
    "events": "event",
    "deployments": "deployment",
    "schedules": "schedule",
    "work-pools": "work-pool",
    "work-queues": "work-queue",
}


class Root(Group):
    """The group of all nouns."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        from importlib import import_module

        entry = COMMANDS.get(ALIASES.get(cmd_name, cmd_name))
        if entry is None:
            return None
        command: click.Command = getattr(import_module(entry[0]), entry[1])
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry[2]) for name, entry in COMMANDS.items()])


@click.command(cls=Root)
@click.option("-p", "--profile", metavar="NAME", help="Use this profile instead of the active one.")
@click.option("--prompt/--no-prompt", default=None, help="Ask, or never ask, before what cannot be undone.")
@click.version_option(__version__, message="%(version)s")
@click.pass_context
def cli(ctx: click.Context, profile: str | None, prompt: bool | None) -> None:
    """riverrun: run flows and see what became of them.

    Exit codes: 0 done; 1 what was asked for failed or was not found; 2 the command or its values are wrong; 130 Ctrl-C.
    """
    from riverrun.base.config import PROFILE_VARIABLE  # not above: `--help` has no need of settings

    _set_variable(ctx, PROFILE_VARIABLE, profile)
    _set_variable(ctx, "RIVERRUN_CLI_PROMPT", None if prompt is None else str(prompt).lower())
    command = ctx.invoked_subcommand
    if command is not None and ALIASES.get(command, command) in BRIEF:
        from riverrun.base.config import temporary_settings

        ctx.with_resource(temporary_settings(set_defaults={"client_max_retries": 1}))


def _set_variable(ctx: click.Context, name: str, value: str | None) -> None:
    # Through the environment, so that processes started by the command see it too.
    if value is None:
        return
    before = os.environ.get(name)
    os.environ[name] = value

    def restore() -> None:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before

    ctx.call_on_close(restore)


def run(args: list[str]) -> int:
    """Run the command line; returns the exit code and never raises."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a name in any alphabet prints in any locale
    try:
        code = _guarded(args)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader (`| head`) has what it wanted. What is still buffered goes nowhere, quietly.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return code


def _guarded(args: list[str]) -> int:
    try:
        return _dispatch(args)
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        click.echo("Interrupted.", err=True)
        return 128 + signal.SIGINT
    except TerminationSignal as error:
        click.echo(f"Ended by {signal.Signals(error.signal).name}.", err=True)
        return 128 + error.signal
    except BrokenPipeError:
        raise
    except Exception as error:  # noqa: BLE001 - the edge of the process: a person reads a message, not a traceback
        return _report(error)


def _dispatch(args: list[str]) -> int:
    # Not `cli.main`, which ends the process with 1 when a pipe closes.
    completion = os.environ.get("_RIVERRUN_COMPLETE")
    if completion:
        from click.shell_completion import shell_complete

        return shell_complete(cli, {}, "riverrun", "_RIVERRUN_COMPLETE", completion)
    with cli.make_context("riverrun", args) as ctx:
        cli.invoke(ctx)
    return 0


def _report(error: Exception) -> int:
    if _debugging():
        import traceback

        traceback.print_exception(error)
    elif isinstance(error, RiverrunError | OSError):
        click.echo(f"Error: {error}", err=True)
    else:
        click.echo(
            f"Error: {type(error).__name__}: {error}\nThis should not have happened. "
            "RIVERRUN_DEBUG_MODE=1 shows where it did.",
            err=True,
        )
    return 2 if isinstance(error, InputError) else 1


def _debugging() -> bool:
    from riverrun.base.config import settings

    try:
        return settings().debug_mode
    except RiverrunError:  # the settings themselves may be what is wrong
        return os.environ.get("RIVERRUN_DEBUG_MODE", "").lower() in {"1", "true", "yes", "on"}
