"""What the runtime modules answer inside and outside of runs, and how the environment replaces answers."""

import contextvars
import threading
from datetime import UTC, datetime
from types import SimpleNamespace
from uuid import uuid4

import pytest

import riverrun
from riverrun.base.config import temporary_settings
from riverrun.context import FlowRunContext, TaskRunContext
from riverrun.runtime import deployment, flow_run, task_run
from riverrun.wire.runs import FlowRun, TaskRun

MODULES = {"flow_run": flow_run, "task_run": task_run, "deployment": deployment}


def flow_context(run=None, name="f", parent=None, **fields):
    owner = SimpleNamespace(name=name, version="v1")
    return FlowRunContext(flow=owner, flow_run=run or FlowRun(name="brave"), parent=parent, **fields)


def task_context(run=None, **fields):
    return TaskRunContext(task=SimpleNamespace(name="t"), task_run=run or TaskRun(name="t-0"), **fields)


@pytest.mark.parametrize("module", MODULES.values(), ids=MODULES)
class TestAccess:
    def test_unknown_attributes_fail(self, module):
        with pytest.raises(AttributeError, match="beep"):
            module.beep

    def test_known_attributes_complete(self, module):
        assert "id" in dir(module)
        assert "foo" not in dir(module)
        assert sorted(module.FIELDS) == dir(module)

    def test_a_new_attribute_by_environment(self, module, monkeypatch):
        kind = module.__name__.rpartition(".")[2].upper()
        monkeypatch.setenv(f"RIVERRUN__RUNTIME__{kind}__NEW_KEY", "foobar")
        assert module.new_key == "foobar"

    @pytest.mark.parametrize(
        ("value", "given", "expected"),
        [
            (True, "False", False),
            (False, "true", True),
            (10, "20", 20),
            (10.5, "20.5", 20.5),
            ("foo", "bar", "bar"),
            (None, "bar", "bar"),
            (datetime(2020, 1, 1, tzinfo=UTC), "2024-05-06T07:08:09", datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)),
        ],
    )
    @pytest.mark.parametrize("prefix", ["RIVERRUN", "PREFECT"])
    def test_the_environment_is_read_as_the_true_type(self, module, monkeypatch, value, given, expected, prefix):
        kind = module.__name__.rpartition(".")[2].upper()
        monkeypatch.setitem(module.FIELDS, "some_attribute", lambda: value)
        monkeypatch.setenv(f"{prefix}__RUNTIME__{kind}__SOME_ATTRIBUTE", given)
        found = module.some_attribute
        assert type(found) is type(expected)
        assert found == expected

    @pytest.mark.parametrize("value", [[1, 2], {"a": 1}])
    def test_collections_cannot_be_mocked(self, module, monkeypatch, value):
        kind = module.__name__.rpartition(".")[2].upper()
        monkeypatch.setitem(module.FIELDS, "some", lambda: value)
        monkeypatch.setenv(f"RIVERRUN__RUNTIME__{kind}__SOME", "foo")
        with pytest.raises(ValueError, match="cannot be mocked"):
            module.some


def test_unknown_names_cannot_be_imported():
    with pytest.raises(ImportError, match="boop"):
        from riverrun.runtime.flow_run import boop  # noqa: F401


def test_reached_from_the_package():
    assert riverrun.runtime.flow_run.id is None


def test_outside_of_runs():
    answers = {name: getattr(flow_run, name) for name in dir(flow_run)}
    assert abs((answers.pop("scheduled_start_time") - datetime.now(UTC)).total_seconds()) < 60
    assert answers == {
        "api_url": None,
        "flow_name": None,
        "flow_version": None,
        "id": None,
        "job_variables": None,
        "name": None,
        "parameters": {},
        "parent_deployment_id": None,
        "parent_flow_run_id": None,
        "root_flow_run_id": None,
        "run_count": 0,
        "tags": [],
        "ui_url": None,
    }
    assert {name: getattr(task_run, name) for name in dir(task_run)} == {
        "api_url": None,
        "id": None,
        "name": None,
        "parameters": {},
        "run_count": 0,
        "tags": [],
        "task_name": None,
        "ui_url": None,
    }
    assert {name: getattr(deployment, name) for name in dir(deployment)} == {
        "flow_run_id": None,
        "id": None,
        "name": None,
        "parameters": {},
        "version": None,
    }


