"""Events found again: those that were sent, those that states are, page by page, counted and streamed."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from riverrun.base.ids import uuid7
from tests.server.talk import in_loop, opened, other, report


def ago(seconds: float) -> str:
    return (datetime.now(UTC) - timedelta(seconds=seconds)).isoformat()


def found(api: httpx.Client, filter: dict[str, Any], limit: int = 50) -> list[dict[str, Any]]:
    answer = api.post("/events/filter", json={"filter": filter, "limit": limit})
    assert answer.status_code == 200, answer.text
    events: list[dict[str, Any]] = answer.json()["events"]
    return events


def names(api: httpx.Client, filter: dict[str, Any]) -> list[str]:
    return [event["event"] for event in found(api, filter)]


def make_run(api: httpx.Client, **fields: Any) -> tuple[str, str]:
    """The ids of a flow and of a run of it that has completed."""
    flow: str = api.post("/flows/", json={"name": f"flow-{uuid4()}", "tags": ["f"]}).json()["id"]
    run: str = api.post("/flow_runs/", json={"flow_id": flow, "name": "otter", "tags": ["r"], **fields}).json()["id"]
    for kind in ("RUNNING", "COMPLETED"):
        done = api.post(f"/flow_runs/{run}/set_state", json={"state": {"type": kind, "message": "so"}})
        assert done.status_code == 201
    return flow, run


def test_states_of_flow_runs_are_events(api: httpx.Client) -> None:
    flow, run = make_run(api)
    events = found(api, {"resource": {"id": [f"prefect.flow-run.{run}"]}})
    assert [event["event"] for event in events] == [
        "prefect.flow-run.Completed",
        "prefect.flow-run.Running",
        "prefect.flow-run.Pending",
    ]
    event = events[1]
    assert event["resource"] | {"prefect.state-timestamp": ""} == {
        "prefect.resource.id": f"prefect.flow-run.{run}",
        "prefect.resource.name": "otter",
        "prefect.run-count": "1",
        "prefect.state-message": "so",
        "prefect.state-name": "Running",
        "prefect.state-timestamp": "",
        "prefect.state-type": "RUNNING",
    }
    assert [related["prefect.resource.id"] for related in event["related"]] == [
        f"prefect.flow.{flow}",
        "prefect.tag.f",
        "prefect.tag.r",
    ]
    assert event["payload"]["intended"] == {"from": "PENDING", "to": "RUNNING"}
    assert event["payload"]["validated_state"] == {"type": "RUNNING", "name": "Running", "message": "so"}
    assert event["follows"] == events[2]["id"]
    states = api.get("/flow_run_states/", params={"flow_run_id": run}).json()
    assert [each["id"] for each in events] == [state["id"] for state in reversed(states)]


def test_states_of_task_runs_are_events_of_their_flow_run(api: httpx.Client) -> None:
    _, run = make_run(api)
    task = uuid7()
    now = datetime.now(UTC)
    sent = report(task, "Running", 0, flow_run=UUID(run)) | {"occurred": now.isoformat()}
    api.post("/events", json=[sent])
    (event,) = found(api, {"any_resource": {"id": [f"prefect.task-run.{task}"]}})
    assert (event["id"], event["event"]) == (sent["id"], "prefect.task-run.Running")
    assert event["resource"]["prefect.orchestration"] == "client"
    assert event["payload"]["task_run"]["task_key"] == "say-1234"
    related = found(api, {"related": {"id": [f"prefect.flow-run.{run}"], "role": ["flow-run"]}})
    assert [each["id"] for each in related] == [sent["id"]]


@pytest.mark.parametrize(
    ("filter", "expected"),
    [
        ({"event": {"name": ["a.one"]}}, ["a.one"]),
        ({"event": {"prefix": ["a."]}}, ["a.two", "a.one"]),
        ({"event": {"exclude_prefix": ["a."]}}, ["b.three"]),
        ({"event": {"exclude_name": ["a.one", "b.three"]}}, ["a.two"]),
        ({"resource": {"labels": {"colour": "bl*"}}}, ["a.two", "a.one"]),
        ({"resource": {"labels": {"colour": ["!blue", "green"]}}}, ["b.three"]),
        ({"resource": {"labels": {"colour": []}}}, []),
        ({"resource": {"distinct": True}}, ["b.three", "a.two"]),
        ({"related": {"role": ["owner"]}}, ["a.one"]),
        ({"related": {"resources_in_roles": [["person.x", "owner"]]}}, ["a.one"]),
        ({"related": [{"id": ["person.x"]}, {"role": ["friend"]}]}, ["a.one"]),
        ({"related": {"id": ["person.y"], "role": ["owner"]}}, []),
        ({"related": {"labels": {"prefect.resource.role": "friend"}}}, ["a.one"]),
        ({"any_resource": {"id_prefix": ["person."]}}, ["a.one"]),
        ({"text": {"query": "needle"}}, ["a.two"]),
        ({"text": {"query": "-needle"}}, ["b.three", "a.one"]),
        ({"order": "ASC"}, ["a.one", "a.two", "b.three"]),
    ],
)
def test_filters(api: httpx.Client, filter: dict[str, Any], expected: list[str]) -> None:
    mark = uuid4().hex
    shared = {"prefect.resource.id": f"thing.{mark}", "colour": "blue"}
    related = [
        {"prefect.resource.id": "person.x", "prefect.resource.role": "owner"},
        {"prefect.resource.id": "person.y", "prefect.resource.role": "friend"},
    ]
    events = [
        other("a.one", occurred=ago(30), resource=shared, related=related),
        other("a.two", occurred=ago(20), resource=shared, payload={"hay": "a needle"}),
        other("b.three", occurred=ago(10), resource={"prefect.resource.id": f"thing.{mark}.3", "colour": "green"}),
    ]
    assert api.post("/events", json=events).status_code == 204
    resource = {"id_prefix": [f"thing.{mark}"], **filter.get("resource", {})}
    assert names(api, {**filter, "resource": resource}) == expected


def test_events_of_the_same_id_are_kept_once(api: httpx.Client) -> None:
    event = other(occurred=ago(1))
    api.post("/events", json=[event, event])
    api.post("/events", json=[event])
    found_ = found(api, {"id": {"id": [event["id"]]}})
    assert len(found_) == 1
    assert found_[0]["received"] >= found_[0]["occurred"]


def test_pages_follow_each_other_without_gaps_over_all_sources(api: httpx.Client) -> None:
    flow, run = make_run(api)
    tasks = [
        report(uuid7(), name, 0, flow_run=UUID(run), dynamic_key=str(number)) | {"occurred": ago(60 - number)}
        for number in range(20)
        for name in ("Running", "Completed")
    ]
    mine = [{"prefect.resource.id": f"prefect.flow-run.{run}", "prefect.resource.role": "flow-run"}]
    api.post("/events", json=[*tasks, *(other(occurred=ago(number), related=mine) for number in range(20))])
    filter = {"any_resource": {"id": [f"prefect.flow-run.{run}"]}}
    page = api.post("/events/filter", json={"filter": filter, "limit": 7}).json()
    assert page["total"] == 63
    seen = list(page["events"])
    while page["next_page"]:
        page = api.get(page["next_page"]).json()
        assert len(page["events"]) <= 7
        seen += page["events"]
    assert len({event["id"] for event in seen}) == 63
    instants = [event["occurred"] for event in seen]
    assert instants == sorted(instants, reverse=True)
    assert flow


@pytest.mark.parametrize("token", ["", "x", "AAAA", "gqFhAQ=="])
def test_a_wrong_page_token_is_refused(api: httpx.Client, token: str) -> None:
    assert api.get("/events/filter/next", params={"page-token": token}).status_code == 403


@pytest.mark.parametrize(
    "body", [{"limit": 51}, {"limit": -1}, {"filter": {"nope": 1}}, {"filter": {"id": {"id": ["x"]}}}]
)
def test_wrong_requests_are_refused(api: httpx.Client, body: dict[str, Any]) -> None:
    assert api.post("/events/filter", json=body).status_code == 422


def test_counts(api: httpx.Client) -> None:
    mark = uuid4().hex
    now = datetime.now(UTC)
    events = [
        other(
            name,
            occurred=(now - timedelta(hours=hours)).isoformat(),
            resource={"prefect.resource.id": f"{mark}.{name}"},
        )
        for name, hours in [("a", 1), ("a", 2), ("b", 30)]
    ]
    api.post("/events", json=events)
    filter = {
        "occurred": {"since": (now - timedelta(days=3)).isoformat()},
        "resource": {"id": [f"{mark}.a", f"{mark}.b"]},
    }
    by_name = api.post("/events/count-by/event", json={"filter": filter}).json()
    assert [(each["value"], each["count"]) for each in by_name] == [("a", 2), ("b", 1)]
    by_resource = api.post("/events/count-by/resource", json={"filter": filter}).json()
    assert [(each["value"], each["count"]) for each in by_resource] == [(f"{mark}.a", 2), (f"{mark}.b", 1)]
    by_hour = api.post("/events/count-by/time", json={"filter": filter, "time_unit": "hour", "time_interval": 1}).json()
    assert len(by_hour) in (72, 73, 74)
    assert sum(each["count"] for each in by_hour) == 3
    assert [each["value"] for each in by_hour] == [str(number) for number in range(len(by_hour))]
    assert sum(each["count"] for each in api.post("/events/count-by/day", json={"filter": filter}).json()) == 3
    too_many = api.post("/events/count-by/time", json={"filter": filter, "time_unit": "second"})
    assert too_many.status_code == 422
    assert api.post("/events/count-by/colour", json={"filter": filter}).status_code == 422
    _, run = make_run(api)
    of_run = {"resource": {"id": [f"prefect.flow-run.{run}"]}}
    counted = api.post("/events/count-by/event", json={"filter": of_run}).json()
    assert {each["value"]: each["count"] for each in counted} == {
        f"prefect.flow-run.{name}": 1 for name in ("Pending", "Running", "Completed")
    }
    (one,) = api.post("/events/count-by/resource", json={"filter": of_run}).json()
    assert (one["value"], one["label"], one["count"]) == (f"prefect.flow-run.{run}", "otter", 3)


# -- streams ------------------------------------------------------------------------------------------------------------------


@in_loop
async def test_backfill_and_live_events_join_without_gap_or_duplicate(server_url: str, api: httpx.Client) -> None:
    mark = f"thing.{uuid4().hex}"
    sent = 0

    def send() -> None:
        nonlocal sent
        event = other(
            "n", occurred=datetime.now(UTC).isoformat(), resource={"prefect.resource.id": mark}, payload={"n": sent}
        )
        sent += 1
        assert api.post("/events", json=[event]).status_code == 204

    for _ in range(100):
        send()
    async with opened(server_url, "/events/out") as socket:
        await socket.send(json.dumps({"type": "filter", "filter": {"resource": {"id": [mark]}}}))
        got = []
        for _ in range(60):
            await asyncio.to_thread(send)
        while len(got) < sent:
            message = json.loads(await asyncio.wait_for(socket.recv(), 10))
            assert message["type"] == "event"
            got.append(message["event"]["payload"]["n"])
        assert got == list(range(sent))


@in_loop
async def test_states_are_streamed_from_all_who_write_them(server_url: str, api: httpx.Client) -> None:
    async with opened(server_url, "/events/out") as socket:
        mark = {"event": {"prefix": ["prefect.task-run.", "prefect.flow-run.", "mark."]}}
        await socket.send(json.dumps({"type": "filter", "filter": mark, "backfill": False}))
        while True:  # until the subscription is in place
            api.post("/events", json=[other("mark.begin", occurred=ago(0))])
            try:
                await asyncio.wait_for(socket.recv(), 0.5)
                break
            except TimeoutError:
                continue
        _, run = await asyncio.to_thread(make_run, api)
        task = uuid7()
        api.post("/events", json=[report(task, "Running", 0, flow_run=UUID(run)), report(task, "Completed", 1)])
        seen = []
        while len(seen) < 5:
            event = json.loads(await asyncio.wait_for(socket.recv(), 10))["event"]
            if event["resource"]["prefect.resource.id"] in (f"prefect.flow-run.{run}", f"prefect.task-run.{task}"):
                seen.append(event["event"].removeprefix("prefect."))
        assert seen == [
            "flow-run.Pending",
            "flow-run.Running",
            "flow-run.Completed",
            "task-run.Running",
            "task-run.Completed",
        ]


@pytest.mark.parametrize(
    "opening", ['{"type": "subscribe"}', '{"type": "filter"}', '{"type": "filter", "filter": {"nope": 1}}', "{", "[]"]
)
@pytest.mark.parametrize("path", ["/events/out", "/logs/out"])
@in_loop
async def test_a_wrong_opening_closes_with_1002(server_url: str, path: str, opening: str) -> None:
    import websockets

    async with opened(server_url, path) as socket:
        await socket.send(opening)
        with pytest.raises(websockets.ConnectionClosed) as closed:
            await asyncio.wait_for(socket.recv(), 5)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1002
