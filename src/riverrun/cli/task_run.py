"""`riverrun task-run`: list and inspect task runs; read their logs."""

from typing import Any

import click

from riverrun.cli.groups import Group, json_option
from riverrun.cli.output import duration, print_fields, print_json, print_table, say, when, write
from riverrun.cli.runs import (
    document,
    history,
    list_options,
    logs_options,
    print_history,
    print_logs,
    reading,
    run_time,
    state_filters,
    state_of,
    time_fields,
)
from riverrun.wire.runs import RunInput


@click.group(cls=Group)
def task_run() -> None:
    """List and inspect task runs; read their logs. A run is named by its ID, the start of it, or its name."""


@task_run.command()
@click.option("--flow-run", metavar="ID", help="Only task runs of this flow run.")
@list_options
def ls(
    *, flow_run: str | None, limit: int, states: tuple[str, ...], state_types: tuple[str, ...], as_json: bool
) -> None:
    """List task runs, the latest first."""
    with reading() as store:
        flow_run_id = None if flow_run is None else store.flow_run(flow_run).id
        runs = store.task_runs(flow_run_id=flow_run_id, limit=limit, **state_filters(states, state_types))
    if as_json:
        print_json([document(run) for run in runs])
        return
    if not runs:
        say("No task runs.")
        return
    print_table(
        ("ID", "Name", "State", "When", ">Run time"),
        [
            (
                str(run.id),
                run.name,
                state_of(run),
                when(run.start_time or run.expected_start_time or run.created),
                duration(run_time(run)),
            )
            for run in runs
        ],
    )


@task_run.command()
@click.argument("run", metavar="ID")
@json_option
def inspect(run: str, as_json: bool) -> None:
    """Show a task run: its states with their times, and where its inputs came from."""
    with reading() as store:
        found = store.task_run(run)
        states = store.task_run_states(found.id)
    if as_json:
        print_json(document(found, states=history(states)))
        return
    fields = [
        ("ID", str(found.id)),
        ("Name", found.name),
        ("Task", found.task_key),
        ("Flow run", str(found.flow_run_id or "-")),
        ("State", state_of(found)),
        ("Message", (found.state.message if found.state else None) or "-"),
        *time_fields(found),
        ("Cache key", found.cache_key or "-"),
    ]
    fields += [(f"Input {name}", ", ".join(map(_origin, inputs)) or "-") for name, inputs in found.task_inputs.items()]
    print_fields(fields)
    write("")
    print_history(states)


@task_run.command()
@click.argument("run", metavar="ID")
@logs_options
def logs(run: str, **options: Any) -> None:
    """Show the logs of a task run."""
    with reading() as store:
        print_logs(store, {"task_run_id": store.task_run(run).id}, **options)


def _origin(source: RunInput) -> str:
    return f"{source.input_type.replace('_', ' ')} {source.id or source.name or source.type or ''}".rstrip()
