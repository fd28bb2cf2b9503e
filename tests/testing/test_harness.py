"""The harness: what it reads from a journal in memory, and what its assertions say."""

from types import SimpleNamespace
from uuid import uuid4

import pytest

from riverrun.base.clock import now, to_micros
from riverrun.base.config import settings
from riverrun.base.ids import uuid7
from riverrun.client import journal
from riverrun.filesystems import InMemoryFileSystem
from riverrun.testing import prefect_test_harness, riverrun_test_harness
from riverrun.wire.journal import (
    FLOW_RUN,
    TASK_RUN,
    FlowRunRecord,
    LogRecord,
    RunUpdateRecord,
    StateRecord,
    TaskRunRecord,
)
from riverrun.wire.states import TYPE_CODES, StateType


@pytest.fixture
def harness():
    with riverrun_test_harness() as harness:
        yield harness


def add_flow_run(name="brave-otter", flow_name="etl", **fields):
    run_id = uuid7()
    journal.append(FlowRunRecord(id=run_id.bytes, flow_name=flow_name, name=name, created=to_micros(now()), **fields))
    return run_id


def add_task_run(flow_run_id=None, name="load-0", task_key="load-0a1b2c3d", **fields):
    run_id = uuid7()
    flow = None if flow_run_id is None else flow_run_id.bytes
    journal.append(TaskRunRecord(run_id.bytes, flow, task_key, "0", name, to_micros(now()), **fields))
    return run_id


def enter(run_id, *types, kind=FLOW_RUN, **fields):
    for kind_of_state in types:
        code = TYPE_CODES[StateType(kind_of_state)]
        journal.append(StateRecord(kind, run_id.bytes, uuid7().bytes, code, to_micros(now()), **fields))


def log(message, flow_run_id=None, task_run_id=None, level=20):
    ids = (None if one is None else one.bytes for one in (flow_run_id, task_run_id))
    journal.append(LogRecord(*ids, to_micros(now()), level, "riverrun.flow_runs", message))


def test_runs_have_the_fields_of_their_records(harness):
    flow_run_id = add_flow_run(parameters=b'{"a": [1]}', tags=["x"], retries=2, flow_version="v")
    upstream = uuid4()
    task_run_id = add_task_run(
        flow_run_id,
        inputs={
            "a": [("task_run", upstream.bytes, None)],
            "b": [("parameter", None, "p")],
            "c": [("constant", None, "int")],
        },
        tags=["y"],
    )
    flow_run, task_run = harness.runs()
    assert (flow_run.id, flow_run.name, flow_run.parameters, flow_run.tags) == (
        flow_run_id,
        "brave-otter",
        {"a": [1]},
        ["x"],
    )
    assert (flow_run.empirical_policy.retries, flow_run.flow_version, harness.flow_name(flow_run)) == (2, "v", "etl")
    assert (task_run.id, task_run.flow_run_id, task_run.tags) == (task_run_id, flow_run_id, ["y"])
    assert task_run.task_inputs["a"][0].id == upstream
    assert task_run.task_inputs["b"][0].name == "p"
    assert task_run.task_inputs["c"][0].type == "int"
    assert harness.flow_runs == [flow_run]
    assert harness.task_runs == [task_run]


def test_states_move_the_run_on(harness):
    run_id = add_flow_run()
    enter(run_id, "PENDING", "RUNNING")
    enter(run_id, "SCHEDULED", name="AwaitingRetry", details={"scheduled_time": "2030-01-01T00:00:00Z"})
    enter(run_id, "RUNNING", name="Retrying")
    enter(run_id, "FAILED", message="no luck")
    run = harness.run(run_id)
    assert (run.state_type, run.state_name, run.run_count) == (StateType.FAILED, "Failed", 2)
    assert run.state.message == "no luck"
    assert run.state.state_details.flow_run_id == run_id
    assert run.end_time >= run.start_time
    states = harness.states(run)
    assert [state.name for state in states] == ["Pending", "Running", "AwaitingRetry", "Retrying", "Failed"]
    assert states[2].state_details.scheduled_time.year == 2030
    harness.assert_state_history(run, ["Pending", "Running", "AwaitingRetry", "Retrying", "Failed"])
    with pytest.raises(
        AssertionError, match=r"should have gone through Pending, Completed, but it went through:"
    ) as caught:
        harness.assert_state_history(run, ["Pending", "Completed"])
    assert "Failed: no luck" in str(caught.value)


