"""What flow runs and task runs have in common on the command line: filters, documents, state histories, logs."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

import click

from riverrun.base.clock import now
from riverrun.cli.groups import F, json_option
from riverrun.cli.output import (
    Cell,
    duration,
    exactly_when,
    plain,
    print_json,
    print_table,
    say,
    state_cell,
    style,
    write,
)
from riverrun.wire.runs import FlowRun, TaskRun
from riverrun.wire.states import BaseState, StateType

if TYPE_CHECKING:
    from riverrun.client.local import LocalStore
    from riverrun.client.remote import RemoteStore
    from riverrun.wire.logs import Log

    #: what commands read from
    Store = LocalStore | RemoteStore

_PAGE = 1000
_LEVELS = {"DEBUG": 10, "INFO": 20, "WARNING": 30, "ERROR": 40, "CRITICAL": 50}
_LEVEL_NAMES = {number: name for name, number in _LEVELS.items()}
_LEVEL_COLORS = {10: "bright_black", 20: "cyan", 30: "yellow", 40: "red", 50: "bright_red"}
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


@contextmanager
def reading() -> "Iterator[Store]":
    """The server's store, or without a server that of this machine, with everything that was written until now.

    What could not be taken in is told on stderr.
    """
    from riverrun.client.local import open_store
    from riverrun.client.location import api_url

    if api_url() is not None:
        from riverrun.client.remote import RemoteStore

        yield RemoteStore()
        return

    with open_store() as store:
        for note in store.notes:
            say(f"Note: {note}")
        yield store


# -- filters --------------------------------------------------------------------------------------------------------------


def since(_ctx: click.Context, param: click.Parameter, value: str | None) -> datetime | None:
    """`90s`, `10m`, `2h`, `3d`, `1w` ago, or a date or time in ISO 8601 (UTC if it does not say)."""
    if value is None:
        return None
    short = re.fullmatch(r"(\d+(?:\.\d+)?)([smhdw])", value.strip())
    try:
        if short:
            return now() - timedelta(seconds=float(short[1]) * _UNITS[short[2]])
        instant = datetime.fromisoformat(value)
    except (ValueError, OverflowError):
        message = f"{value!r} is neither a span such as 90s, 10m, 2h, 3d, 1w nor a date in ISO 8601."
        raise click.BadParameter(message, param=param) from None
    return instant if instant.tzinfo else instant.replace(tzinfo=UTC)


def list_options(command: F) -> F:
    """`--limit --state --state-type --json`, which every list of runs has."""
    for option in reversed(
        (
            click.option("--limit", type=click.IntRange(1), default=15, show_default=True, help="At most this many."),
            click.option("--state", "states", multiple=True, metavar="NAME", help="Only runs in a state of this name."),
            click.option(
                "--state-type",
                "state_types",
                multiple=True,
                type=click.Choice([kind.value for kind in StateType], case_sensitive=False),
                metavar="TYPE",
                help="Only runs in a state of this type (COMPLETED, FAILED ...).",
            ),
            json_option,
        )
    ):
        command = option(command)
    return command


def state_filters(states: Sequence[str], state_types: Sequence[str]) -> dict[str, Any]:
    """The arguments for the store; names of types may be written in any case."""
    names = {kind.value: kind.value.capitalize() for kind in StateType}
    return {
        "state_names": [names.get(name.upper(), name) for name in states] or None,
        "state_types": [StateType(kind.upper()) for kind in state_types] or None,
    }


# -- runs and their states ------------------------------------------------------------------------------------------------


def document(run: FlowRun | TaskRun, **more: Any) -> dict[str, Any]:
    """The JSON document of a run: the fields of the API, and more."""
    fields = run.model_dump(mode="json")
    fields["total_run_time"] = run.total_run_time
    return {**fields, **more}


def run_time(run: FlowRun | TaskRun) -> timedelta | None:
    """How long the run has been running, including now."""
    if run.start_time is None:
        return None
    if run.state_type is StateType.RUNNING and run.state is not None:
        return run.total_run_time + (now() - run.state.timestamp)
    return run.total_run_time


def state_of(run: FlowRun | TaskRun) -> Cell:
    """The run's state as a cell of a table."""
    return state_cell(run.state_type.value if run.state_type else None, run.state_name)


def history(states: Sequence[BaseState]) -> list[dict[str, Any]]:
    """The states in order, each with the seconds it lasted (None for the state the run is in)."""
    following: list[BaseState | None] = [*states[1:], None]
    return [
        {**state.model_dump(mode="json"), "seconds": after and (after.timestamp - state.timestamp).total_seconds()}
        for state, after in zip(states, following, strict=True)
    ]


