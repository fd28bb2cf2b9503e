"""The state a run ends in, from what its function returned or raised; and what the caller then gets."""

import pytest

from .sdk import Colour, allow_failure, flow, history, import_module, riverrun_only, task

states = import_module("states")
exceptions = import_module("exceptions")
Cancelled, Completed, Crashed, Failed = states.Cancelled, states.Completed, states.Crashed, states.Failed
Pending, Running = states.Pending, states.Running


@task
def ok(x=1):
    return x


@task
def bad():
    raise ValueError("bad task")


@flow
def bad_flow():
    raise ValueError("bad flow")


def run_failed_task_and_return(value):
    bad.submit().wait()
    return value


OUTCOMES = {
    # what the flow does: (name, type, message) of its final state
    "returns nothing": (lambda: None, ("Completed", "COMPLETED", None)),
    "returns data": (lambda: {"a": [1]}, ("Completed", "COMPLETED", None)),
    "returns data beside a failed task": (lambda: run_failed_task_and_return(5), ("Completed", "COMPLETED", None)),
    "returns nothing beside a failed task": (lambda: run_failed_task_and_return(None), ("Completed", "COMPLETED", None)),
    "returns an empty list": (list, ("Completed", "COMPLETED", None)),
    "returns an exception": (lambda: ValueError("v"), ("Completed", "COMPLETED", None)),
    "returns a future": (lambda: ok.submit(2), ("Completed", "COMPLETED", "All states completed.")),
    "returns a failed future": (lambda: bad.submit(), ("Failed", "FAILED", "1/1 states failed.")),
    "returns futures": (lambda: [ok.submit(2), ok.submit(3)], ("Completed", "COMPLETED", "All states completed.")),
    "returns mapped futures": (lambda: ok.map([1, 2]), ("Completed", "COMPLETED", "All states completed.")),
    "returns futures, one failed": (lambda: [ok.submit(2), bad.submit()], ("Failed", "FAILED", "1/2 states failed.")),
    "returns a future among data": (lambda: [bad.submit(), 7], ("Completed", "COMPLETED", None)),
    "returns nested futures": (lambda: [[ok.submit()], {"b": bad.submit()}], ("Completed", "COMPLETED", None)),
    "returns a completed state": (lambda: Completed(message="hi", data=4), ("Completed", "COMPLETED", "hi")),
    "returns a named state": (lambda: Completed(name="Odd", message="hi"), ("Odd", "COMPLETED", "hi")),
    "returns a failed state": (lambda: Failed(message="hi"), ("Failed", "FAILED", "hi")),
    "returns a named failed state": (lambda: Failed(name="Odd", message="hi"), ("Odd", "FAILED", "hi")),
    "returns a cancelled state": (lambda: Cancelled(message="hi"), ("Cancelled", "CANCELLED", "hi")),
    "returns a crashed state": (lambda: Crashed(message="hi"), ("Crashed", "CRASHED", "hi")),
    "returns states": (lambda: [Completed(), Completed()], ("Completed", "COMPLETED", "All states completed.")),
    "returns states, two failed": (lambda: [Completed(), Failed(), Failed()], ("Failed", "FAILED", "2/3 states failed.")),
    "returns a cancelled among failed": (lambda: [Failed(), Cancelled()], ("Cancelled", "CANCELLED", "1/2 states cancelled.")),
    "returns a crashed among states": (lambda: [Completed(), Crashed()], ("Failed", "FAILED", "1/2 states failed.")),
    "returns a running among states": (lambda: [Completed(), Running()], ("Failed", "FAILED", "1/2 states are not final.")),
    "returns a set of states": (lambda: {ok.submit()}, ("Completed", "COMPLETED", "All states completed.")),
    "returns the state of a child": (lambda: bad(return_state=True), ("Failed", "FAILED", "1/1 states failed.")),
    "returns the state of a subflow": (lambda: bad_flow(return_state=True), ("Failed", "FAILED", "1/1 states failed.")),
    "ignores the state of a child": (lambda: bad_flow(return_state=True) and None, ("Completed", "COMPLETED", None)),
    "allows a failure": (lambda: allow_failure(bad.submit()), ("Completed", "COMPLETED", None)),
    "raises": (lambda: 1 / 0, ("Failed", "FAILED", "Flow run encountered an exception: ZeroDivisionError: division by zero")),
    "raises what its task raised": (lambda: bad(), ("Failed", "FAILED", "Flow run encountered an exception: ValueError: bad task")),
}  # fmt: skip


@pytest.mark.parametrize("case", OUTCOMES)
def test_final_state_of_a_flow(colour: Colour, case: str) -> None:
    act, (name, kind, message) = OUTCOMES[case]

    @colour.flow(flow_run_name="the run")
    async def main():
        return act()

    with history() as seen:
        state = colour.run(main, return_state=True)
    assert (state.name, state.type.value, state.message) == (name, kind, message)
    assert seen.names("the run") == ["Running", name]


