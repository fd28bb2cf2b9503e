"""The rules for flow runs: a table of what each says, and properties over all pairs of states."""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from riverrun.rules.decision import Answer, Effect
from riverrun.rules.flow_run import DeploymentSlots, FlowRunFacts, decide, decide_all
from riverrun.wire.runs import RunPolicy
from riverrun.wire.states import TERMINAL_STATES, BaseState, StateDetails, StateType

NOW = datetime(2030, 1, 1, tzinfo=UTC)
DEPLOYMENT = UUID(int=1)
STORED = {"storage_key": "k"}


def state(kind, name=None, data=None, message=None, **details):
    return BaseState(
        type=StateType(kind),
        name=name,
        data=data,
        message=message,
        state_details=StateDetails(**details),
        timestamp=NOW,
    )


def facts(before, **fields):
    return FlowRunFacts(state=before, **fields)


def at(seconds):
    return NOW + timedelta(seconds=seconds)


R2 = RunPolicy(retries=2, retry_delay=5)
FULL = DeploymentSlots(limit=1, free=0)
KEYED = RunPolicy(pause_keys=["k"])

# name: (before, proposed, facts, answer, name of the state written or None)
TABLE = {
    "first": (None, state("PENDING"), {}, "ACCEPT", "Pending"),
    "start": (state("PENDING"), state("RUNNING"), {}, "ACCEPT", "Running"),
    "complete": (state("RUNNING"), state("COMPLETED"), {}, "ACCEPT", "Completed"),
    "ended cannot be cancelled": (state("COMPLETED"), state("CANCELLING"), {}, "ABORT", None),
    "ended cannot pause": (state("FAILED"), state("PAUSED"), {}, "ABORT", None),
    "ended cannot crash": (state("CANCELLED"), state("CRASHED"), {}, "ABORT", None),
    "stored result stays": (state("COMPLETED", data=STORED), state("RUNNING"), {}, "REJECT", None),
    "stored result is not replaced by none": (state("COMPLETED", data=STORED), state("COMPLETED"), {}, "REJECT", None),
    "stored result by another": (state("COMPLETED", data=STORED), state("COMPLETED", data=STORED), {}, "ACCEPT", "Completed"),
    "a completed run is not started once more": (state("COMPLETED", data={"type": "unpersisted"}), state("RUNNING"), {}, "ABORT", None),
    "failed is scheduled": (state("FAILED"), state("SCHEDULED"), {"deployment_id": DEPLOYMENT}, "ACCEPT", "Scheduled"),
    "failed without deployment": (state("FAILED"), state("SCHEDULED"), {}, "ABORT", None),
    "a crashed run is not started once more": (state("CRASHED"), state("RUNNING"), {}, "ABORT", None),
    "cancelling to cancelled": (state("CANCELLING"), state("CANCELLED"), {}, "ACCEPT", "Cancelled"),
    "cancelling to completed": (state("CANCELLING"), state("COMPLETED"), {}, "REJECT", None),
    "cancel the scheduled": (state("SCHEDULED"), state("CANCELLING"), {}, "REJECT", "Cancelled"),
    "cancel the scheduled with a process": (
        state("SCHEDULED"), state("CANCELLING"), {"has_process": True}, "ACCEPT", "Cancelling"),
    "cancel the suspended": (state("PAUSED", pause_reschedule=True), state("CANCELLING"), {}, "REJECT", "Cancelled"),
    "cancel the paused": (state("PAUSED"), state("CANCELLING"), {}, "ACCEPT", "Cancelling"),
    "cancel the running": (state("RUNNING"), state("CANCELLING"), {}, "ACCEPT", "Cancelling"),
    "claimed twice": (state("PENDING"), state("PENDING"), {}, "ABORT", None),
    "submitting": (state("PENDING"), state("PENDING", "Submitting"), {}, "ACCEPT", "Submitting"),
    "submitting twice": (state("PENDING", "Submitting"), state("PENDING", "Submitting"), {}, "ABORT", None),
    "running cannot be pending": (state("RUNNING"), state("PENDING"), {}, "ABORT", None),
    "slot taken": (state("SCHEDULED", scheduled_time=NOW), state("PENDING"), {"slots": DeploymentSlots(limit=1, free=1)},
                   "ACCEPT", "Pending"),
    "no slot": (state("SCHEDULED"), state("PENDING"), {"slots": FULL}, "REJECT", "AwaitingConcurrencySlot"),
    "no slot, cancel": (
        state("SCHEDULED"), state("PENDING"), {"slots": DeploymentSlots(limit=1, free=0, cancel_new=True)}, "REJECT",
        "Cancelled"),
    "limit of zero": (state("SCHEDULED"), state("PENDING"), {"slots": DeploymentSlots(limit=0, free=0)}, "ABORT", None),
    "lease lost": (
        state("PENDING", deployment_concurrency_lease_id=DEPLOYMENT), state("RUNNING"),
        {"slots": DeploymentSlots(limit=1, free=0, lease_lost=True)}, "REJECT", "Cancelled"),
    "late": (state("SCHEDULED"), state("SCHEDULED", "Late"), {}, "ACCEPT", "Late"),
    "late twice": (state("SCHEDULED", "Late"), state("SCHEDULED", "Late"), {}, "REJECT", None),
    "late while running": (state("RUNNING"), state("SCHEDULED", "Late"), {}, "REJECT", None),
    "pause": (state("RUNNING"), state("PAUSED"), {}, "ACCEPT", "Paused"),
    "pause before running": (state("PENDING"), state("PAUSED"), {}, "REJECT", None),
    "pause from nothing": (None, state("PAUSED"), {}, "ABORT", None),
    "pause fired": (state("RUNNING"), state("PAUSED", pause_key="k"), {"policy": KEYED}, "REJECT", None),
    "suspend without deployment": (state("RUNNING"), state("PAUSED", pause_reschedule=True), {}, "ABORT", None),
    "suspend a subflow": (
        state("RUNNING"), state("PAUSED", pause_reschedule=True), {"deployment_id": DEPLOYMENT, "has_parent": True},
        "ABORT", None),
    "suspend": (state("RUNNING"), state("PAUSED", "Suspended", pause_reschedule=True), {"deployment_id": DEPLOYMENT},
                "ACCEPT", "Suspended"),
    "resume": (state("PAUSED"), state("RUNNING"), {}, "ACCEPT", "Running"),
    "resume too late": (state("PAUSED", pause_timeout=at(-1)), state("RUNNING"), {}, "REJECT", "Failed"),
    "resume in time": (state("PAUSED", pause_timeout=at(1)), state("RUNNING"), {}, "ACCEPT", "Running"),
    "paused to pending": (state("PAUSED"), state("PENDING"), {}, "REJECT", None),
    "resume the suspended, no deployment": (state("PAUSED", pause_reschedule=True), state("SCHEDULED"), {}, "REJECT", None),
    "too early": (state("SCHEDULED", scheduled_time=at(9.5)), state("RUNNING"), {}, "WAIT", None),
    "pending too early": (state("PENDING", scheduled_time=at(1)), state("RUNNING"), {}, "WAIT", None),
    "due": (state("SCHEDULED", scheduled_time=at(-1)), state("RUNNING"), {}, "ACCEPT", "Running"),
    "retry": (state("RUNNING"), state("FAILED"), {"run_count": 2, "policy": R2}, "REJECT", "AwaitingRetry"),
    "no retries left": (state("RUNNING"), state("FAILED"), {"run_count": 3, "policy": R2}, "ACCEPT", "Failed"),
    "crash is not retried": (state("RUNNING"), state("CRASHED"), {"run_count": 1, "policy": R2}, "ACCEPT", "Crashed"),
}  # fmt: skip