def print_history(states: Sequence[BaseState]) -> None:
    """The states as a table with how long each lasted."""
    rows: list[Sequence[str]] = []
    following: list[BaseState | None] = [*states[1:], None]
    for state, after in zip(states, following, strict=True):
        if after is not None:
            lasted = duration(after.timestamp - state.timestamp)
        else:
            lasted = "" if state.is_final() else f"{duration(now() - state.timestamp)} so far"
        entered = state.timestamp.isoformat(sep=" ", timespec="milliseconds")
        rows.append((entered, state_cell(state.type.value, state.name), lasted, state.message or ""))
    print_table(("Entered", "State", ">For", "Message"), rows, title="States")


def time_fields(run: FlowRun | TaskRun) -> list[tuple[str, str]]:
    """The fields about time that runs of both kinds show."""
    return [
        ("Created", exactly_when(run.created)),
        ("Started", exactly_when(run.start_time)),
        ("Ended", exactly_when(run.end_time)),
        ("Run time", duration(run_time(run))),
        ("Run count", str(run.run_count)),
        ("Tags", ", ".join(run.tags) or "-"),
    ]


# -- logs -----------------------------------------------------------------------------------------------------------------


def _level(_ctx: click.Context, param: click.Parameter, value: str | None) -> int:
    if value is None:
        return 0
    if value.isdecimal():
        return int(value)
    try:
        return _LEVELS[value.upper()]
    except KeyError:
        raise click.BadParameter(f"{value!r} is none of {', '.join(_LEVELS)} nor a number.", param=param) from None


def logs_options(command: F) -> F:
    """The options of `flow-run logs` and `task-run logs`."""
    for option in reversed(
        (
            click.option("-h", "--head", is_flag=True, help="Only the first lines (20, or --num-logs)."),
            click.option("-t", "--tail", is_flag=True, help="Only the last lines (20, or --num-logs)."),
            click.option("-n", "--num-logs", type=click.IntRange(1), help="How many lines --head or --tail shows."),
            click.option("-r", "--reverse", is_flag=True, help="The latest line first."),
            click.option("--level", callback=_level, metavar="LEVEL", help="Only lines of this level and above."),
            json_option,
        )
    ):
        command = option(command)
    return command


def print_logs(
    store: "Store",
    ids: dict[str, UUID],
    *,
    head: bool,
    tail: bool,
    num_logs: int | None,
    reverse: bool,
    level: int,
    as_json: bool,
) -> None:
    """The lines of a run, each with the run that wrote it. `ids` says which run: flow_run_id or task_run_id."""
    if head and tail:
        raise click.UsageError("--head and --tail exclude each other.")
    if num_logs is not None and not (head or tail):
        head = True
    wanted = (num_logs or 20) if head or tail else None
    # the last lines are read from the end, so that their cost does not grow with the log
    newest_first = tail or (reverse and not head)
    lines: Iterable[Log] = _pages(store, ids, level, wanted, newest_first=newest_first)
    if newest_first != reverse:
        lines = reversed(list(lines))
    if as_json:
        print_json([line.model_dump(mode="json") for line in lines])
        return
    name_of = namer(store)
    for line in lines:
        write(line_of(line, name_of))


def line_of(line: "Log", name_of: "Callable[[Log], str]") -> str:
    """A log line as it is shown."""
    stamp = line.timestamp.isoformat(sep=" ", timespec="milliseconds").removesuffix("+00:00")
    shown = _LEVEL_NAMES.get(line.level, str(line.level)).ljust(8)
    shown = style(shown, fg=_LEVEL_COLORS.get(line.level // 10 * 10))
    return f"{stamp} | {shown}| {name_of(line)} - {plain(line.message)}"


def _pages(
    store: "Store", ids: dict[str, UUID], level: int, at_most: int | None, *, newest_first: bool
) -> "Iterator[Log]":
    offset = 0
    while at_most is None or offset < at_most:
        size = _PAGE if at_most is None else min(_PAGE, at_most - offset)
        page = store.logs(**ids, min_level=level, limit=size, offset=offset, newest_first=newest_first)
        yield from page
        if len(page) < size:
            return
        offset += size


def namer(store: "Store") -> "Callable[[Log], str]":
    names: dict[UUID, str] = {}

    def name_of(line: "Log") -> str:
        from riverrun.base.errors import NotFoundError

        run_id = line.task_run_id or line.flow_run_id
        if run_id is None:
            return line.name
        if run_id not in names:
            kind = "Task run" if line.task_run_id else "Flow run"
            try:
                run = store.task_run(run_id) if line.task_run_id else store.flow_run(run_id)
                names[run_id] = plain(f"{kind} {run.name!r}")
            except NotFoundError:  # its record is lost or not here yet; the line still speaks
                names[run_id] = f"{kind} {run_id}"
        return names[run_id]

    return name_of
