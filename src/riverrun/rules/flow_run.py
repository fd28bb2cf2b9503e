"""Which state a flow run may enter next. Pure: facts in, a decision out; whoever calls applies it in one transaction.

The rules and their order are those of the peer's protocol (section 3 of its page, numbers in the comments), so that its
clients find what they expect. They run in order until one answers; what they note in the proposed state and the policy holds
only if the answer writes a state.
"""

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from msgspec import Struct, field
from msgspec.structs import replace

from riverrun.rules.decision import ACTIVE, Answer, Decision, Effect, abort, accept, is_persisted, reject, wait
from riverrun.rules.retry import retries_left, retry_delay
from riverrun.wire.runs import FlowRun, RunPolicy
from riverrun.wire.states import TERMINAL_STATES, BaseState, StateDetails, StateType

SCHEDULED, PENDING, RUNNING, COMPLETED, FAILED, CANCELLED, CRASHED, PAUSED, CANCELLING = StateType

#: seconds until a run that found no slot free asks again
SLOT_RETRY_SECONDS = 30.0


class DeploymentSlots(Struct, kw_only=True):
    """What is known of the concurrency limit of the run's deployment; `free` is counted in the same transaction."""

    limit: int
    free: int
    cancel_new: bool = False
    #: the lease that the run's present state names is gone: its slot was given away
    lease_lost: bool = False


class FlowRunFacts(Struct, kw_only=True):
    """What the rules need to know of a flow run."""

    state: BaseState | None = None
    run_count: int = 0
    policy: RunPolicy = field(default_factory=RunPolicy)
    deployment_id: UUID | None = None
    has_process: bool = False
    has_parent: bool = False
    slots: DeploymentSlots | None = None
    #: the client is too old to renew its lease
    renews_lease: bool = True


def facts_of(run: FlowRun) -> FlowRunFacts:
    """The facts that a run object holds; limits of its deployment are the server's to add."""
    return FlowRunFacts(
        state=run.state,
        run_count=run.run_count,
        policy=run.empirical_policy,
        deployment_id=run.deployment_id,
        has_parent=run.parent_task_run_id is not None,
    )


def decide(facts: FlowRunFacts, proposed: BaseState, now: datetime, *, force: bool = False) -> Decision:
    """The answer to a proposed state. Changes neither the facts nor the proposal.

    With `force` only the guard of persisted results, the shortcut for cancelling what has no process, the event and the
    release of slots remain.
    """
    case = _Case(facts, proposed, now)
    decision: Decision | None = None
    for rule in _FORCED if force else _RULES:
        decision = rule(case)
        if decision is not None:
            break
    if decision is None:
        decision = accept(case.proposed)
    decision.policy = {**case.policy, **decision.policy} if decision.writes else {}
    if decision.writes:
        _after(case, decision)
    return decision


def decide_all(
    cases: Iterable[tuple[FlowRunFacts, BaseState]], now: datetime, *, force: bool = False
) -> list[Decision]:
    """The answers to many proposals."""
    return [decide(facts, proposed, now, force=force) for facts, proposed in cases]


class _Case:
    """One proposal on its way through the rules; `proposed` is a copy that rules may complete."""

    __slots__ = ("after", "before", "details", "effects", "facts", "now", "policy", "present", "proposed")

    def __init__(self, facts: FlowRunFacts, proposed: BaseState, now: datetime) -> None:
        self.facts = facts
        self.now = now
        self.present = facts.state
        self.before: StateType | None = None if facts.state is None else facts.state.type
        self.proposed = replace(proposed, state_details=replace(proposed.state_details))
        self.details: StateDetails = self.proposed.state_details
        self.after: StateType = proposed.type
        self.policy: dict[str, Any] = {}
        self.effects: list[Effect] = []

    def instead(self, kind: StateType, message: str, **fields: Any) -> BaseState:
        """A state to write in the place of the proposed one."""
        return type(self.proposed)(type=kind, message=message, timestamp=self.now, **fields)


Rule = Callable[[_Case], Decision | None]


def _carry_lease(case: _Case) -> None:  # 1
    if case.present is not None and case.details.deployment_concurrency_lease_id is None:
        case.details.deployment_concurrency_lease_id = case.present.state_details.deployment_concurrency_lease_id


def _same_transition(case: _Case) -> Decision | None:  # 2
    mark = case.details.transition_id
    if mark is not None and case.present is not None and case.present.state_details.transition_id == mark:
        return reject("This transition has already been made.")
    return None


