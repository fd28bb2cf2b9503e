"""The names that users import from `client.schemas`, and what they make."""

from datetime import UTC, datetime, timedelta
from importlib import import_module
from typing import get_args
from uuid import uuid4

import msgspec
import pytest

from riverrun.client import schemas
from riverrun.client.calls.answers import OrchestrationResult
from riverrun.client.http import encode
from riverrun.client.schemas import actions, filters, objects, responses, schedules, sorting
from riverrun.wire import choices
from riverrun.wire.filters import FlowRunFilter
from riverrun.wire.schedules import Schedule

ORDERS = [name for name in dir(choices) if name.endswith("Sort")]


@pytest.mark.parametrize("name", ORDERS)
def test_orders_are_those_of_the_wire(name: str) -> None:
    assert [str(each) for each in getattr(sorting, name)] == list(get_args(getattr(choices, name)))


@pytest.mark.parametrize(
    ("face", "words"),
    [
        (objects.WorkerStatus, choices.WorkerStatus),
        (objects.WorkPoolStatus, choices.WorkPoolStatus),
        (objects.DeploymentStatus, choices.DeploymentStatus),
        (objects.ConcurrencyLimitStrategy, choices.ConcurrencyLimitStrategy),
        (responses.SetStateStatus, choices.SetStateStatus),
        (filters.Operator, choices.Operator),
    ],
)
def test_enumerations_are_those_of_the_wire(face: type, words: object) -> None:
    assert {str(each) for each in face} == set(get_args(words))


def test_filters_nest() -> None:
    run_id = uuid4()
    mixed = filters.FlowRunFilter(
        id={"any_": [run_id]},
        tags=filters.FlowRunFilterTags(all_=["a"]),
        operator=filters.Operator.or_,
        start_time=filters.FlowRunFilterStartTime(after_=datetime(2026, 1, 1, tzinfo=UTC)),
    )
    assert msgspec.json.decode(encode(mixed)) == {
        "operator": "or_",
        "id": {"any_": [str(run_id)]},
        "tags": {"all_": ["a"]},
        "start_time": {"after_": "2026-01-01T00:00:00Z"},
    }
    assert filters.FlowRunFilter is FlowRunFilter
    assert {"FlowRunFilter", "WorkQueueFilterName", "Operator"} <= set(filters.__all__)


def test_schedules() -> None:
    hourly = schedules.IntervalSchedule(interval=timedelta(hours=1), anchor_date="2026-01-01T00:00:00Z", timezone="UTC")
    assert hourly.interval == timedelta(hours=1)
    assert msgspec.json.decode(encode(hourly)) == hourly.model_dump(mode="json")
    assert hourly.model_dump(mode="json")["interval"] == 3600
    kinds = (schedules.IntervalSchedule, schedules.CronSchedule, schedules.RRuleSchedule)
    read = [
        msgspec.json.decode(text, type=Schedule)
        for text in ('{"interval": 60, "timezone": "UTC"}', '{"cron": "@daily"}', '{"rrule": "FREQ=DAILY"}')
    ]
    assert [[isinstance(each, kind) for kind in kinds] for each in read] == [
        [True, False, False],
        [False, True, False],
        [False, False, True],
    ]
    assert read[0].model_copy(update={"interval": timedelta(seconds=5)}).seconds == 5
    assert hourly.anchor_date == datetime(2026, 1, 1, tzinfo=UTC)
    assert schedules.IntervalSchedule(60).anchor_date == datetime(2020, 1, 1, tzinfo=UTC)
    assert schedules.CronSchedule("* * * * *").timezone is None
    assert schedules.construct_schedule(cron="* * * * *") == schedules.CronSchedule("* * * * *")
    assert schedules.construct_schedule(rrule="FREQ=DAILY").rrule == "FREQ=DAILY"
    assert schedules.construct_schedule(interval=60) == schedules.IntervalSchedule(60)
    assert all(schedules.is_schedule_type(each) for each in (hourly, Schedule(cron="@daily")))
    assert not schedules.is_schedule_type("@daily")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "not none"),
        ({"cron": "@daily", "interval": 3}, "interval and cron"),
        ({"cron": "@daily", "anchor_date": "2026-01-01"}, "anchor date"),
        ({"interval": 0}, "longer than 0 s"),
    ],
)
def test_schedules_that_cannot_be(given: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        schedules.construct_schedule(**given)


def test_changes_remember_what_was_set() -> None:
    change = actions.DeploymentUpdate(paused=True, description=None)
    assert change.model_dump() == {"paused": True, "description": None}


def test_inputs_of_task_runs() -> None:
    run_id = uuid4()
    assert objects.TaskRunResult(run_id).input_type == "task_run"
    assert objects.FlowRunResult(id=run_id).id == run_id
    assert objects.Parameter(name="x").name == "x"
    assert objects.Constant(type="int").type == "int"


def test_states_of_answers_can_give_results() -> None:
    wire = msgspec.json.decode(
        b'{"state": {"type": "COMPLETED", "name": null, "data": {"storage_key": 3}}, "status": "ACCEPT",'
        b' "details": {"type": "accept_details"}}',
        type=OrchestrationResult,
    )
    held = objects.as_users_hold([wire])[0]
    assert isinstance(held.state, objects.State)
    assert held.state.data == {"storage_key": 3}  # no metadata of a result: told as it came
    assert objects.users_state(held.state) is held.state
    assert objects.as_users_hold("anything") == "anything"


@pytest.mark.parametrize(("module", "names"), schemas._HOMES.items())
def test_names_that_are_imported_from_the_package(module: str, names: tuple[str, ...]) -> None:
    home = import_module(f"riverrun.client.schemas.{module}")
    for name in names:
        assert getattr(schemas, name) is getattr(home, name)
    with pytest.raises(AttributeError, match="Nonsense"):
        schemas.Nonsense  # noqa: B018
