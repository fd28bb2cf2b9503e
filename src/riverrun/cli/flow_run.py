"""`riverrun flow-run`: list, inspect and delete flow runs; read their logs."""

from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from riverrun.cli.groups import Group, confirm, json_option
from riverrun.cli.output import duration, print_fields, print_json, print_table, say, state_cell, when, write
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
from riverrun.cli.runs import since as parse_since

if TYPE_CHECKING:
    from riverrun.client.local import LocalStore
    from riverrun.wire.runs import FlowRun


@click.group(cls=Group)
def flow_run() -> None:
    """List, inspect and delete flow runs; read their logs. A run is named by its ID, the start of it, or its name."""


@flow_run.command()
@click.option("--flow-name", "flow_names", multiple=True, metavar="NAME", help="Only runs of this flow.")
@click.option("--tag", "tags", multiple=True, metavar="TAG", help="Only runs with this tag; given twice, with both.")
@click.option(
    "--since", callback=parse_since, metavar="WHEN", help="Only runs from then on: 10m, 2h, 3d, 2026-01-31, ..."
)
@list_options
def ls(
    *,
    flow_names: tuple[str, ...],
    tags: tuple[str, ...],
    since: datetime | None,
    limit: int,
    states: tuple[str, ...],
    state_types: tuple[str, ...],
    as_json: bool,
) -> None:
    """List flow runs, the latest first."""
    with reading() as store:
        runs = store.flow_runs(
            limit=limit,
            flow_names=list(flow_names) or None,
            tags=list(tags) or None,
            since=since,
            **state_filters(states, state_types),
        )
        flows = store.flow_names([run.flow_id for run in runs])
    if as_json:
        print_json([document(run, flow_name=run.flow_id and flows.get(run.flow_id)) for run in runs])
        return
    if not runs:
        say("No flow runs.")
        return
    print_table(
        ("ID", "Flow", "Name", "State", "When", ">Run time"),
        [
            (
                str(run.id),
                flows.get(run.flow_id, "-") if run.flow_id else "-",
                run.name,
                state_of(run),
                when(run.start_time or run.expected_start_time or run.created),
                duration(run_time(run)),
            )
            for run in runs
        ],
    )


@flow_run.command()
@click.argument("run", metavar="ID")
@json_option
def inspect(run: str, as_json: bool) -> None:
    """Show a flow run: its states with their times, and what became of its task runs."""
    with reading() as store:
        found = store.flow_run(run)
        flow = _flow_name(store, found)
        states = store.flow_run_states(found.id)
        tasks = {kind.value if kind else "NONE": count for kind, count in store.counts(flow_run_id=found.id).items()}
        lost = store.lost(flow_run_id=found.id)
    if as_json:
        lost_doc = [stretch.model_dump(mode="json") for stretch in lost]
        print_json(document(found, flow_name=flow, states=history(states), task_run_counts=tasks, lost=lost_doc))
        return
    fields = [
        ("ID", str(found.id)),
        ("Name", found.name),
        ("Flow", flow or "-"),
        ("State", state_of(found)),
        ("Message", (found.state.message if found.state else None) or "-"),
        *time_fields(found),
        ("Version", found.flow_version or "-"),
    ]
    if found.parent_task_run_id:
        fields.append(("Parent", f"task run {found.parent_task_run_id}"))
    fields += [(f"Parameter {name}", _shown(value)) for name, value in found.parameters.items()]
    print_fields(fields)
    write("")
    print_history(states)
    if tasks:
        write("")
        rows = [(state_cell(kind, kind.capitalize()), str(count)) for kind, count in tasks.items()]
        print_table(("State", ">Count"), rows, title="Task runs")
    for stretch in lost:
        say(f"Note: records {stretch.first} to {stretch.last} of this run's journal are lost: {stretch.why}")


@flow_run.command()
@click.argument("run", metavar="ID")
@logs_options
def logs(run: str, **options: Any) -> None:
    """Show the logs of a flow run and of its task runs."""
    with reading() as store:
        print_logs(store, {"flow_run_id": store.flow_run(run).id}, **options)


@flow_run.command()
@click.argument("runs", metavar="ID...", nargs=-1, required=True)
def delete(runs: tuple[str, ...]) -> None:
    """Delete flow runs with their task runs, states and logs."""
    with reading() as store:
        found = {run.id: run for run in map(store.flow_run, runs)}  # all are found before one is deleted
        names = ", ".join(repr(run.name) for run in found.values())
        confirm(f"Delete {len(found)} flow run{'s' if len(found) > 1 else ''} ({names})?")
        for run in found.values():
            store.delete_flow_run(run.id)
            say(f"Deleted flow run {run.name!r} ({run.id}).")


def _flow_name(store: "LocalStore", run: "FlowRun") -> str | None:
    return None if run.flow_id is None else store.flow_name(run.flow_id)


def _shown(value: Any) -> str:
    import msgspec

    return msgspec.json.encode(value).decode()
