"""Which state a task run may enter next, where somebody asks: background tasks, subflows' task runs, old clients. Pure.

Ordinary task runs are orchestrated by the engine that runs them and only reported. The order of the rules is the peer's.
"""

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Any, Final

from msgspec import Struct, field
from msgspec.structs import replace

from riverrun.rules.decision import Answer, Decision, Effect, abort, accept, is_persisted, reject, wait
from riverrun.rules.retry import retries_left, retry_delay
from riverrun.wire.runs import RunPolicy, TaskRun
from riverrun.wire.states import TERMINAL_STATES, BaseState, StateDetails, StateType

SCHEDULED, PENDING, RUNNING, COMPLETED, FAILED, CANCELLED, CRASHED, PAUSED, CANCELLING = StateType

#: longer keys are refused
CACHE_KEY_CHARS = 2_000
#: seconds until a run that found the slots of a tag taken asks again
TAG_RETRY_SECONDS = 10.0


class TaskRunFacts(Struct, kw_only=True):
    """What the rules need to know of a task run."""

    state: BaseState | None = None
    run_count: int = 0
    policy: RunPolicy = field(default_factory=RunPolicy)
    #: of the flow run it belongs to; None for a run outside of flows
    flow_state_type: StateType | None = None
    flow_run_count: int = 0
    flow_run_run_count: int = 0
    #: the completed state that the proposed state's cache key leads to, if it has not expired
    cached: BaseState | None = None
    #: {tag: free slots} of the run's tags that are limited; a limit of 0 stands as -1
    tag_slots: dict[str, int] = field(default_factory=dict)


def facts_of(run: TaskRun) -> TaskRunFacts:
    """The facts that a run object holds; its flow run, the cache and limits are the server's to add."""
    return TaskRunFacts(
        state=run.state,
        run_count=run.run_count,
        policy=run.empirical_policy,
        flow_run_run_count=run.flow_run_run_count,
    )


class TaskDecision(Decision, kw_only=True):
    """A decision with the fields of the task run that change when it is written."""

    fields: dict[str, Any] = field(default_factory=dict)


def decide(facts: TaskRunFacts, proposed: BaseState, now: datetime, *, force: bool = False) -> TaskDecision:
    """The answer to a proposed state. Changes neither the facts nor the proposal; `force` leaves all rules out but the guard
    of persisted results and the release of slots.
    """
    case = _Case(facts, proposed, now)
    decision: Decision | None = None
    for rule in _FORCED if force else _RULES:
        decision = rule(case)
        if decision is not None:
            break
    if decision is None:
        decision = accept(case.proposed)
    written = decision.state
    effects: list[Effect] = []
    if written is not None:
        effects = [*case.effects] if decision.answer is Answer.ACCEPT else []
        effects.append(Effect.ANNOUNCE)
        if case.before is RUNNING and written.type is not RUNNING:
            effects.append(Effect.RELEASE_SLOT)
    return TaskDecision(
        answer=decision.answer,
        state=written,
        reason=decision.reason,
        delay=decision.delay,
        policy=decision.policy,
        effects=effects,
        fields=case.fields if written is not None else {},
    )


def decide_all(
    cases: Iterable[tuple[TaskRunFacts, BaseState]], now: datetime, *, force: bool = False
) -> list[TaskDecision]:
    """The answers to many proposals."""
    return [decide(facts, proposed, now, force=force) for facts, proposed in cases]


class _Case:
    """One proposal on its way through the rules; `proposed` is a copy that rules may complete."""

    __slots__ = ("after", "before", "details", "effects", "facts", "fields", "now", "present", "proposed")

    def __init__(self, facts: TaskRunFacts, proposed: BaseState, now: datetime) -> None:
        self.facts = facts
        self.now = now
        self.present = facts.state
        self.before: StateType | None = None if facts.state is None else facts.state.type
        self.proposed = replace(proposed, state_details=replace(proposed.state_details))
        self.details: StateDetails = self.proposed.state_details
        self.after: StateType = proposed.type
        self.effects: list[Effect] = []
        self.fields: dict[str, Any] = {}

    def instead(self, kind: StateType, message: str | None, **fields: Any) -> BaseState:
        """A state to write in the place of the proposed one."""
        return type(self.proposed)(type=kind, message=message, timestamp=self.now, **fields)


Rule = Callable[[_Case], Decision | None]


def _same_transition(case: _Case) -> Decision | None:
    mark = case.details.transition_id
    if mark is not None and case.present is not None and case.present.state_details.transition_id == mark:
        return reject("This transition has already been made.")
    return None


def _claimed_once(case: _Case) -> Decision | None:
    """A background task is taken by one worker only: who proposes Pending takes it."""
    if case.details.deferred and case.after is PENDING and case.before in (PENDING, RUNNING, CANCELLING, CANCELLED):
        return abort(f"The task run is {case.before.value.lower()}; somebody else has taken it.")
    return None


