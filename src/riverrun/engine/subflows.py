"""What a flow run that may be retried remembers of its subflow runs from one attempt to the next.

A subflow whose result is kept and which completed in an earlier attempt is not run again when it is called with equal
parameters; the n-th call of a flow is shown by the same task run in every attempt. Without retries nothing is remembered.
"""

from typing import TYPE_CHECKING, Any, NamedTuple

from riverrun.wire.runs import FlowRun, TaskRun
from riverrun.wire.states import StateType

if TYPE_CHECKING:
    from riverrun.context import FlowRunContext
    from riverrun.states import State

#: the flow's task key and the hash of the parameters
Call = tuple[str, str]


class Outcome(NamedTuple):
    """How a subflow run ended that need not be run again."""

    run: FlowRun
    state: "State[Any]"
    value: Any


class Subflows:
    """The subflow runs of one flow run."""

    __slots__ = ("_asked", "_calls", "_kept", "_stand_ins")

    def __init__(self) -> None:
        self._stand_ins: dict[str, list[TaskRun]] = {}
        self._kept: dict[Call, list[Outcome]] = {}
        self.begin_attempt()

    def begin_attempt(self) -> None:
        """Count from the start again: the calls of this attempt are compared with those before."""
        self._calls: dict[str, int] = {}
        self._asked: dict[Call, int] = {}

    def stand_in(self, task_key: str) -> TaskRun | None:
        """The task run that showed this call of a flow in an earlier attempt, if it has ended."""
        number = self._calls.get(task_key, 0)
        self._calls[task_key] = number + 1
        earlier = self._stand_ins.get(task_key, ())
        if number >= len(earlier):
            return None
        state = earlier[number].state
        return earlier[number] if state is not None and state.is_final() else None

    def note_stand_in(self, run: TaskRun) -> None:
        self._stand_ins.setdefault(run.task_key, []).append(run)

    def outcome(self, call: Call) -> Outcome | None:
        """The outcome of the n-th call with these parameters that completed before, n counted in this attempt."""
        number = self._asked.get(call, 0)
        self._asked[call] = number + 1
        kept = self._kept.get(call, ())
        return kept[number] if number < len(kept) else None

    def keep(self, call: Call, outcome: Outcome) -> None:
        """Remember an outcome, if its result was stored."""
        if outcome.state.type is StateType.COMPLETED and getattr(outcome.state.data, "metadata", None) is not None:
            self._kept.setdefault(call, []).append(outcome)


def subflows_of(context: "FlowRunContext | None") -> Subflows | None:
    """What the flow run of a context remembers; None if it can't be retried."""
    if context is None or context.flow is None or not context.flow.retries or context.detached:
        return None
    if context._subflows is None:
        context._subflows = Subflows()
    memory: Subflows = context._subflows
    return memory


def call_of(task_key: str, parameters: dict[str, Any]) -> Call | None:
    """What tells a call from calls with other parameters; None if they have no stable form."""
    from riverrun.utilities.hashing import hash_objects

    digest = hash_objects(parameters)
    return None if digest is None else (task_key, digest)
