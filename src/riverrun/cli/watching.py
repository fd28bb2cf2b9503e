"""`riverrun flow-run watch`: the states and lines of a run as they come."""

import time
from typing import TYPE_CHECKING, Any
from uuid import UUID

from riverrun.cli.output import plain, state_cell, style, write
from riverrun.cli.runs import line_of, namer, reading
from riverrun.wire.states import BaseState

if TYPE_CHECKING:
    from riverrun.cli.runs import Store

#: seconds between two looks
_LOOK = 0.25
_PAGE = 200


def watch_flow_run(run_id: UUID, timeout: float | None) -> BaseState:
    """Show what happens until the run has ended; its last state. Raises FlowRunWaitTimeout."""
    from riverrun.base.errors import FlowRunWaitTimeout

    deadline = None if timeout is None else time.monotonic() + timeout
    seen_states = seen_lines = 0
    while True:
        # opened anew each time: without a server this is what takes the journals in
        with reading() as store:
            states = store.flow_run_states(run_id)
            lines = _new_lines(store, run_id, seen_lines)
            name_of = namer(store)
            for state in states[seen_states:]:
                _show(state)
            for line in lines:
                write(line_of(line, name_of))
        seen_states, seen_lines = len(states), seen_lines + len(lines)
        if states and states[-1].is_final() and not lines:
            return states[-1]
        if deadline is not None and time.monotonic() >= deadline:
            raise FlowRunWaitTimeout(f"Flow run {run_id} has not ended within {timeout:g} seconds.")
        time.sleep(_LOOK)


def _new_lines(store: "Store", run_id: UUID, seen: int) -> list[Any]:
    lines: list[Any] = []
    while True:
        page = store.logs(flow_run_id=run_id, limit=_PAGE, offset=seen + len(lines))
        lines += page
        if len(page) < _PAGE:
            return lines


def _show(state: BaseState) -> None:
    entered = state.timestamp.isoformat(sep=" ", timespec="milliseconds").removesuffix("+00:00")
    cell = state_cell(state.type.value, state.name)
    message = f": {plain(state.message)}" if state.message else ""
    write(f"{entered} | {style(cell, fg=cell.color)}{message}")