def test_updates_change_the_run(harness):
    run_id = add_flow_run()
    journal.append(RunUpdateRecord(FLOW_RUN, run_id.bytes, {"name": "renamed", "unknown": 1}))
    assert harness.run(run_id).name == "renamed"


def test_runs_are_found_by_anything_that_names_them(harness):
    flow_run_id = add_flow_run()
    task_run_id = add_task_run(flow_run_id)
    enter(task_run_id, "RUNNING", kind=TASK_RUN)
    run = harness.run(task_run_id)
    future = SimpleNamespace(task_run_id=task_run_id)
    for reference in (run, run.state, future, str(task_run_id), "load-0", "load"):
        assert harness.run(reference).id == task_run_id
    assert harness.run("etl").id == flow_run_id
    with pytest.raises(AssertionError, match="there is no run"):
        harness.run(uuid4())
    with pytest.raises(AssertionError, match="0 runs are named 'nobody'; runs: brave-otter, load-0"):
        harness.run("nobody")
    with pytest.raises(TypeError, match="not by 3"):
        harness.run(3)
    add_task_run(flow_run_id, name="load-1")
    with pytest.raises(AssertionError, match="2 runs are named 'load'; runs: load-0, load-1"):
        harness.run("load")


def test_log_lines(harness):
    flow_run_id = add_flow_run()
    task_run_id = add_task_run(flow_run_id)
    log("began", flow_run_id)
    log("odd", flow_run_id, task_run_id, level=30)
    log("other", uuid4())
    assert [line.message for line in harness.logs()] == ["began", "odd", "other"]
    assert [line.message for line in harness.logs("etl")] == ["began", "odd"]
    assert [line.message for line in harness.logs("load-0")] == ["odd"]
    assert [line.message for line in harness.logs(level="warning")] == ["odd"]
    harness.assert_logged("beg")
    harness.assert_logged("odd", level="WARNING", run=task_run_id)
    with pytest.raises(AssertionError, match=r"no line contains 'beg'; what was logged:\n  WARNING odd"):
        harness.assert_logged("beg", run="load-0")


def test_what_ran(harness):
    with pytest.raises(AssertionError, match=r"'etl' should have run, it ran 0 time\(s\); what ran: nothing"):
        harness.assert_ran("etl")
    parent = add_flow_run()
    mirror = add_task_run(parent, name="sub", task_key="sub-00000000")
    add_flow_run("quiet-fox", "sub", parent_task_run_id=mirror.bytes)
    add_task_run(parent)
    add_task_run(parent, name="renamed")
    harness.assert_ran("etl", times=1)
    harness.assert_ran("sub", times=1)
    harness.assert_ran("load", times=2)
    harness.assert_ran("never", times=0)
    harness.assert_ran(SimpleNamespace(task_key="load-0a1b2c3d", name="load"), times=2)
    harness.assert_ran(SimpleNamespace(name="sub"), times=1)
    with pytest.raises(AssertionError, match=r"'load' should have run 3 time\(s\), it ran 2.*what ran: etl, load, sub"):
        harness.assert_ran("load", times=3)


def test_a_block_sees_only_what_ran_in_it(harness):
    add_flow_run("outer")
    with prefect_test_harness(server_startup_timeout=1) as inner:
        add_flow_run("inner")
        assert [run.name for run in inner.runs()] == ["inner"]
    add_flow_run("after")
    assert [run.name for run in harness.runs()] == ["outer", "after"]


def test_settings_of_the_block(monkeypatch, tmp_path):
    monkeypatch.setenv("RIVERRUN_JOURNAL_DIR", str(tmp_path / "journal"))
    monkeypatch.setenv("RIVERRUN_API_URL", "http://nowhere/api")
    before = settings()
    with riverrun_test_harness():
        inside = settings()
        assert inside.test_mode
        assert inside.api_url is None
        assert inside.home != before.home
        assert inside.journal_dir == inside.home / "journal"
        storage = InMemoryFileSystem(inside.results_default_storage_block.partition("://")[2])
        storage.write_path("x", b"1")
        assert not inside.home.exists()
        inside.home.mkdir()
        (inside.home / "left").write_text("by a child process")
    assert not inside.home.exists()
    assert settings().api_url == "http://nowhere/api"
    with pytest.raises(ValueError, match="does not exist"):
        InMemoryFileSystem(storage.name).read_path("x")


def test_an_error_inside_passes_and_the_journal_is_put_back():
    with riverrun_test_harness() as outer:
        with pytest.raises(LookupError), riverrun_test_harness():
            raise LookupError
        add_flow_run("seen")
        assert len(outer.runs()) == 1
