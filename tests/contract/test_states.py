"""States as values: constructors, predicates, results."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from .sdk import flow, import_module, riverrun_only, task

states = import_module("states")
objects = import_module("client.schemas.objects")
exceptions = import_module("exceptions")

CONSTRUCTORS = {
    # constructor: (type, name)
    "Scheduled": ("SCHEDULED", "Scheduled"),
    "Pending": ("PENDING", "Pending"),
    "Running": ("RUNNING", "Running"),
    "Completed": ("COMPLETED", "Completed"),
    "Failed": ("FAILED", "Failed"),
    "Crashed": ("CRASHED", "Crashed"),
    "Cancelled": ("CANCELLED", "Cancelled"),
    "Cancelling": ("CANCELLING", "Cancelling"),
    "Retrying": ("RUNNING", "Retrying"),
    "AwaitingRetry": ("SCHEDULED", "AwaitingRetry"),
    "Late": ("SCHEDULED", "Late"),
    "AwaitingConcurrencySlot": ("SCHEDULED", "AwaitingConcurrencySlot"),
}


@pytest.mark.parametrize("name", CONSTRUCTORS)
def test_constructors(name: str) -> None:
    kind, title = CONSTRUCTORS[name]
    state = getattr(states, name)(message="why")
    assert isinstance(state, states.State)
    assert (state.type.value, state.name, state.message) == (kind, title, "why")
    assert state.timestamp.tzinfo is not None
    assert abs(datetime.now(UTC) - state.timestamp) < timedelta(seconds=60)


def test_paused_and_suspended() -> None:
    paused = states.Paused(timeout_seconds=60)
    assert (paused.type.value, paused.name) == ("PAUSED", "Paused")
    assert paused.state_details.pause_timeout > datetime.now(UTC)
    suspended = states.Suspended(timeout_seconds=60)
    assert (suspended.type.value, suspended.name) == ("PAUSED", "Suspended")
    assert suspended.state_details.pause_reschedule is True


PREDICATES = "scheduled pending running completed failed crashed cancelled cancelling paused".split()


@pytest.mark.parametrize("kind", [kind.value for kind in objects.StateType])
def test_predicates(kind: str) -> None:
    state = states.State(type=objects.StateType(kind))
    true = [name for name in PREDICATES if getattr(state, f"is_{name}")()]
    assert true == [kind.lower()]
    assert state.is_final() == (kind in {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"})
    assert state.name == kind.capitalize()


def test_the_type_may_be_text() -> None:
    assert states.State(type="COMPLETED").type is objects.StateType.COMPLETED
    assert objects.StateType.COMPLETED == "COMPLETED"


def test_an_unknown_type_is_refused() -> None:
    with pytest.raises(ValueError, match=r"(?i)type"):
        states.State(type="DANCING")


def test_scheduled_time() -> None:
    when = datetime(2030, 1, 2, tzinfo=UTC)
    assert states.Scheduled(scheduled_time=when).state_details.scheduled_time == when
    assert states.Scheduled().state_details.scheduled_time is not None
    assert states.AwaitingRetry(scheduled_time=when).state_details.scheduled_time == when


def test_ids_differ() -> None:
    assert states.Completed().id != states.Completed().id


def test_repr_and_str_are_readable() -> None:
    state = states.Completed(name="Odd", message="went well")
    assert str(state).startswith("Odd('went well'")
    assert "COMPLETED" in repr(state)
    assert "went well" in repr(state)
    assert str(states.Completed()).startswith("Completed(")


class TestResult:
    def test_data(self) -> None:
        assert states.Completed(data=5).result() == 5
        with pytest.raises(exceptions.MissingResult):
            states.Completed(data=None).result()

    def test_failed(self) -> None:
        failed = states.Failed(data=ValueError("v"))
        with pytest.raises(ValueError, match="v"):
            failed.result()
        assert isinstance(failed.result(raise_on_failure=False), ValueError)

    def test_failed_with_a_message_only(self) -> None:
        with pytest.raises(exceptions.FailedRun, match="because"):
            states.Failed(message="because").result()

    def test_crashed_and_cancelled(self) -> None:
        with pytest.raises(exceptions.CrashedRun, match="why"):
            states.Crashed(message="why").result()
        with pytest.raises(exceptions.CancelledRun, match="why"):
            states.Cancelled(message="why").result()

    def test_unfinished(self) -> None:
        for make in (states.Running, states.Pending, states.Scheduled):
            with pytest.raises(exceptions.UnfinishedRun):
                make().result()

    def test_in_async_code(self) -> None:
        async def main():
            return await states.Completed(data=5).result(), await states.Completed(data=6).aresult()

        assert asyncio.run(main()) == (5, 6)

    def test_failed_in_async_code(self) -> None:
        async def main():
            failed = states.Failed(data=ValueError("v"))
            assert isinstance(await failed.result(raise_on_failure=False), ValueError)
            await failed.result()

        with pytest.raises(ValueError, match="v"):
            asyncio.run(main())

    def test_of_an_async_task_with_return_state(self) -> None:
        @task
        async def one():
            return 1

        @flow
        async def main():
            state = await one(return_state=True)
            return await state.result()

        assert asyncio.run(main()) == 1

    def test_in_a_sync_task_inside_an_async_flow(self) -> None:
        @task
        def reads():
            return states.Completed(data=5).result()

        @flow
        async def main():
            return reads()

        assert asyncio.run(main()) == 5


def test_collections_of_states() -> None:
    assert states.is_state_iterable([states.Completed(), states.Failed()])
    assert states.is_state_iterable((states.Completed(),))
    assert not states.is_state_iterable([])
    assert not states.is_state_iterable([states.Completed(), 1])
    assert not states.is_state_iterable(s for s in [states.Completed()])


def test_raise_state_exception() -> None:
    def call(state):
        return states.raise_state_exception(state)

    assert call(states.Completed()) is None
    with pytest.raises(KeyError):
        call(states.Failed(data=KeyError("k")))


def test_state_groups() -> None:
    group = states.StateGroup([states.Completed(), states.Failed(), states.Failed(), states.Running()])
    assert group.fail_count == 2
    assert group.any_failed()
    assert not group.all_completed()
    assert not group.all_final()
    assert group.counts_message()
    assert states.StateGroup([states.Completed()] * 2).all_completed()


def test_copies_and_equality() -> None:
    state = states.Completed(message="m", data=1)
    other = state.model_copy(update={"message": "n"})
    assert (state.message, other.message, other.id) == ("m", "n", state.id)
    fresh = state.fresh_copy()
    assert fresh.id != state.id
    assert (fresh.type, fresh.name, fresh.message) == (state.type, state.name, state.message)


def test_dump_holds_the_words_of_the_state() -> None:
    dumped = states.Completed(message="m").model_dump(mode="json")
    assert (dumped["type"], dumped["name"], dumped["message"]) == ("COMPLETED", "Completed", "m")
    assert "scheduled_time" in dumped["state_details"]


def test_user_code_compares_types() -> None:
    @task
    def one():
        return 1

    state = one(return_state=True)
    assert state.type == objects.StateType.COMPLETED
    assert state.type in {objects.StateType.COMPLETED, objects.StateType.FAILED}


def test_exception_to_states() -> None:
    crashed = asyncio.run(states.exception_to_crashed_state(KeyboardInterrupt()))
    assert crashed.is_crashed()
    assert crashed.message
    failed = asyncio.run(states.exception_to_failed_state(ValueError("x")))
    assert failed.is_failed()
    assert "ValueError: x" in failed.message


@riverrun_only("a state's message says which run and what is missing")
def test_unfinished_message_names_the_state() -> None:
    with pytest.raises(exceptions.UnfinishedRun, match=r"(?i)running"):
        states.Running().result()
