"""Flows at the edges of their contract: unusual ends, names, retries around subflows, scripts that only half load."""

import asyncio
import inspect
import logging
import re
import time
from textwrap import dedent

import pytest

from .sdk import ON_PEER, SDK, Colour, flow, history, import_module, riverrun_only, tags, task

flows = import_module("flows")
states = import_module("states")
context = import_module("context")
exceptions = import_module("exceptions")
State, StateType = states.State, states.StateType


# -- how a flow may end -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["flow", "task", "plain"])
def test_returned_coroutine_is_awaited(kind):
    async def body():
        around = context.FlowRunContext.get()
        seen.append(None if around is None else around.flow.name)
        return 7

    seen = []
    callee = {"flow": flow(name="child"), "task": task, "plain": lambda fn: fn}[kind](body)

    @flow(name="parent")
    def parent():
        return callee()

    assert parent() == 7
    if not ON_PEER:  # which has left its flow by then
        assert seen == ["child" if kind == "flow" else "parent"]


def test_returned_coroutine_of_an_async_flow_is_awaited():
    async def later():
        await asyncio.sleep(0)
        return 7

    @flow
    async def parent():
        return later()

    assert asyncio.run(parent()) == 7


def test_returned_coroutine_may_fail():
    async def later():
        raise KeyError("k")

    @flow
    def parent():
        return later()

    with pytest.raises(KeyError, match="k"):
        parent()


@riverrun_only("a run that nobody will start again must not look as if it were scheduled")
@pytest.mark.parametrize("name", ["Scheduled", "AwaitingRetry", "Running", "Pending"])
def test_a_state_that_is_no_end_fails_the_flow(name):
    @flow
    def ends():
        return getattr(states, name)()

    state = ends(return_state=True)
    assert state.is_failed()
    assert name in state.message
    with pytest.raises(exceptions.FailedRun, match=name):
        ends()


def test_cancelling_is_left_to_others(colour: Colour):
    told = []

    @colour.flow(on_cancellation=[lambda flow, run, state: told.append((run.state.type, state.type))])
    async def ends():
        return states.Cancelling()

    assert colour.run(ends, return_state=True).type is StateType.CANCELLING
    assert told == [(StateType.CANCELLING, StateType.CANCELLING)]
    with pytest.raises(exceptions.UnfinishedRun):
        colour.run(ends)


def test_cancellation_hooks_left_to_the_parent_process(monkeypatch):
    monkeypatch.setenv("PREFECT__ENABLE_CANCELLATION_AND_CRASHED_HOOKS", "false")
    told = []

    @flow(on_cancellation=[lambda flow, run, state: told.append(state)])
    def ends():
        return states.Cancelled()

    assert ends(return_state=True).is_cancelled()
    assert told == []


def test_subflow_struck_makes_its_own_hooks_run_and_the_parent_fail():
    told = []

    @flow(on_crashed=[lambda flow, run, state: told.append("child crashed")])
    def child():
        return State(type=StateType.CRASHED)

    @flow(on_failure=[lambda flow, run, state: told.append("parent failed")])
    def parent():
        child()

    assert parent(return_state=True).is_failed()
    assert told == ["child crashed", "parent failed"]


def test_a_task_submitted_just_before_the_flow_fails_still_runs(colour: Colour):
    ran = []

    @colour.task
    async def note():
        ran.append(1)

    @colour.flow(retries=1)
    async def fails():
        note.submit()
        raise ValueError("at once")

    assert colour.run(fails, return_state=True).is_failed()
    assert ran == [1, 1]


@riverrun_only("a run that is struck while it waits for its next attempt is told to its hooks as well")
def test_struck_between_two_attempts():
    told = []

    @flow(retries=1, retry_delay_seconds=60, on_crashed=[lambda flow, run, state: told.append(state.name)])
    async def fails():
        running.get_loop().call_later(0.05, running.cancel)
        raise ValueError("first")

    async def main():
        nonlocal running
        running = asyncio.ensure_future(fails())
        await running

    running: asyncio.Future[None]
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(main())
    assert told == ["Crashed"]


# -- names and options -------------------------------------------------------------------------------------------------


def test_name_of_a_lambda():
    assert flow(lambda: 1).name == "unknown-lambda"


@pytest.mark.parametrize("character", ["/", "%", "&", "<", ">"])
def test_characters_that_names_may_not_have(character):
    with pytest.raises(exceptions.InvalidNameError, match="contains an invalid character"):
        flows.Flow(lambda: 1, name=f"a{character}b")