def _from_cache(case: _Case) -> Decision | None:
    cached = case.facts.cached
    if case.after is not RUNNING or case.details.cache_key is None or case.details.refresh_cache or cached is None:
        return None
    state = case.instead(
        COMPLETED,
        cached.message,
        name="Cached",
        data=cached.data,
        state_details=StateDetails(cache_key=case.details.cache_key),
    )
    return reject("The result of an equal run is in the cache.", state)


def _keep_persisted(case: _Case) -> Decision | None:
    if case.before is not COMPLETED or not is_persisted(case.present):
        return None
    if case.after is COMPLETED and not is_persisted(case.proposed):
        return reject("The run has completed and its result is stored; a completed state without it would lose it.")
    if case.after not in TERMINAL_STATES:
        return reject("The run has completed and its result is stored.")
    return None


def _leave_final(case: _Case) -> Decision | None:
    if case.before not in TERMINAL_STATES or case.present is None:
        return None
    if case.after in (CANCELLING, PAUSED, CRASHED):
        return abort(f"The run has already ended: it is {case.present.name}.")
    guarded = _keep_persisted(case)
    if guarded is not None:
        return guarded
    if case.after not in TERMINAL_STATES:
        case.fields["run_count"] = 0
        if case.after is RUNNING and case.facts.flow_run_count > case.facts.flow_run_run_count:
            case.proposed.name = "Retrying"
    return None


def _needs_running_flow(case: _Case) -> Decision | None:
    flow = case.facts.flow_state_type
    if case.after is not RUNNING or flow is None or flow is RUNNING:
        return None
    if flow is PAUSED:
        reason = "The flow run is paused; this task run waits until it goes on."
        return reject(reason, case.instead(PAUSED, reason, name="NotReady"))
    return abort(f"The flow run is {flow.value.lower()}; its task runs cannot start.")


def _take_tag_slots(case: _Case) -> Decision | None:
    if case.after is not RUNNING:
        return None
    for tag, free in case.facts.tag_slots.items():
        if free < 0:
            return abort(f"The concurrency limit of tag {tag!r} is 0.")
        if free == 0:
            return wait(TAG_RETRY_SECONDS, f"The concurrency limit of tag {tag!r} is reached.")
    if case.facts.tag_slots:
        case.effects.append(Effect.TAKE_SLOT)
    return None


def _keep_scheduled_time(case: _Case) -> None:
    if case.before is SCHEDULED and case.after is PENDING and case.present is not None:
        case.details.scheduled_time = case.present.state_details.scheduled_time


def _wait_for_time(case: _Case) -> Decision | None:
    if case.before not in (SCHEDULED, PENDING) or case.after is not RUNNING or case.present is None:
        return None
    when = case.present.state_details.scheduled_time
    ahead = 0.0 if when is None else (when - case.now).total_seconds()
    if when is not None and ahead > 0:
        return wait(-(-ahead // 1), f"The run is scheduled for {when.isoformat(timespec='seconds')}.")
    return None


def _retry(case: _Case) -> Decision | None:
    policy, facts = case.facts.policy, case.facts
    if case.before is not RUNNING or case.after is not FAILED or case.details.retriable is False:
        return None
    retries = policy.retries or 0
    if not retries_left(facts.run_count, retries):
        return None
    delay = retry_delay(policy.retry_delay, policy.retry_jitter_factor, facts.run_count)
    state = case.instead(
        SCHEDULED,
        case.proposed.message,
        name="AwaitingRetry",
        data=case.proposed.data,
        state_details=StateDetails(scheduled_time=case.now + timedelta(seconds=delay)),
    )
    return reject(f"The run failed; retry {facts.run_count} of {retries} starts in {delay:g} s.", state)


def _rename(case: _Case) -> None:
    if case.after is RUNNING and case.facts.run_count > 0 and case.present is not None:
        case.proposed.name = "Retrying" if case.present.name == "AwaitingRetry" else "Rerunning"
    if case.after is RUNNING:
        case.fields["flow_run_run_count"] = case.facts.flow_run_count


def _insert_cache_key(case: _Case) -> Decision | None:
    key = case.details.cache_key
    if case.after is not COMPLETED or case.before is COMPLETED or key is None:
        return None
    if len(key) > CACHE_KEY_CHARS:
        # the run has ended all the same
        case.details.cache_key = None
        reason = f"The cache key has {len(key)} characters; at most {CACHE_KEY_CHARS} are allowed: nothing is cached."
        return reject(reason, case.proposed)
    case.effects.append(Effect.INSERT_CACHE_KEY)
    return None


_RULES: Final[tuple[Rule, ...]] = (
    _same_transition,
    _claimed_once,
    _from_cache,
    _leave_final,
    _needs_running_flow,
    _take_tag_slots,
    _keep_scheduled_time,
    _wait_for_time,
    _retry,
    _rename,
    _insert_cache_key,
)
_FORCED: Final[tuple[Rule, ...]] = (_keep_persisted,)
