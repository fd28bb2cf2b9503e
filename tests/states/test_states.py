"""States: constructors, predicates, text, results, and how outcomes become states."""

import asyncio
import copy
import pickle
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from riverrun import states
from riverrun.base.errors import (
    CancelledRun,
    CrashedRun,
    FailedRun,
    MissingResult,
    PausedRun,
    TerminationSignal,
    UnfinishedRun,
)
from riverrun.states import (
    NONE_RESULT,
    Cancelled,
    Cancelling,
    Completed,
    Crashed,
    Failed,
    Paused,
    Pending,
    Running,
    Scheduled,
    State,
    StateGroup,
    Suspended,
    exception_to_crashed_state_sync,
    exception_to_failed_state_sync,
    get_state_exception,
    is_state_iterable,
    raise_state_exception,
    return_value_to_state_sync,
)
from riverrun.utilities.annotations import quote
from riverrun.wire.states import StateType


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        ("Scheduled", "SCHEDULED"),
        ("Late", "SCHEDULED"),
        ("AwaitingRetry", "SCHEDULED"),
        ("AwaitingConcurrencySlot", "SCHEDULED"),
        ("Pending", "PENDING"),
        ("Submitting", "PENDING"),
        ("InfrastructurePending", "PENDING"),
        ("Running", "RUNNING"),
        ("Retrying", "RUNNING"),
        ("Completed", "COMPLETED"),
        ("Failed", "FAILED"),
        ("Crashed", "CRASHED"),
        ("Cancelled", "CANCELLED"),
        ("Cancelling", "CANCELLING"),
        ("Paused", "PAUSED"),
        ("Suspended", "PAUSED"),
    ],
)
def test_constructor_gives_type_and_name(make, kind):
    state = getattr(states, make)(message="why")
    assert (state.type, state.name, state.message) == (StateType(kind), make, "why")
    assert state.is_final() == (kind in {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"})
    assert [
        name for name in dir(state) if name.startswith("is_") and name != "is_final" and getattr(state, name)()
    ] == [f"is_{kind.lower()}"]
    assert getattr(states, make)(name="Other").name == "Other"
    assert (state.state_details.scheduled_time is not None) == (kind == "SCHEDULED")


def test_text():
    assert str(Completed()) == "Completed()"
    assert str(Completed(message="m")) == "Completed('m')"
    assert str(Failed(name="TimedOut", message="late")) == "TimedOut('late', type=FAILED)"
    assert repr(Completed(message="m", data=1)) == "Completed(message='m', type=COMPLETED, result=1)"


def test_scheduled_time_is_given_once():
    when = datetime(2030, 1, 1, tzinfo=UTC)
    assert Scheduled(scheduled_time=when).state_details.scheduled_time == when
    assert states.Late(scheduled_time=when).state_details.scheduled_time == when
    with pytest.raises(ValueError, match="extra scheduled_time"):
        Scheduled(scheduled_time=when, state_details={"scheduled_time": when})


def test_pause_limits():
    before = datetime.now(UTC)
    details = Suspended(timeout_seconds=60, pause_key="k").state_details
    assert details.pause_reschedule
    assert details.pause_key == "k"
    assert before + timedelta(seconds=59) < details.pause_timeout
    assert not Paused().state_details.pause_reschedule
    with pytest.raises(ValueError, match="both"):
        Paused(timeout_seconds=1, pause_expiration_time=before)
    with pytest.raises(ValueError, match="extra pause timeout"):
        Paused(timeout_seconds=1, state_details={"pause_timeout": before})


def test_details_from_a_mapping_and_not_shared():
    details = Completed(state_details={"cache_key": "a"}).state_details
    assert details.cache_key == "a"
    assert Completed().state_details is not Completed().state_details


def test_copies():
    state = Completed(message="m", data=[1])
    state.state_details.flow_run_id = uuid4()
    state.state_details.transition_id = uuid4()
    state.state_details.cache_key = "k"
    fresh = state.fresh_copy(name="Again")
    assert fresh.id != state.id
    assert fresh.data is state.data
    assert (fresh.name, fresh.message, fresh.state_details.cache_key) == ("Again", "m", "k")
    assert fresh.state_details.flow_run_id is fresh.state_details.transition_id is None
    twin = state.model_copy(update={"name": "Twin"})
    assert (twin.id, twin.name) == (state.id, "Twin")


def test_equality_and_hash():
    state = Completed(data=1)
    assert state == pickle.loads(pickle.dumps(state)) == copy.copy(state)
    assert state != Completed(data=1)
    assert state != "Completed()"
    assert len({state, copy.copy(state), Failed()}) == 2


def test_subscript_and_json():
    state = State[int](type="COMPLETED", data=5)
    back = State.model_validate_json(state.model_dump_json())
    assert back == state
    assert back.data == 5
    with pytest.raises(ValueError, match="x"):
        State(type="x")


@pytest.mark.parametrize(
    ("state", "value"),
    [
        (Completed(data=1), 1),
        (Completed(data=NONE_RESULT), None),
        (Completed(data=ValueError), ValueError),
    ],
)
def test_result_of_completed(state, value):
    assert state.result() == value
    assert state.result(raise_on_failure=False) == value


def test_none_result_survives_pickling():
    assert pickle.loads(pickle.dumps(Completed(data=NONE_RESULT))).data is NONE_RESULT


@pytest.mark.parametrize(
    ("state", "kind", "text"),
    [
        (Failed(message="bad"), FailedRun, "bad"),
        (Failed(), FailedRun, "Run failed."),
        (Crashed(), CrashedRun, "Run crashed."),
        (Cancelled(), CancelledRun, "Run cancelled."),
        (Failed(data=ValueError("v")), ValueError, "v"),
        (Failed(data="text"), FailedRun, "text"),
        (Crashed(data=Failed(message="inner")), FailedRun, "inner"),
        (Failed(data=[Completed(), Cancelled(message="first"), Failed()]), CancelledRun, "first"),
        (Failed(data=[Completed()]), ValueError, "none were failed"),
        (Failed(data=Completed()), ValueError, "Expected failed or crashed state got Completed"),
        (Failed(data=2), TypeError, "int cannot be resolved into an exception"),
        (Completed(), MissingResult, "State data is missing"),
        (Running(), UnfinishedRun, "RUNNING"),
        (Cancelling(), UnfinishedRun, "CANCELLING"),
        (Paused(), PausedRun, "paused"),
    ],
)
def test_result_that_is_not_there(state, kind, text):
    with pytest.raises(kind, match=text):
        state.result()


def test_result_without_raising():
    error = ValueError("v")
    assert Failed(data=error).result(raise_on_failure=False) is error
    assert isinstance(Failed(message="m").result(raise_on_failure=False), FailedRun)
    assert Failed(data="text").result(raise_on_failure=False) == "text"
    with pytest.raises(UnfinishedRun):
        Pending().result(raise_on_failure=False)


def test_colours():
    async def main():
        assert await Completed(data=1).result() == 1
        assert await Completed(data=1).aresult() == 1
        assert State.result.sync(Completed(data=1)) == 1
        with pytest.raises(ValueError, match="v"):
            await raise_state_exception(Failed(data=ValueError("v")))
        assert await raise_state_exception(Completed()) is None

    asyncio.run(main())
    assert raise_state_exception(Completed()) is None
    assert isinstance(get_state_exception(Failed(data=KeyboardInterrupt())), KeyboardInterrupt)


def test_state_iterable():
    for kind in (list, tuple, set):
        assert is_state_iterable(kind([Completed()]))
        assert not is_state_iterable(kind())
    assert not is_state_iterable([Completed(), 1])
    assert not is_state_iterable({Completed(): 1})
    assert not is_state_iterable(iter([Completed()]))


class TestReturnValue:
    @pytest.mark.parametrize(
        ("value", "kind", "message"),
        [
            ([Completed(), Completed()], "COMPLETED", "All states completed."),
            ((Completed(), Failed(), Crashed()), "FAILED", "2/3 states failed."),
            ({Completed(), Running()}, "FAILED", "1/2 states are not final."),
            ([Cancelled(), Failed(), Completed()], "CANCELLED", "1/3 states cancelled."),
            ([Paused(), Failed()], "PAUSED", "1/2 states paused."),
            ([Failed(), 1], "COMPLETED", None),
            ({"a": Failed()}, "COMPLETED", None),
            ([[Failed()]], "COMPLETED", None),
            ([], "COMPLETED", None),
            (None, "COMPLETED", None),
            (ValueError("a value"), "COMPLETED", None),
            (quote(Failed()), "COMPLETED", None),
        ],
    )
    def test_what_decides(self, value, kind, message):
        state = return_value_to_state_sync(value)
        assert (state.type, state.message) == (StateType(kind), message)
        if state.is_completed():
            assert state.result() is value

    def test_users_state_stands(self):
        for made in (Completed(name="Skipped", data=3), Failed(message="m"), Running()):
            assert return_value_to_state_sync(made) is made
        done = return_value_to_state_sync(Completed())
        assert done.result() is None
        with pytest.raises(FailedRun, match="why"):
            return_value_to_state_sync(Failed(message="why")).result()

    def test_state_of_a_run_is_judged(self):
        inner = Failed(message="inner", state_details={"task_run_id": uuid4()})
        state = return_value_to_state_sync(inner)
        assert (state.message, state.data) == ("1/1 states failed.", inner)
        assert return_value_to_state_sync(Completed(state_details={"flow_run_id": uuid4()})).message == (
            "All states completed."
        )

    def test_generator_becomes_a_list(self):
        assert return_value_to_state_sync(i for i in range(3)).result() == [0, 1, 2]


class _Mute(Exception):
    def __str__(self):
        raise RuntimeError("no text")


class TestExceptions:
    def test_failed(self):
        error = ValueError("x")
        state = exception_to_failed_state_sync(error, message="Task run:", name="TimedOut")
        assert (state.name, state.message, state.data) == ("TimedOut", "Task run: ValueError: x", error)
        assert state.state_details.retriable is False
        with pytest.raises(ValueError, match="no active exception"):
            exception_to_failed_state_sync()
        try:
            raise KeyError("k")
        except KeyError:
            assert exception_to_failed_state_sync().message == "KeyError: 'k'"
        assert "_Mute" in exception_to_failed_state_sync(_Mute()).message

    @pytest.mark.parametrize(
        ("error", "text"),
        [
            (KeyboardInterrupt(), "interrupt signal"),
            (SystemExit(1), "system exit"),
            (TerminationSignal(15), "termination signal"),
            (asyncio.CancelledError(), "cancelled by the runtime"),
            (RuntimeError("boom"), "unexpected exception: RuntimeError: boom"),
        ],
    )
    def test_crashed(self, error, text):
        state = exception_to_crashed_state_sync(error)
        assert state.is_crashed()
        assert text in state.message
        assert state.data is error


def test_group():
    group = StateGroup([Completed(), Failed(), Running(), Cancelled(), Crashed()])
    assert repr(group) == (
        "StateGroup<total=5, not_final=1, 'RUNNING'=1, 'COMPLETED'=1, 'FAILED'=1, 'CANCELLED'=1, 'CRASHED'=1>"
    )
    assert (group.fail_count, group.any_failed(), group.any_cancelled(), group.any_paused()) == (2, True, True, False)
    assert not group.all_final()
    assert not group.all_completed()
    assert StateGroup([]).counts_message() == "total=0"


class TestPersisted:
    @pytest.fixture
    def store(self, tmp_path):
        from riverrun.results import ResultStore

        return ResultStore(result_storage=str(tmp_path))

    def test_records_and_metadata_give_the_value(self, store):
        record = store.create_result_record([1, 2])
        assert Completed(data=record).result() == [1, 2]
        store.persist_result_record(record)
        assert Completed(data=record.metadata).result() == [1, 2]

        async def main():
            return await Completed(data=record.metadata).aresult()

        assert asyncio.run(main()) == [1, 2]

    def test_a_stored_exception_is_raised(self, store):
        record = store.create_result_record(ValueError("stored"))
        store.persist_result_record(record)
        for make in (Failed, Crashed, Cancelled):
            with pytest.raises(ValueError, match="stored"):
                make(data=record.metadata).result()
            assert isinstance(make(data=record.metadata).result(raise_on_failure=False), ValueError)

    def test_a_result_that_is_gone(self, store):
        record = store.create_result_record(1)
        with pytest.raises(MissingResult, match=str(record.metadata.storage_key)):
            Completed(data=record.metadata).result(retry_result_failure=False)

    def test_outcomes_with_a_store(self, store):
        state = return_value_to_state_sync(None, store)
        assert state.result() is None
        assert return_value_to_state_sync([1], store, write_result=True).data.metadata.storage_key
        assert return_value_to_state_sync(state.data, store).data is state.data
        assert return_value_to_state_sync(Completed(data=1), store).result() == 1
        failed = exception_to_failed_state_sync(ValueError("x"), store, write_result=True)
        assert isinstance(Failed(data=failed.data.metadata).result(raise_on_failure=False), ValueError)
