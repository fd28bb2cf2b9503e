"""`riverrun flow-run`: list, inspect and delete flow runs; read their logs."""

from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

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
    from riverrun.cli.runs import Store
    from riverrun.states import State
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
@click.argument("run", metavar="ID")
@json_option
def why(run: str, as_json: bool) -> None:
    """Say why a flow run is not running, what holds it up, and when it may start."""
    from riverrun.client.calls.flow_runs import why_flow_run
    from riverrun.client.http import send
    from riverrun.client.location import ensure_api_url

    run_id = _run_id(run)
    ensure_api_url()
    said = send(why_flow_run(run_id))
    if as_json:
        print_json(said.model_dump(mode="json"))
        return
    write(said.sentence)
    for reason in said.reasons[1:]:
        write(f"- {reason.message}.")
    if said.predicted_start is not None:
        write(f"It may start {when(said.predicted_start)}.")


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


# -- doing something with runs ----------------------------------------------------------------------------------------------


def _run_id(text: str) -> UUID:
    with reading() as store:
        return store.flow_run(text).id


@flow_run.command()
@click.argument("run", metavar="ID", required=False)
def execute(run: str | None) -> None:
    """Execute a flow run that was made for a deployment, here and now. Without ID: RIVERRUN__FLOW_RUN_ID.

    Only one process gets a run: where another has it, or it has ended, this says so and ends well.
    """
    from riverrun.execution import main

    code = main(run)
    if code:
        raise click.exceptions.Exit(code)


@flow_run.command()
@click.argument("runs", metavar="ID...", nargs=-1, required=True)
def cancel(runs: tuple[str, ...]) -> None:
    """Cancel flow runs: their code is interrupted where they run, and what has not begun does not begin."""
    from riverrun.states import Cancelling

    for run_id in [_run_id(text) for text in runs]:
        _propose(run_id, Cancelling(), "cancelled", f"Flow run {run_id} is being cancelled.")


@flow_run.command()
@click.argument("run", metavar="ID")
def retry(run: str) -> None:
    """Run a flow run of a deployment once more, by whoever runs that deployment."""
    from riverrun.states import Scheduled

    run_id = _run_id(run)
    _propose(run_id, Scheduled(name="AwaitingRetry"), "retried", f"Flow run {run_id} is scheduled to run again.")


@flow_run.command()
@click.argument("run", metavar="ID")
@click.option(
    "--timeout", type=click.FloatRange(0, min_open=True), metavar="SECONDS", help="Resume it by then, or it fails."
)
def pause(run: str, timeout: float | None) -> None:
    """Suspend a run of a deployment: it goes on, in another process, when it is resumed."""
    from uuid import uuid4

    from riverrun.states import Suspended

    run_id = _run_id(run)
    state: State[Any] = Suspended(timeout_seconds=timeout, pause_key=str(uuid4()))
    _propose(run_id, state, "suspended", f"Flow run {run_id} is suspended.")


@flow_run.command()
@click.argument("run", metavar="ID")
@click.option("--input", "run_input", metavar="JSON", help="What the run waits for, as a JSON object.")
def resume(run: str, run_input: str | None) -> None:
    """Let a paused or suspended flow run go on."""
    import msgspec

    from riverrun.base.errors import OrchestrationError
    from riverrun.flow_runs import resume_flow_run

    try:
        given = None if run_input is None else msgspec.json.decode(run_input, type=dict[str, Any])
    except msgspec.MsgspecError as error:
        raise click.UsageError(f"--input is not a JSON object: {error}") from None
    run_id = _run_id(run)
    try:
        resume_flow_run(run_id, given)
    except (OrchestrationError, RuntimeError) as error:
        raise click.ClickException(str(error)) from None
    say(f"Flow run {run_id} goes on.")


@flow_run.command()
@click.argument("run", metavar="ID")
@click.option("--timeout", type=click.FloatRange(0, min_open=True), metavar="SECONDS", help="Wait no longer.")
def watch(run: str, timeout: float | None) -> None:
    """Show the states and log lines of a flow run as they come, until it ends. Exit code 0 if it completed."""
    from riverrun.cli.watching import watch_flow_run

    state = watch_flow_run(_run_id(run), timeout)
    if not state.is_completed():
        raise click.exceptions.Exit(1)


def _propose(run_id: UUID, state: "State[Any]", what: str, done: str) -> None:
    """Propose a state, and say what became of it."""
    from riverrun.client.talk import hold
    from riverrun.engine.pausing import propose

    result = hold(propose(run_id, state))
    if result.status == "ACCEPT":
        say(done)
        return
    if result.status == "REJECT" and result.state is not None:
        say(f"Flow run {run_id} is {result.state.name}: {result.details.reason}")
        return
    raise click.ClickException(f"Flow run {run_id} cannot be {what}: {result.details.reason}")


def _flow_name(store: "Store", run: "FlowRun") -> str | None:
    return None if run.flow_id is None else store.flow_name(run.flow_id)


def _shown(value: Any) -> str:
    import msgspec

    return msgspec.json.encode(value).decode()
