"""What happened under a test harness: runs, states and log lines, read from a journal in memory, and assertions on them.

Nothing here runs a flow or changes a setting; `testing.utilities` does.
"""

import logging
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any
from uuid import UUID

import msgspec

from riverrun.base.clock import from_micros
from riverrun.base.ids import uuid7
from riverrun.client.journal import MemoryJournal
from riverrun.rules import bookkeeping
from riverrun.states import State
from riverrun.wire.journal import (
    FlowRunRecord,
    LogRecord,
    RunUpdateRecord,
    StateRecord,
    TaskRunRecord,
)
from riverrun.wire.logs import Log
from riverrun.wire.runs import FlowRun, RunInput, RunPolicy, TaskRun
from riverrun.wire.states import TYPES_BY_CODE, StateDetails

if TYPE_CHECKING:
    from datetime import timedelta

    from riverrun.flows import Flow
    from riverrun.tasks import Task

Run = FlowRun | TaskRun
#: a run, its state or future, its id, or its name
RunReference = Any


class Harness:
    """Looks at the runs of a test. Yielded by `riverrun_test_harness`.

    Objects are made anew from the journal on every access: they show how things stood then.
    """

    def __init__(self, journal: MemoryJournal) -> None:
        self._journal = journal

    # -- what happened -----------------------------------------------------------------------------------------------

    @property
    def flow_runs(self) -> list[FlowRun]:
        """All flow runs, in the order in which they came into being."""
        return [run for run in self.runs() if isinstance(run, FlowRun)]

    @property
    def task_runs(self) -> list[TaskRun]:
        """All task runs, in the order in which they came into being; a subflow run has one in its parent."""
        return [run for run in self.runs() if isinstance(run, TaskRun)]

    def runs(self) -> list[Run]:
        """All flow runs and task runs, in the order in which they came into being."""
        return list(self._fold().runs.values())

    def run(self, reference: RunReference) -> Run:
        """The run with this id or name, of this state or future; raises AssertionError if there is not exactly one."""
        return self._fold().find(reference)

    def flow_name(self, reference: RunReference) -> str:
        """The name of the flow that a flow run is of."""
        story = self._fold()
        return story.flow_names[story.find(reference).id.bytes]

    def states(self, reference: RunReference) -> list[State[Any]]:
        """The states that a run went through, oldest first. Results that were not persisted are not in them."""
        story = self._fold()
        return story.states[story.find(reference).id.bytes]

    def logs(self, reference: RunReference = None, level: int | str = logging.NOTSET) -> list[Log]:
        """The log lines, of one run if it is named (a flow run's include those of its task runs), from a level up."""
        story = self._fold()
        run = None if reference is None else story.find(reference)
        least = logging.getLevelName(level.upper()) if isinstance(level, str) else level
        return [
            line
            for line in story.logs
            if line.level >= least and (run is None or run.id in {line.flow_run_id, line.task_run_id})
        ]

    # -- assertions --------------------------------------------------------------------------------------------------

    def assert_state_history(self, reference: RunReference, names: Sequence[str]) -> None:
        """Fail unless the run went through states of exactly these names, in this order."""
        __tracebackhide__ = True
        story = self._fold()
        run = story.find(reference)
        states = story.states[run.id.bytes]
        if [state.name for state in states] != list(names):
            went = "\n".join(f"  {state.name}: {state.message or ''}".rstrip(": ") for state in states)
            raise AssertionError(
                f"run {run.name!r} should have gone through {', '.join(names)}, but it went through:\n{went}"
            )

    def assert_logged(self, text: str, *, level: int | str = logging.NOTSET, run: RunReference = None) -> None:
        """Fail unless a line that contains `text` was logged (by a run, from a level up)."""
        __tracebackhide__ = True
        lines = self.logs(run, level)
        if not any(text in line.message for line in lines):
            said = "\n".join(f"  {logging.getLevelName(line.level)} {line.message}" for line in lines) or "  nothing"
            raise AssertionError(f"no line contains {text!r}; what was logged:\n{said}")

    def assert_ran(self, what: "Flow[..., Any] | Task[..., Any] | str", times: int | None = None) -> None:
        """Fail unless the flow or task (or a flow or task of this name) has run, `times` times if that is given."""
        __tracebackhide__ = True
        story = self._fold()
        found = story.runs_of(what)
        name = what if isinstance(what, str) else what.name
        if (times is None and not found) or (times is not None and len(found) != times):
            ran = ", ".join(sorted({story.owner_name(run) for run in story.runs.values()})) or "nothing"
            wanted = "have run" if times is None else f"have run {times} time(s)"
            raise AssertionError(f"{name!r} should {wanted}, it ran {len(found)} time(s); what ran: {ran}")

    def _fold(self) -> "_Story":
        return _Story(list(self._journal.records))