def test_version_is_the_hash_of_the_file():
    hashing = import_module("utilities.hashing")
    assert flow(lambda: 1).version == hashing.file_hash(__file__)
    assert flow(version="v7")(lambda: 1).version == "v7"


def test_time_out_of_zero_is_none():
    timed = flow(timeout_seconds=3)(lambda: 1)
    assert timed.timeout_seconds == 3
    assert timed.with_options(timeout_seconds=0).timeout_seconds is None


def test_with_options_takes_the_options_of_flow():
    ours = {name for name in inspect.signature(flow).parameters if not name.endswith("__fn")}
    assert ours == set(inspect.signature(flows.Flow.with_options).parameters) - {"self"}


def test_run_name_template_that_is_neither_text_nor_function():
    @flow
    def named():
        return 1

    named.flow_run_name = object()
    with pytest.raises(TypeError, match="Expected string or callable for 'flow_run_name'; got object instead"):
        named()


def test_run_name_is_made_once_for_all_attempts():
    made = []

    @flow(retries=2, flow_run_name=lambda: made.append(1) or "once")
    def fails():
        raise ValueError("no")

    assert fails(return_state=True).is_failed()
    assert made == [1]


# -- subflows ----------------------------------------------------------------------------------------------------------


def test_states_of_a_subflow_name_its_task_run():
    @flow
    def child():
        return context.FlowRunContext.get().flow_run.parent_task_run_id

    @flow
    def parent():
        return child(return_state=True)

    inner = parent()
    assert inner.state_details.task_run_id == inner.result()
    assert inner.state_details.flow_run_id is not None


def test_kept_subflow_does_not_run_again_when_its_parent_does(colour: Colour):
    calls = []

    @colour.flow(persist_result=True)
    async def child(x):
        calls.append(x)
        return x * 2

    attempts = []

    @colour.flow(retries=1, persist_result=True)
    async def parent():
        attempts.append(1)
        found = [await colour(child, 1), await colour(child, 2)]
        if len(attempts) == 1:
            raise ValueError("again")
        return found

    assert colour.run(parent) == [2, 4]
    assert calls == [1, 2]


@riverrun_only("the peer looks at the order of the calls only, and gives the second attempt the result of another call")
def test_kept_subflow_runs_again_for_other_parameters():
    calls = []

    @flow(persist_result=True)
    def child(x):
        calls.append(x)
        return x * 2

    @flow(retries=1)
    def parent():
        first = not calls
        found = child(1 if first else 3)
        if first:
            raise ValueError("again")
        return found

    assert parent() == 6
    assert calls == [1, 3]


def test_subflow_without_a_kept_result_runs_again_under_the_same_task_run():
    seen = []

    @flow
    def child():
        run = context.FlowRunContext.get().flow_run
        seen.append((run.id, run.parent_task_run_id))
        if len(seen) == 1:
            raise ValueError("first")
        return "ok"

    @flow(retries=1)
    def parent():
        return child()

    assert parent() == "ok"
    (first, shown_first), (second, shown_second) = seen
    assert first != second
    assert shown_first == shown_second


@riverrun_only("told by the journal")
def test_reused_subflow_leaves_no_second_run():
    @flow(persist_result=True, flow_run_name="kept")
    def child():
        return 1

    attempts = []

    @flow(retries=1, flow_run_name="around")
    def parent():
        attempts.append(child())
        if len(attempts) == 1:
            raise ValueError("again")

    with history() as seen:
        parent()
    assert attempts == [1, 1]
    assert seen.names("kept") == ["Running", "Completed"]
    assert seen.names("around") == ["Running", "AwaitingRetry", "Running", "Completed"]


def test_tags_of_a_subflow_are_those_around_its_call():
    @flow
    def child():
        return set(context.FlowRunContext.get().flow_run.tags)

    @flow
    def parent():
        with tags("c"):
            return child()

    with tags("a", "b"):
        assert parent() == {"a", "b", "c"}


def test_time_out_of_a_parent_ends_its_subflow():
    ended = []

    @flow
    def child():
        time.sleep(10)
        ended.append("not interrupted")

    @flow(timeout_seconds=0.2)
    def parent():
        child()

    assert parent(return_state=True).name == "TimedOut"
    assert ended == []


# -- contexts by hand --------------------------------------------------------------------------------------------------


