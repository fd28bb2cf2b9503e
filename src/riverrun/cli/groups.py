"""What all commands share: groups that suggest the right name, the option `--json`, questions before deleting."""

import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


class Group(click.Group):
    """A group that shows its help when nothing else is asked and suggests commands for a mistyped one."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **{"no_args_is_help": False, **options})

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args and not ctx.resilient_parsing:
            click.echo(ctx.get_help())
            ctx.exit(0)
        return super().parse_args(ctx, args)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            from difflib import get_close_matches

            known = self.list_commands(ctx)
            near = get_close_matches(args[0], known, n=3, cutoff=0.5)
            hint = f" Did you mean {' or '.join(near)}?" if near else f" There are: {', '.join(known)}."
            ctx.fail(f"No such command {args[0]!r}.{hint}")
        return super().resolve_command(ctx, args)


def json_option(command: F) -> F:
    """`--json`, passed as `as_json`; `-o json` says the same."""

    def chosen(ctx: click.Context, _param: click.Parameter, value: str | None) -> None:
        if value is not None:
            ctx.params["as_json"] = True

    command = click.option(
        "-o",
        "--output",
        type=click.Choice(["json"]),
        expose_value=False,
        callback=chosen,
        help="The same as --json.",
    )(command)

    def keep(ctx: click.Context, _param: click.Parameter, value: bool) -> bool:
        return value or bool(ctx.params.get("as_json"))

    return click.option("--json", "as_json", is_flag=True, callback=keep, help="Print one JSON document.")(command)


def confirm(question: str) -> None:
    """Ask before what cannot be undone, if a person is there to answer; a no ends the command (exit code 1)."""
    from riverrun.cli.output import preference

    wanted = preference("cli_prompt")
    if wanted is None:
        wanted = sys.stdin.isatty() and sys.stdout.isatty()
    if wanted and not click.confirm(question, err=True):
        raise click.ClickException("Nothing was done.")