CALLS = {
    # what the flow does: what a plain call of it gives or raises
    "nothing": (lambda: None, lambda got: got is None),
    "data": (lambda: [1], lambda got: got == [1]),
    "an exception as a value": (lambda: ValueError("v"), lambda got: isinstance(got, ValueError)),
    "completed state with data": (lambda: Completed(data=4), lambda got: got == 4),
    "completed state without": (lambda: Completed(message="x"), lambda got: got is None),
    "a future": (lambda: ok.submit(2), lambda got: got.is_completed() and got.result() == 2),
    "futures": (lambda: [ok.submit(2)], lambda got: [state.result() for state in got] == [2]),
    "futures one failed": (lambda: [ok.submit(), bad.submit()], lambda got: [s.name for s in got] == ["Completed", "Failed"]),
    "futures and data": (lambda: [ok.submit(2), 7], lambda got: got[0].result() == 2 and got[1] == 7),
    "dictionary of futures": (lambda: {"a": ok.submit(2)}, lambda got: got["a"].result() == 2),
    "a failed future": (lambda: bad.submit(), ValueError),
    "a failed state": (lambda: Failed(message="hi"), exceptions.FailedRun),
    "a failed state with an exception": (lambda: Failed(data=KeyError("q")), KeyError),
    "a cancelled state": (lambda: Cancelled(message="hi"), exceptions.CancelledRun),
    "a crashed state": (lambda: Crashed(message="hi"), exceptions.CrashedRun),
}  # fmt: skip


@pytest.mark.parametrize("case", CALLS)
def test_what_the_caller_of_a_flow_gets(colour: Colour, case: str) -> None:
    act, expected = CALLS[case]

    @colour.flow
    async def main():
        return act()

    if isinstance(expected, type):
        with pytest.raises(expected):
            colour.run(main)
    else:
        assert expected(colour.run(main))


TASK_OUTCOMES = {
    "nothing": (lambda: None, ("Completed", "COMPLETED", None)),
    "an exception as a value": (lambda: ValueError("m"), ("Completed", "COMPLETED", None)),
    "a completed state": (lambda: Completed(message="m", data=3), ("Completed", "COMPLETED", "m")),
    "a named state": (lambda: Completed(name="Odd", message="m"), ("Odd", "COMPLETED", "m")),
    "a failed state": (lambda: Failed(message="m"), ("Failed", "FAILED", "m")),
    "a cancelled state": (lambda: Cancelled(message="m"), ("Cancelled", "CANCELLED", "m")),
    "states": (lambda: [Completed(), Failed()], ("Failed", "FAILED", "1/2 states failed.")),
    "raises": (lambda: 1 / 0, ("Failed", "FAILED", "Task run encountered an exception ZeroDivisionError: division by zero")),
}  # fmt: skip


@pytest.mark.parametrize("case", TASK_OUTCOMES)
def test_final_state_of_a_task(colour: Colour, case: str) -> None:
    act, (name, kind, message) = TASK_OUTCOMES[case]

    @colour.task(task_run_name="the run")
    async def one():
        return act()

    with history() as seen:
        state = colour.run(one, return_state=True)
    assert (state.name, state.type.value, state.message) == (name, kind, message)
    assert seen.names("the run") == ["Running", name]


def test_a_state_that_a_task_returns_is_handed_to_the_caller(colour: Colour) -> None:
    @colour.task
    async def one(state):
        return state

    made = colour.run(one, Completed(name="Odd", message="m", data=3))
    assert made == 3 or made.name == "Odd"

    @colour.task
    async def two():
        return Completed(name="Odd", message="m", data=3)

    got = colour.run(two)
    assert (got.name, got.message, got.result()) == ("Odd", "m", 3)


def test_a_state_that_a_submitted_task_returns_is_the_futures() -> None:
    @task
    def one():
        return Completed(name="Odd", message="m", data=3)

    @flow
    def main():
        future = one.submit()
        future.wait()
        return future.state.name, future.result()

    assert main() == ("Odd", 3)


def test_a_failed_subflow_fails_its_parent_unless_caught(colour: Colour) -> None:
    @colour.flow
    async def child():
        raise ValueError("child")

    @colour.flow
    async def careless():
        await colour(child)

    @colour.flow
    async def careful():
        try:
            await colour(child)
        except ValueError:
            return "went on"

    assert colour.run(careless, return_state=True).is_failed()
    assert colour.run(careful) == "went on"


def test_futures_left_behind_are_waited_for() -> None:
    ended = []

    @task
    def slow(event):
        event.wait(10)
        ended.append(1)

    @flow
    def main():
        import threading

        event = threading.Event()
        slow.submit(import_module("utilities.annotations").quote(event))
        threading.Timer(0.05, event.set).start()

    main()
    assert ended == [1]


def test_a_left_behind_failure_does_not_fail_the_flow() -> None:
    @flow
    def main():
        bad.submit()
        return 3

    assert main() == 3


@riverrun_only("the peer loops for ever when a flow returns a state that is not final")
@pytest.mark.parametrize("make", [Running, Pending], ids=["running", "pending"])
def test_returning_a_state_that_is_not_final_ends(colour: Colour, make) -> None:
    @colour.flow
    async def main():
        return make()

    state = colour.run(main, return_state=True)
    assert state.is_final()
    assert state.is_failed()


def test_a_tuple_of_states_that_a_task_returns_is_judged(colour: Colour) -> None:
    @colour.task
    async def main():
        return Completed(), Failed()

    state = colour.run(main, return_state=True)
    assert (state.name, state.message) == ("Failed", "1/2 states failed.")
