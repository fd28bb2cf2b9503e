"""The pydantic-shaped methods of wire objects."""

import json
import pickle
from datetime import UTC, datetime
from uuid import uuid4

import pydantic
import pytest

from riverrun.states import Completed, State
from riverrun.wire.runs import FlowRun, RunInput, RunPolicy, TaskRun


def test_dump_and_validate():
    run = TaskRun(
        task_key="k", tags=["a"], task_inputs={"x": [RunInput("task_run", id=uuid4())]}, state=Completed(data=1)
    )
    dumped = run.model_dump()
    assert dumped["id"] == run.id
    assert dumped["empirical_policy"]["retries"] is None
    assert dumped["task_inputs"]["x"][0]["input_type"] == "task_run"
    assert dumped["state"]["name"] == "Completed"
    back = TaskRun.model_validate_json(run.model_dump_json())
    assert (back.id, back.task_inputs, back.state.id) == (run.id, run.task_inputs, run.state.id)
    assert TaskRun.model_validate(run) is run


def test_dump_options():
    run = FlowRun(name="n", flow_version="1")
    assert set(run.model_dump(include={"name", "id"})) == {"name", "id"}
    assert "name" not in run.model_dump(exclude={"name"})
    assert "state" not in run.model_dump(exclude_none=True)
    assert set(run.model_dump(exclude_unset=True)) == {"id", "name", "flow_version"}
    assert "\n" in run.model_dump_json(indent=2)


def test_json_of_anything():
    state = Completed(data={"when": datetime(2030, 1, 1, tzinfo=UTC), "thing": object(), "huge": 2**90})
    data = json.loads(state.model_dump_json())["data"]
    assert data


def test_json_of_a_cycle():
    loop = []
    loop.append(loop)
    assert json.loads(Completed(data=loop).model_dump_json())["data"]


def test_copies():
    run = FlowRun(name="n", tags=["a"])
    shallow, deep = run.model_copy(update={"name": "m"}), run.model_copy(deep=True)
    assert (shallow.name, run.name) == ("m", "n")
    assert shallow.tags is run.tags
    assert deep.tags is not run.tags
    frozen = RunInput("parameter", name="x")
    assert frozen.model_copy(update={"name": "y"}).name == "y"
    assert pickle.loads(pickle.dumps(run)) == run


def test_as_a_field_of_a_pydantic_model():
    class Holder(pydantic.BaseModel):
        state: State
        policy: RunPolicy

    holder = Holder(state=Completed(message="m"), policy={"retries": 2})
    assert holder.policy.retries == 2
    assert json.loads(holder.model_dump_json())["state"]["message"] == "m"
    with pytest.raises(pydantic.ValidationError, match="policy"):
        Holder(state=Completed(), policy={"retries": "many"})