def test_inside_a_flow_run():
    due = datetime(2030, 1, 1, tzinfo=UTC)
    run = FlowRun(name="brave", tags=["a", "b"], run_count=2, expected_start_time=due, job_variables={"x": 1})
    with flow_context(run, parameters={"p": [1]}), temporary_settings({"api_url": "http://host:4200/api"}):
        assert flow_run.id == flow_run.root_flow_run_id == deployment.flow_run_id == str(run.id)
        assert (flow_run.name, flow_run.flow_name, flow_run.flow_version) == ("brave", "f", "v1")
        assert (flow_run.tags, flow_run.run_count, flow_run.parameters) == (["a", "b"], 2, {"p": [1]})
        assert flow_run.scheduled_start_time == due
        assert flow_run.job_variables == {"x": 1}
        assert flow_run.parent_flow_run_id is None
        assert flow_run.api_url == f"http://host:4200/api/flow-runs/flow-run/{run.id}"
        assert flow_run.ui_url == f"http://host:4200/flow-runs/flow-run/{run.id}"
        assert (task_run.id, deployment.id, deployment.parameters) == (None, None, {})
    assert flow_run.id is None


def test_inside_a_task_run():
    flow_run_id = uuid4()
    run = TaskRun(name="t-3", tags=["c"], run_count=1, flow_run_id=flow_run_id)
    with task_context(run, parameters={"x": 1}), temporary_settings({"api_url": "http://host/api/"}):
        assert (task_run.id, task_run.name, task_run.task_name) == (str(run.id), "t-3", "t")
        assert (task_run.tags, task_run.run_count, task_run.parameters) == (["c"], 1, {"x": 1})
        assert task_run.api_url == f"http://host/api/runs/task-run/{run.id}"
        assert task_run.ui_url == f"http://host/runs/task-run/{run.id}"
        assert flow_run.id == str(flow_run_id)


def test_a_task_outside_of_flows_has_no_flow_run():
    with task_context():
        assert flow_run.id is None


def test_subflow_runs_know_their_parents():
    deployed = FlowRun(name="root", deployment_id=uuid4())
    root = flow_context(deployed, parameters={"a": 1})
    middle = flow_context(FlowRun(name="middle"), parent=root)
    with root:
        assert deployment.id == str(deployed.deployment_id)
        assert deployment.parameters == {"a": 1}
        with middle:
            assert flow_run.parent_flow_run_id == flow_run.root_flow_run_id == str(deployed.id)
            assert flow_run.parent_deployment_id == str(deployed.deployment_id)
            assert deployment.id is None
            with flow_context(parent=middle):
                assert flow_run.parent_flow_run_id == str(middle.flow_run.id)
                assert flow_run.root_flow_run_id == str(deployed.id)
                assert flow_run.parent_deployment_id is None


def test_the_run_id_of_the_environment_yields_to_the_context(monkeypatch):
    monkeypatch.setenv("RIVERRUN__FLOW_RUN_ID", "foo")
    assert flow_run.id == deployment.flow_run_id == "foo"
    run = FlowRun(name="x")
    with flow_context(run):
        assert flow_run.id == str(run.id)
    assert flow_run.id == "foo"


def test_copied_contexts_see_their_run_in_threads():
    seen = []
    with flow_context(), task_context(TaskRun(name="mine")):
        context = contextvars.copy_context()
    threads = [
        threading.Thread(target=context.copy().run, args=(lambda: seen.append(task_run.name),)),
        threading.Thread(target=lambda: seen.append(task_run.name)),
    ]
    for thread in threads:
        thread.start()
        thread.join()
    assert seen == ["mine", None]