@pytest.mark.parametrize("case", TABLE)
def test_table(case):
    before, proposed, known, answer, written = TABLE[case]
    decision = decide(facts(before, **known), proposed, NOW)
    assert (decision.answer, decision.state and decision.state.name) == (answer, written), decision.reason
    if answer != "ACCEPT":
        assert decision.reason[0].isupper()
        assert decision.reason.endswith(".")


def test_wait_is_in_whole_seconds_and_never_too_short():
    decision = decide(facts(state("SCHEDULED", scheduled_time=at(9.2))), state("RUNNING"), NOW)
    assert decision.delay == 10


def test_retry_keeps_failure_and_lease():
    lease = uuid4()
    before = state("RUNNING", deployment_concurrency_lease_id=lease)
    decision = decide(facts(before, run_count=1, policy=R2), state("FAILED", data="d", message="m"), NOW)
    written = decision.state
    assert (written.message, written.data) == ("m", "d")
    assert written.state_details.scheduled_time == at(5)
    assert written.state_details.deployment_concurrency_lease_id == lease
    assert decision.policy == {"resuming": False, "pause_keys": [], "retry_type": "in_process"}
    assert Effect.RELEASE_SLOT not in decision.effects


def test_end_releases_the_slot():
    lease = uuid4()
    decision = decide(facts(state("RUNNING", deployment_concurrency_lease_id=lease)), state("COMPLETED"), NOW)
    assert Effect.RELEASE_SLOT in decision.effects
    assert decision.state.state_details.deployment_concurrency_lease_id is None


def test_policy_of_leaving_a_final_state():
    decision = decide(facts(state("FAILED"), deployment_id=DEPLOYMENT), state("SCHEDULED"), NOW)
    assert decision.policy == {"resuming": False, "pause_keys": [], "retry_type": "reschedule"}


