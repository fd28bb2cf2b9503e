"""`print` as a line of the run's log, where the run asked for it."""

import builtins
import io
import sys
import threading

import pytest

from riverrun.context import FlowRunContext, TaskRunContext
from riverrun.logging import patch_print
from riverrun.logging.prints import print_as_log

original = builtins.print


@pytest.fixture
def task_context(owner, task_run):
    return lambda log_prints: TaskRunContext(task=owner("t"), task_run=task_run, log_prints=log_prints)


@pytest.fixture
def flow_context(owner, flow_run):
    return lambda log_prints: FlowRunContext(flow=owner("f"), flow_run=flow_run, log_prints=log_prints)


def test_outside_of_runs_it_prints(capsys, journaled):
    with patch_print():
        assert builtins.print is print_as_log
        print("foo")
    assert builtins.print is original
    assert capsys.readouterr().out == "foo\n"
    assert journaled == []


def test_runs_that_did_not_ask_print(capsys, journaled, task_context, flow_context):
    with patch_print(), flow_context(True), task_context(False):
        print("foo")
    assert capsys.readouterr().out == "foo\n"
    assert journaled == []


def test_the_innermost_run_logs_it(capsys, caplog, journaled, task_context, flow_context, task_run, flow_run):
    with caplog.at_level("INFO"), patch_print(), flow_context(True):
        print("flow")
        with task_context(True):
            print("task")
    assert capsys.readouterr().out == ""
    assert [line.message for line in journaled] == ["flow", "task"]
    assert [line.task_run_id for line in journaled] == [None, task_run.id.bytes]
    record = caplog.records[1]
    assert (record.levelname, record.name, record.task_run_id) == ("INFO", "riverrun.task_runs", str(task_run.id))
    assert record.funcName == "test_the_innermost_run_logs_it"


def test_separators_ends_and_objects(journaled, flow_context):
    with patch_print(), flow_context(True):
        print("a", 1, None, sep="-", end="!")
        print("100 %s\n")
        print()
        print("flushed", flush=True)
    assert [line.message for line in journaled] == ["a-1-None!", "100 %s\n", "", "flushed"]


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_the_standard_streams_are_logged_other_files_are_not(capsys, journaled, flow_context, stream):
    elsewhere = io.StringIO()
    with patch_print(), flow_context(True):
        print("logged", file=getattr(sys, stream))
        print("written", file=elsewhere)
    assert [line.message for line in journaled] == ["logged"]
    assert elsewhere.getvalue() == "written\n"
    assert capsys.readouterr().out == ""


def test_overlapping_blocks_leave_print_as_it_was(journaled):
    inside, leave = threading.Event(), threading.Event()

    def other():
        with patch_print():
            inside.set()
            leave.wait(10)

    thread = threading.Thread(target=other)
    with patch_print():
        thread.start()
        assert inside.wait(10)
    assert builtins.print is print_as_log
    leave.set()
    thread.join(10)
    assert builtins.print is original


def test_an_error_inside_restores_print():
    with pytest.raises(RuntimeError), patch_print():
        raise RuntimeError
    assert builtins.print is original


def test_a_print_of_somebody_else_is_respected(monkeypatch, journaled, flow_context):
    seen = []

    def theirs(*args, **kwargs):
        seen.append(args)

    monkeypatch.setattr(builtins, "print", theirs)
    with patch_print():
        print("outside")
        with flow_context(True):
            print("inside")
    assert builtins.print is theirs
    assert seen == [("outside",)]
    assert journaled[0].message == "inside"


def test_a_print_that_was_replaced_inside_stays(monkeypatch):
    def theirs(*args, **kwargs):
        pass

    monkeypatch.setattr(builtins, "print", original)
    with patch_print():
        builtins.print = theirs
    assert builtins.print is theirs
