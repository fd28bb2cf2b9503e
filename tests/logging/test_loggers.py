"""Run loggers: which run they speak for, what their records carry, and how they are silenced."""

import logging

import pytest

from riverrun.context import FlowRunContext, TaskRunContext
from riverrun.exceptions import MissingContextError
from riverrun.logging import (
    LogEavesdropper,
    disable_logger,
    disable_run_logger,
    engine_logger,
    flow_run_logger,
    get_logger,
    get_run_logger,
    is_enabled,
    task_run_logger,
)
from riverrun.logging.loggers import PrefectLogAdapter, RunLogAdapter
from riverrun.wire.journal import FLOW_RUN, TASK_RUN
from riverrun.wire.runs import FlowRun, TaskRun


@pytest.mark.parametrize("name", [None, "", "riverrun"])
def test_the_root_logger_is_riverrun(name):
    assert get_logger(name).name == "riverrun"


def test_child_loggers():
    assert get_logger("foo").name == "riverrun.foo"
    assert get_logger("riverrun.foo").name == "riverrun.foo"
    assert get_logger("riverrunning").name == "riverrun.riverrunning"


def test_outside_of_runs_the_error_says_what_to_do():
    with pytest.raises(MissingContextError, match="no active flow or task run context.*get_logger"):
        get_run_logger()


def test_the_innermost_run_is_spoken_for(owner, flow_run, task_run):
    with FlowRunContext(flow=owner("f"), flow_run=flow_run):
        logger = get_run_logger()
        assert logger.name == "riverrun.flow_runs"
        assert logger.extra == {
            "flow_run_name": "brave-otter",
            "flow_run_id": str(flow_run.id),
            "flow_name": "f",
            "deployment_name": None,
        }
        with TaskRunContext(task=owner("t"), task_run=task_run):
            logger = get_run_logger()
            assert logger.name == "riverrun.task_runs"
            assert logger.extra == {
                "task_run_id": str(task_run.id),
                "flow_run_id": str(flow_run.id),
                "task_run_name": "t-0",
                "task_name": "t",
                "flow_run_name": "brave-otter",
                "flow_name": "f",
            }


def test_a_task_outside_of_flows(owner):
    with TaskRunContext(task=owner("t"), task_run=TaskRun(name="t")):
        extra = get_run_logger().extra
    assert extra["flow_run_id"] is None
    assert extra["flow_run_name"] == "<unknown>"


def test_an_explicit_context_wins(owner, flow_run, task_run):
    other = FlowRun(name="other")
    context = FlowRunContext(flow=owner("g"), flow_run=other)
    with FlowRunContext(flow=owner("f"), flow_run=flow_run), TaskRunContext(task=owner("t"), task_run=task_run):
        assert get_run_logger(context).extra["flow_run_name"] == "other"
        assert get_run_logger(context).name == "riverrun.flow_runs"
        explicit = TaskRunContext(task=owner("u"), task_run=TaskRun(name="u-0"))
        assert get_run_logger(explicit).extra["task_name"] == "u"


def test_a_context_of_another_type_is_refused():
    with pytest.raises(TypeError, match="Received unexpected type 'str' for context"):
        get_run_logger("my man!")


def test_more_extra(flow_run, task_run, owner):
    with FlowRunContext(flow=owner("f"), flow_run=flow_run):
        assert get_run_logger(foo=1, flow_name="x").extra["foo"] == 1
        assert get_run_logger(flow_name="x").extra["flow_name"] == "x"
    assert flow_run_logger(flow_run, owner("g"), foo=2).extra["foo"] == 2
    assert flow_run_logger(flow_run_id=flow_run.id).extra["flow_run_id"] == str(flow_run.id)
    assert flow_run_logger().extra["flow_run_id"] == "<unknown>"
    logger = task_run_logger(task_run, owner("t"), flow_run=flow_run, task_run_name="y")
    assert logger.extra["task_run_name"] == "y"
    assert logger.extra["flow_run_name"] == "brave-otter"


def test_children_and_calls_add_extra(caplog):
    parent = PrefectLogAdapter(get_logger("parent"), {"hello": "world"})
    child = parent.getChild("child", {"goodnight": "moon"})
    assert isinstance(child, RunLogAdapter)
    assert child.logger.name == "riverrun.parent.child"
    assert child.extra == {"hello": "world", "goodnight": "moon"}
    child.warning("x", extra={"hello": "you"})
    assert (caplog.records[0].hello, caplog.records[0].goodnight) == ("you", "moon")


def test_records_name_the_place_of_the_call(caplog, flow_run):
    flow_run_logger(flow_run).warning("here")
    assert caplog.records[0].funcName == "test_records_name_the_place_of_the_call"


def test_disabled_loggers(caplog):
    logger = logging.getLogger("some.library")
    with disable_logger("some.library"):
        logger.critical("unheard")
        assert logger.disabled
    assert not logger.disabled
    assert caplog.records == []


def test_disabled_run_loggers_let_functions_be_tested_outside_of_runs(caplog):
    outer = logging.getLogger("riverrun.task_run")
    outer.disabled = True
    try:
        with disable_run_logger():
            get_run_logger().critical("to nobody")
        assert outer.disabled
    finally:
        outer.disabled = False
    assert caplog.record_tuples == [("null", logging.CRITICAL, "to nobody")]
    with pytest.raises(MissingContextError):
        get_run_logger()


def test_the_engine_asks_before_it_speaks():
    assert engine_logger(FLOW_RUN).name == "riverrun.flow_runs"
    assert engine_logger(TASK_RUN).name == "riverrun.task_runs"
    assert is_enabled(logging.ERROR)
    assert not is_enabled(logging.DEBUG, FLOW_RUN)


def test_eavesdropping():
    logger = logging.getLogger("my_logger")
    with LogEavesdropper("my_logger", level=logging.INFO) as ear:
        logger.info("Hello, world!")
        logger.info("Another one!")
        logger.debug("too quiet")
    logger.critical("after")
    assert ear.text() == "[INFO]: Hello, world!\n[INFO]: Another one!"