def test_a_context_is_entered_once_at_a_time():
    tagged = context.TagsContext(current_tags={"x"})
    with tagged:
        with pytest.raises(RuntimeError, match="Context already entered"), tagged:
            pass
        with tagged.model_copy():
            assert context.TagsContext.get().current_tags == {"x"}
    with tagged:
        assert context.TagsContext.get().current_tags == {"x"}


def test_nothing_to_serialize_outside_of_runs():
    carried = context.serialize_context()
    assert carried["flow_run_context"] == carried["task_run_context"] == carried["tags_context"] == {}
    with tags("x"):
        assert context.serialize_context()["tags_context"] == {"current_tags": {"x"}}


# -- by hand -----------------------------------------------------------------------------------------------------------


def test_run_flow_by_hand():
    engine = import_module("flow_engine")

    @flow
    def plain(x: int, y=2):
        return x, y

    @flow
    async def coloured(x: int, y=2):
        return x, y

    @flow
    def items(n):
        yield from range(n)

    assert engine.run_flow(plain, parameters={"x": "1", "y": 3}) == (1, 3)
    assert engine.run_flow_sync(plain, parameters={"x": "no", "y": 3}, return_type="state").is_failed()
    assert asyncio.run(engine.run_flow(coloured, parameters={"x": "1", "y": 3})) == (1, 3)
    assert list(engine.run_flow(items, parameters={"n": 2})) == [0, 1]


# -- flows from scripts ------------------------------------------------------------------------------------------------


def script(path, text, name="script.py"):
    place = path / name
    place.write_text(f"from {SDK} import flow\n" + dedent(text))
    return place


def test_script_that_lacks_a_module_gives_its_flow_all_the_same(tmp_path):
    place = script(
        tmp_path,
        """
        from no_such_module import thing

        @flow(description="Barks", retries=2)
        def bark(times: thing = thing.DEFAULT):
            return "woof", times
        """,
        "lacking.py",
    )
    found = flows.load_flow_from_entrypoint(f"{place}:bark")
    assert (found.name, found.description, found.retries) == ("bark", "Barks", 2)
    assert found() == ("woof", None)
    with pytest.raises(exceptions.ScriptError):
        flows.load_flow_from_entrypoint(f"{place}:bark", use_placeholder_flow=False)


def test_arguments_of_a_flow_in_a_script(tmp_path, caplog):
    place = script(
        tmp_path,
        """
        from no_such_module import name_it
        version = "2.0"

        def shout(text):
            return text.upper()

        @flow(name=f"v-{version}", description="plain")
        def first(): ...

        @flow(name=shout("loud"))
        async def second(): ...

        @flow
        def third_one(): ...

        @flow(name=name_it())
        def fourth_one(): ...
        """,
    )
    read = flows.load_flow_arguments_from_entrypoint
    assert read(f"{place}:first") == {"name": "v-2.0", "description": "plain"}
    assert read(f"{place}:first", arguments=["description"]).get("description") == "plain"
    assert read(f"{place}:second")["name"] == "LOUD"
    assert read(f"{place}:third_one") == {"name": "third-one"}
    with caplog.at_level(logging.WARNING):
        assert read(f"{place}:fourth_one") == {"name": "fourth-one"}
    if not ON_PEER:  # whose lines do not reach the root logger here
        assert "Failed to parse @flow argument: `name=name_it()`" in caplog.text
    with pytest.raises(ValueError, match=re.escape(f"Could not find {'object' if ON_PEER else 'flow'} 'fifth'")):
        read(f"{place}:fifth")


def test_script_may_import_from_the_current_directory(tmp_path, monkeypatch):
    package = tmp_path / "pack_of_flows"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "values.py").write_text("FIVE = 5\n")
    script(package, "from pack_of_flows.values import FIVE\n\n@flow\ndef five():\n    return FIVE\n", "flows_in.py")
    monkeypatch.chdir(tmp_path)
    assert flows.load_flow_from_entrypoint("pack_of_flows/flows_in.py:five")() == 5
    assert flows.load_flow_from_entrypoint("pack_of_flows.flows_in.five")() == 5


def test_function_as_flow(tmp_path):
    (tmp_path / "functions.py").write_text("def double(x):\n    return 2 * x\n")
    found = flows.load_function_and_convert_to_flow(f"{tmp_path}/functions.py:double")
    assert isinstance(found, flows.Flow)
    assert found(4) == 8