def _leave_final(case: _Case) -> Decision | None:  # 3
    if case.before not in TERMINAL_STATES:
        return None
    after = case.after
    if after in (CANCELLING, PAUSED, CRASHED):
        return abort(f"The run has already ended: it is {case.present.name}.")  # type: ignore[union-attr]
    guarded = _keep_persisted(case)
    if guarded is not None:
        return guarded
    if after in TERMINAL_STATES:
        return None
    if after is RUNNING:
        # stricter than the peer, which runs it again (RELIABILITY R8): a new attempt starts from Scheduled or Pending
        return abort(f"The run has already ended: it is {case.present.name}. Schedule it again to run it once more.")  # type: ignore[union-attr]
    if after is SCHEDULED and case.facts.deployment_id is None:
        return abort("A run without a deployment cannot be scheduled again: no process would start it.")
    retry_type = "reschedule" if after is SCHEDULED else None
    case.policy.update(resuming=False, pause_keys=[], retry_type=retry_type)
    return None


def _keep_persisted(case: _Case) -> Decision | None:
    """Part of 3, also under force: the reference to a stored result is never lost."""
    if case.before is not COMPLETED or not is_persisted(case.present):
        return None
    if case.after is COMPLETED and not is_persisted(case.proposed):
        return reject("The run has completed and its result is stored; a completed state without it would lose it.")
    if case.after not in TERMINAL_STATES:
        return reject("The run has completed and its result is stored.")
    return None


def _keep_cancelling(case: _Case) -> Decision | None:  # 4
    if case.before is CANCELLING and case.after is not CANCELLED:
        return reject("The run is being cancelled; the only state it can enter is Cancelled.")
    return None


def _cancel_without_process(case: _Case) -> Decision | None:  # 5
    if case.after is not CANCELLING or case.present is None:
        return None
    no_process = (case.before is SCHEDULED and (not case.facts.has_process or case.present.name == "Resuming")) or (
        case.before is PAUSED and case.present.state_details.pause_reschedule
    )
    if no_process:
        reason = "The run has no process to stop, so it is cancelled at once."
        return reject(reason, case.instead(CANCELLED, reason))
    return None


def _claim_once(case: _Case) -> Decision | None:  # 6
    if case.after is not PENDING or case.before not in (PENDING, RUNNING, CANCELLING, CANCELLED):
        return None
    present = case.present
    if present is not None and case.before is PENDING:
        if case.proposed.name not in ("Pending", present.name):
            case.details.scheduled_time = present.state_details.scheduled_time
            return None
        return abort("The run is already Pending: somebody else has claimed it.")
    return abort(f"The run is {case.before.value.lower()}; it cannot become Pending.")


def _run_once(case: _Case) -> Decision | None:  # stricter than the peer (RELIABILITY R8, R9)
    if case.before is RUNNING and case.after is RUNNING:
        return abort("The run is already running: somebody else has started it.")
    return None


def _hold_slot(case: _Case) -> Decision | None:  # 7
    lease = case.details.deployment_concurrency_lease_id
    if case.before is not PENDING or case.after is not RUNNING or lease is None or not case.facts.renews_lease:
        return None
    slots = case.facts.slots
    if slots is None or not slots.lease_lost:
        case.effects.append(Effect.RENEW_LEASE)
        return None
    if slots.free > 0:
        case.details.deployment_concurrency_lease_id = None
        case.effects.append(Effect.TAKE_SLOT)
        return None
    reason = "The run lost its concurrency slot before it started, and no other is free."
    return reject(reason, case.instead(CANCELLED, reason))


def _take_slot(case: _Case) -> Decision | None:  # 8
    slots = case.facts.slots
    if case.after is not PENDING or case.before in ACTIVE or slots is None:
        return None
    if slots.limit <= 0:
        return abort("The deployment's concurrency limit is 0.")
    if slots.free > 0:
        case.effects.append(Effect.TAKE_SLOT)
        return None
    reason = f"The deployment's concurrency limit of {slots.limit} is reached."
    if slots.cancel_new:
        return reject(reason, case.instead(CANCELLED, reason))
    again = case.now + timedelta(seconds=SLOT_RETRY_SECONDS)
    state = case.instead(
        SCHEDULED, reason, name="AwaitingConcurrencySlot", state_details=StateDetails(scheduled_time=again)
    )
    return reject(reason, state)


def _drop_lease(case: _Case) -> None:  # 9
    if case.before is PENDING and case.after in (RUNNING, CANCELLING) and not case.facts.renews_lease:
        if case.details.deployment_concurrency_lease_id is not None:
            case.effects.append(Effect.RELEASE_SLOT)
        case.details.deployment_concurrency_lease_id = None