def test_pause_keys_grow_and_resume_is_noted():
    decision = decide(facts(state("RUNNING"), policy=KEYED), state("PAUSED", pause_key="n"), NOW)
    assert decision.policy == {"pause_keys": ["k", "n"]}
    assert decide(facts(state("PAUSED")), state("RUNNING"), NOW).policy == {"resuming": True}


def test_scheduled_time_goes_along():
    decision = decide(facts(state("SCHEDULED", scheduled_time=at(60))), state("PENDING"), NOW)
    assert decision.state.state_details.scheduled_time == at(60)
    named = decide(facts(state("PENDING", scheduled_time=at(60))), state("PENDING", "Submitting"), NOW)
    assert named.state.state_details.scheduled_time == at(60)


def test_old_clients_drop_their_lease():
    before = state("PENDING", deployment_concurrency_lease_id=uuid4())
    decision = decide(facts(before, renews_lease=False), state("RUNNING"), NOW)
    assert decision.state.state_details.deployment_concurrency_lease_id is None
    assert Effect.RENEW_LEASE in decide(facts(before), state("RUNNING"), NOW).effects


KINDS = st.sampled_from(list(StateType))
NAMES = st.sampled_from([None, "Late", "Resuming", "Submitting", "AwaitingRetry", "Other"])
DATA = st.sampled_from([None, STORED, {"type": "unpersisted"}])
TIMES = st.sampled_from([None, at(-60), at(60)])
IDS = st.sampled_from([None, UUID(int=2), UUID(int=3)])


@st.composite
def any_state(draw):
    return state(
        draw(KINDS),
        draw(NAMES),
        draw(DATA),
        "m",
        scheduled_time=draw(TIMES),
        pause_timeout=draw(TIMES),
        pause_reschedule=draw(st.booleans()),
        pause_key=draw(st.sampled_from([None, "k"])),
        transition_id=draw(IDS),
        deployment_concurrency_lease_id=draw(IDS),
        retriable=draw(st.sampled_from([None, False])),
    )


@st.composite
def any_facts(draw):
    return FlowRunFacts(
        state=draw(st.none() | any_state()),
        run_count=draw(st.integers(0, 4)),
        policy=draw(st.sampled_from([RunPolicy(), R2, KEYED, RunPolicy(retries=1, retry_delay=[1, 2])])),
        deployment_id=draw(st.sampled_from([None, DEPLOYMENT])),
        has_process=draw(st.booleans()),
        has_parent=draw(st.booleans()),
        slots=draw(
            st.none()
            | st.builds(
                DeploymentSlots, limit=st.integers(0, 1), free=st.integers(0, 1), cancel_new=st.booleans(),
                lease_lost=st.booleans(),
            )
        ),
        renews_lease=draw(st.booleans()),
    )  # fmt: skip


@given(any_facts(), any_state(), st.booleans())
def test_every_pair_has_an_answer(known, proposed, force):
    known_before, proposed_before = repr(known), repr(proposed)
    decision = decide(known, proposed, NOW, force=force)
    assert (repr(known), repr(proposed)) == (known_before, proposed_before), "pure: nothing given is changed"
    if decision.answer is Answer.ACCEPT:
        assert decision.state.type is proposed.type
        assert decision.state.name == proposed.name
        assert decision.state.message == proposed.message
        assert decision.state.data == proposed.data
    else:
        assert decision.reason
    assert decision.writes == (decision.state is not None)
    if decision.answer in (Answer.WAIT, Answer.ABORT):
        assert decision.state is None
        assert not decision.effects
        assert not decision.policy
    assert (decision.delay > 0) == (decision.answer is Answer.WAIT)
    assert [decision.answer] == [each.answer for each in decide_all([(known, proposed)], NOW, force=force)]


@given(any_facts(), any_state(), st.booleans())
def test_a_stored_result_is_not_lost_to_an_unfinished_state(known, proposed, force):
    before = known.state
    if before is None or before.type is not StateType.COMPLETED or before.data != STORED:
        return
    decision = decide(known, proposed, NOW, force=force)
    written = decision.state
    assert written is None or (
        written.type in TERMINAL_STATES and (written.type is not before.type or written.data == STORED)
    )


@given(any_facts(), any_state())
def test_the_same_transition_is_made_once(known, proposed):
    decision = decide(known, proposed, NOW)
    mark = proposed.state_details.transition_id
    if decision.answer is not Answer.ACCEPT or mark is None:
        return
    again = decide(FlowRunFacts(state=decision.state), proposed, NOW)
    assert (again.answer, again.state) == (Answer.REJECT, None)


@given(any_facts(), any_state())
def test_an_end_without_retries_is_accepted_from_running(known, proposed):
    if known.state is None or known.state.type is not StateType.RUNNING or proposed.type not in TERMINAL_STATES:
        return
    known.state.state_details.transition_id = None
    known.policy = RunPolicy()
    known.run_count = 1
    assert decide(known, proposed, NOW).answer is Answer.ACCEPT
