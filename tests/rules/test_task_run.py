"""The rules for task runs that are asked for: a table, and properties over all pairs of states."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from riverrun.rules.decision import Answer, Effect
from riverrun.rules.task_run import TaskRunFacts, decide, decide_all
from riverrun.wire.runs import RunPolicy
from riverrun.wire.states import TERMINAL_STATES, BaseState, StateDetails, StateType

NOW = datetime(2030, 1, 1, tzinfo=UTC)
STORED = {"storage_key": "k"}
R1 = RunPolicy(retries=1, retry_delay=[7.0])


def state(kind, name=None, data=None, **details):
    return BaseState(type=StateType(kind), name=name, data=data, state_details=StateDetails(**details), timestamp=NOW)


RUNNING_FLOW = {"flow_state_type": StateType.RUNNING}
CACHED = state("COMPLETED", data=STORED)

TABLE = {
    "start": (state("PENDING"), state("RUNNING"), RUNNING_FLOW, "ACCEPT", "Running"),
    "outside of flows": (state("PENDING"), state("RUNNING"), {}, "ACCEPT", "Running"),
    "cached": (state("PENDING"), state("RUNNING", cache_key="k"), {"cached": CACHED}, "REJECT", "Cached"),
    "cache refreshed": (
        state("PENDING"), state("RUNNING", cache_key="k", refresh_cache=True), {"cached": CACHED}, "ACCEPT", "Running"),
    "no key": (state("PENDING"), state("RUNNING"), {"cached": CACHED}, "ACCEPT", "Running"),
    "ended cannot crash": (state("COMPLETED"), state("CRASHED"), {}, "ABORT", None),
    "stored result stays": (state("COMPLETED", data=STORED), state("PENDING"), {}, "REJECT", None),
    "flow paused": (state("PENDING"), state("RUNNING"), {"flow_state_type": StateType.PAUSED}, "REJECT", "NotReady"),
    "flow ended": (state("PENDING"), state("RUNNING"), {"flow_state_type": StateType.FAILED}, "ABORT", None),
    "tag full": (state("PENDING"), state("RUNNING"), {"tag_slots": {"a": 1, "b": 0}}, "WAIT", None),
    "tag forbidden": (state("PENDING"), state("RUNNING"), {"tag_slots": {"a": -1}}, "ABORT", None),
    "tag free": (state("PENDING"), state("RUNNING"), {"tag_slots": {"a": 1}}, "ACCEPT", "Running"),
    "too early": (state("SCHEDULED", scheduled_time=NOW + timedelta(9)), state("RUNNING"), {}, "WAIT", None),
    "retry": (state("RUNNING"), state("FAILED"), {"policy": R1, "run_count": 1}, "REJECT", "AwaitingRetry"),
    "not retriable": (state("RUNNING"), state("FAILED", retriable=False), {"policy": R1, "run_count": 1}, "ACCEPT", "Failed"),
    "none left": (state("RUNNING"), state("FAILED"), {"policy": R1, "run_count": 2}, "ACCEPT", "Failed"),
    "retrying": (state("SCHEDULED", "AwaitingRetry", scheduled_time=NOW), state("RUNNING"), {"run_count": 1}, "ACCEPT", "Retrying"),
    "rerunning": (state("PENDING"), state("RUNNING"), {"run_count": 1}, "ACCEPT", "Rerunning"),
    "long key": (state("RUNNING"), state("COMPLETED", cache_key="x" * 2001), {}, "REJECT", "Completed"),
    "taken in the background": (state("SCHEDULED"), state("PENDING", deferred=True), {}, "ACCEPT", "Pending"),
    "taken twice": (state("PENDING"), state("PENDING", deferred=True), {}, "ABORT", None),
    "taken when cancelled": (state("CANCELLED"), state("PENDING", deferred=True), {}, "ABORT", None),
}  # fmt: skip


@pytest.mark.parametrize("case", TABLE)
def test_table(case):
    before, proposed, known, answer, written = TABLE[case]
    decision = decide(TaskRunFacts(state=before, **known), proposed, NOW)
    assert (decision.answer, decision.state and decision.state.name) == (answer, written), decision.reason


def test_retry_waits_as_the_policy_says():
    decision = decide(TaskRunFacts(state=state("RUNNING"), policy=R1, run_count=1), state("FAILED"), NOW)
    assert decision.state.state_details.scheduled_time == NOW + timedelta(seconds=7)


def test_running_again_starts_counting_anew():
    decision = decide(TaskRunFacts(state=state("FAILED"), run_count=3), state("RUNNING"), NOW)
    assert decision.fields["run_count"] == 0


def test_effects():
    done = decide(TaskRunFacts(state=state("RUNNING")), state("COMPLETED", cache_key="k"), NOW)
    assert {Effect.INSERT_CACHE_KEY, Effect.RELEASE_SLOT, Effect.ANNOUNCE} == set(done.effects)
    started = decide(TaskRunFacts(state=state("PENDING"), tag_slots={"a": 1}), state("RUNNING"), NOW)
    assert Effect.TAKE_SLOT in started.effects


@st.composite
def any_state(draw):
    return state(
        draw(st.sampled_from(list(StateType))),
        draw(st.sampled_from([None, "AwaitingRetry", "Other"])),
        draw(st.sampled_from([None, STORED, {"type": "unpersisted"}])),
        scheduled_time=draw(st.sampled_from([None, NOW - timedelta(1), NOW + timedelta(1)])),
        cache_key=draw(st.sampled_from([None, "k", "k" * 2001])),
        refresh_cache=draw(st.sampled_from([None, True])),
        retriable=draw(st.sampled_from([None, False, True])),
        transition_id=draw(st.sampled_from([None, UUID(int=1), UUID(int=2)])),
    )


@st.composite
def any_facts(draw):
    return TaskRunFacts(
        state=draw(st.none() | any_state()),
        run_count=draw(st.integers(0, 3)),
        policy=draw(st.sampled_from([RunPolicy(), R1, RunPolicy(retries=3, retry_delay=2, retry_jitter_factor=0.5)])),
        flow_state_type=draw(st.none() | st.sampled_from(list(StateType))),
        flow_run_count=draw(st.integers(0, 2)),
        cached=draw(st.none() | st.just(CACHED)),
        tag_slots=draw(st.dictionaries(st.sampled_from("ab"), st.integers(-1, 2))),
    )


@given(any_facts(), any_state(), st.booleans())
def test_every_pair_has_an_answer(known, proposed, force):
    known_before, proposed_before = repr(known), repr(proposed)
    decision = decide(known, proposed, NOW, force=force)
    assert (repr(known), repr(proposed)) == (known_before, proposed_before)
    if decision.answer is Answer.ACCEPT:
        assert decision.state.type is proposed.type
        assert decision.state.data == proposed.data
    else:
        assert decision.reason
    if decision.state is None:
        assert not decision.effects
        assert not decision.fields
    assert (decision.delay > 0) == (decision.answer is Answer.WAIT)
    assert [decision.answer] == [each.answer for each in decide_all([(known, proposed)], NOW, force=force)]


@given(any_facts(), any_state(), st.booleans())
def test_a_stored_result_is_not_lost_to_an_unfinished_state(known, proposed, force):
    before = known.state
    if before is None or before.type is not StateType.COMPLETED or before.data != STORED:
        return
    written = decide(known, proposed, NOW, force=force).state
    assert written is None or (
        written.type in TERMINAL_STATES and (written.type is not before.type or written.data == STORED)
    )


@given(any_facts(), any_state())
def test_the_same_transition_is_made_once(known, proposed):
    decision = decide(known, proposed, NOW)
    if decision.answer is Answer.ACCEPT and proposed.state_details.transition_id is not None:
        again = decide(TaskRunFacts(state=decision.state), proposed, NOW)
        assert (again.answer, again.state) == (Answer.REJECT, None)