def _late_once(case: _Case) -> Decision | None:  # 10
    if case.after is not SCHEDULED or case.proposed.name != "Late":
        return None
    if case.before is not SCHEDULED or (case.present is not None and case.present.name == "Late"):
        return reject("Only a run that is scheduled and not yet late can become late.")
    return None


def _pause(case: _Case) -> Decision | None:  # 11
    if case.after is not PAUSED:
        return None
    details, facts = case.details, case.facts
    if case.before is None:
        return abort("A run that has not started cannot be paused.")
    if case.before is not RUNNING:
        return reject(f"Only a running run can be paused; this one is {case.before.value.lower()}.")
    if details.pause_key is not None and details.pause_key in (facts.policy.pause_keys or ()):
        return reject("This pause has already fired in this run.")
    if details.pause_reschedule:
        if facts.has_parent:
            return abort("A subflow run cannot be suspended: its parent waits for it in the same process.")
        if facts.deployment_id is None:
            return abort("A run without a deployment cannot be suspended: no process would resume it.")
    if details.pause_key is not None:
        case.policy["pause_keys"] = [*(facts.policy.pause_keys or ()), details.pause_key]
    return None


def _resume(case: _Case) -> Decision | None:  # 12
    if case.before is not PAUSED or case.present is None:
        return None
    after, details = case.after, case.present.state_details
    if after not in (RUNNING, SCHEDULED, CANCELLING) and after not in TERMINAL_STATES:
        return reject(f"A paused run can be resumed or ended; it cannot become {after.value.lower()}.")
    if after in (RUNNING, SCHEDULED):
        if details.pause_reschedule and case.facts.deployment_id is None:
            return reject("A suspended run needs a deployment to be resumed.")
        if details.pause_timeout is not None and details.pause_timeout < case.now:
            reason = "The run was paused and never resumed in time."
            return reject(reason, case.instead(FAILED, reason))
        case.policy["resuming"] = True
    return None


def _keep_scheduled_time(case: _Case) -> None:  # 13
    if case.before is SCHEDULED and case.after is PENDING and case.present is not None:
        case.details.scheduled_time = case.present.state_details.scheduled_time


def _wait_for_time(case: _Case) -> Decision | None:  # 14
    if case.before not in (SCHEDULED, PENDING) or case.after is not RUNNING or case.present is None:
        return None
    when = case.present.state_details.scheduled_time
    if when is None:
        return None
    ahead = (when - case.now).total_seconds()
    if ahead > 0:
        # rounded up: asking a moment too early would only mean to wait again
        return wait(-(-ahead // 1), f"The run is scheduled for {when.isoformat(timespec='seconds')}.")
    return None


def _retry(case: _Case) -> Decision | None:  # 15
    if case.before is not RUNNING or case.after is not FAILED:
        return None
    policy = case.facts.policy
    retries = policy.retries or 0
    if not retries_left(case.facts.run_count, retries):
        case.policy["retry_type"] = None
        return None
    delay = retry_delay(policy.retry_delay, policy.retry_jitter_factor, case.facts.run_count)
    failure = case.proposed
    state = case.instead(
        SCHEDULED,
        failure.message or "The run failed.",
        name="AwaitingRetry",
        data=failure.data,
        state_details=StateDetails(
            scheduled_time=case.now + timedelta(seconds=delay),
            deployment_concurrency_lease_id=case.details.deployment_concurrency_lease_id,
        ),
    )
    case.policy.update(resuming=False, pause_keys=[], retry_type="in_process")
    return reject(f"The run failed; retry {case.facts.run_count} of {retries} starts in {delay:g} s.", state)


def _after(case: _Case, decision: Decision) -> None:  # 16 and 17
    written = decision.state
    if written is None:
        return
    # What the rules arranged for the proposed state is void if another one is written.
    decision.effects = [*case.effects] if decision.answer is Answer.ACCEPT else []
    decision.effects.append(Effect.ANNOUNCE)
    if case.before in ACTIVE and written.type not in ACTIVE and written.name != "AwaitingRetry":
        decision.effects.append(Effect.RELEASE_SLOT)
        written.state_details.deployment_concurrency_lease_id = None
    if case.facts.has_parent:
        decision.effects.append(Effect.COPY_TO_PARENT)


_RULES: Final[tuple[Rule, ...]] = (
    _carry_lease,
    _same_transition,
    _leave_final,
    _keep_cancelling,
    _cancel_without_process,
    _claim_once,
    _run_once,
    _hold_slot,
    _take_slot,
    _drop_lease,
    _late_once,
    _pause,
    _resume,
    _keep_scheduled_time,
    _wait_for_time,
    _retry,
)
_FORCED: Final[tuple[Rule, ...]] = (_keep_persisted, _cancel_without_process)