class _Story:
    """The records of a journal, folded into runs as a store would."""

    def __init__(self, records: Iterable[Any]) -> None:
        self.runs: dict[bytes, Run] = {}
        self.states: dict[bytes, list[State[Any]]] = {}
        self.flow_names: dict[bytes, str] = {}
        self.logs: list[Log] = []
        self._mirrors: set[bytes] = set()
        for record in records:
            if isinstance(record, StateRecord):
                self._enter(record)
            elif isinstance(record, TaskRunRecord):
                self._add(record.id, _task_run(record))
            elif isinstance(record, FlowRunRecord):
                self._add(record.id, _flow_run(record))
                self.flow_names[record.id] = record.flow_name
                if record.parent_task_run_id is not None:
                    self._mirrors.add(record.parent_task_run_id)
            elif isinstance(record, RunUpdateRecord):
                self._update(record)
            elif isinstance(record, LogRecord):
                self.logs.append(_log(record))

    def _add(self, run_id: bytes, run: Run) -> None:
        self.runs[run_id] = run
        self.states[run_id] = []

    def _enter(self, record: StateRecord) -> None:
        run = self.runs.get(record.run_id)
        if run is None:
            return
        details = msgspec.convert(record.details or {}, StateDetails, strict=False)
        if isinstance(run, TaskRun):
            details.task_run_id, details.flow_run_id = run.id, run.flow_run_id
        else:
            details.flow_run_id = run.id
        state: State[Any] = State(
            type=TYPES_BY_CODE[record.type],
            name=record.name,
            message=record.message,
            data=record.data,
            timestamp=from_micros(record.timestamp),
            id=UUID(bytes=record.id),
            state_details=details,
        )
        tick: timedelta = type(run.total_run_time)(microseconds=1)
        bookkeeping.enter(run, state.type, state.timestamp, details.scheduled_time, tick)
        run.state, run.state_id, run.state_name = state, state.id, state.name
        self.states[record.run_id].append(state)

    def _update(self, record: RunUpdateRecord) -> None:
        run = self.runs.get(record.run_id)
        for name, value in record.fields.items():
            if run is not None and name in run.__struct_fields__:
                setattr(run, name, value)

    def find(self, reference: RunReference) -> Run:
        wanted = _id_of(reference)
        if wanted is not None:
            run = self.runs.get(wanted)
            if run is None:
                raise AssertionError(f"there is no run {UUID(bytes=wanted)} under this harness")
            return run
        if not isinstance(reference, str):
            raise TypeError(f"a run is named by itself, its state, future, id or name, not by {reference!r}")
        named = [run for run in self.runs.values() if run.name == reference] or self.runs_of(reference)
        if len(named) != 1:
            names = ", ".join(run.name for run in named or self.runs.values()) or "none"
            raise AssertionError(f"{len(named)} runs are named {reference!r}; runs: {names}")
        return named[0]

    def runs_of(self, what: "Flow[..., Any] | Task[..., Any] | str") -> list[Run]:
        if isinstance(what, str):
            return [run for key, run in self.runs.items() if key not in self._mirrors and self.owner_name(run) == what]
        task_key = getattr(what, "task_key", None)
        if task_key is not None:
            return [run for run in self.runs.values() if isinstance(run, TaskRun) and run.task_key == task_key]
        return [self.runs[key] for key, name in self.flow_names.items() if name == what.name]

    def owner_name(self, run: Run) -> str:
        """The name of the flow or task that a run is of."""
        if isinstance(run, FlowRun):
            return self.flow_names[run.id.bytes]
        return run.task_key.rpartition("-")[0] or run.task_key


def _id_of(reference: RunReference) -> bytes | None:
    if isinstance(reference, FlowRun | TaskRun):
        return reference.id.bytes
    if isinstance(reference, State):
        details = reference.state_details
        reference = details.task_run_id or details.flow_run_id
    elif hasattr(reference, "task_run_id"):
        reference = reference.task_run_id
    if isinstance(reference, UUID):
        return reference.bytes
    if isinstance(reference, str):
        try:
            return UUID(reference).bytes
        except ValueError:
            return None
    return None


def _flow_run(record: FlowRunRecord) -> FlowRun:
    try:
        parameters = msgspec.json.decode(record.parameters)
    except msgspec.DecodeError:
        parameters = {}
    return FlowRun(
        id=UUID(bytes=record.id),
        name=record.name,
        created=from_micros(record.created),
        flow_version=record.flow_version,
        parameters=parameters,
        tags=list(record.tags),
        parent_task_run_id=_uuid(record.parent_task_run_id),
        deployment_id=_uuid(record.deployment_id),
        empirical_policy=RunPolicy(retries=record.retries, retry_delay=record.retry_delay),
    )


def _task_run(record: TaskRunRecord) -> TaskRun:
    return TaskRun(
        id=UUID(bytes=record.id),
        name=record.name,
        created=from_micros(record.created),
        flow_run_id=_uuid(record.flow_run_id),
        task_key=record.task_key,
        dynamic_key=record.dynamic_key,
        task_version=record.task_version,
        tags=list(record.tags),
        flow_run_run_count=record.flow_run_run_count,
        empirical_policy=RunPolicy(
            retries=record.retries,
            retry_delay=record.retry_delay,
            retry_jitter_factor=record.retry_jitter_factor,
        ),
        task_inputs={name: [_input(*source) for source in sources] for name, sources in record.inputs.items()},
    )


def _input(kind: Any, run_id: bytes | None, name: str | None) -> RunInput:
    if run_id is not None:
        return RunInput(input_type=kind, id=UUID(bytes=run_id))
    return RunInput(input_type=kind, type=name) if kind == "constant" else RunInput(input_type=kind, name=name)


def _log(record: LogRecord) -> Log:
    return Log(
        id=uuid7(),
        name=record.name,
        level=record.level,
        message=record.message,
        timestamp=from_micros(record.timestamp),
        flow_run_id=_uuid(record.flow_run_id),
        task_run_id=_uuid(record.task_run_id),
    )


def _uuid(raw: bytes | None) -> UUID | None:
    return None if raw is None else UUID(bytes=raw)
