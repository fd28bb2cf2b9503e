"""Log lines: taken in, filtered, downloaded, streamed."""

import csv
import io
import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from tests.server.talk import in_loop, opened

T0 = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


def line(run: UUID, message: str, second: float = 0, **fields: Any) -> dict[str, Any]:
    at = (T0 + timedelta(seconds=second)).isoformat()
    return {
        "name": "prefect.flow_runs",
        "level": 20,
        "message": message,
        "timestamp": at,
        "flow_run_id": str(run),
        **fields,
    }


def found(api: httpx.Client, filter: dict[str, Any] | None = None, **more: Any) -> list[str]:
    answer = api.post("/logs/filter", json={"logs": filter, **more})
    assert answer.status_code == 200, answer.text
    return [each["message"] for each in answer.json()]


def of(run: UUID, **more: Any) -> dict[str, Any]:
    return {"flow_run_id": {"any_": [str(run)]}, **more}


def test_lines_come_back_in_the_order_of_time(api: httpx.Client) -> None:
    run = uuid4()
    answer = api.post("/logs/", json=[line(run, "second", 1), line(run, "first", 0), line(run, "third", 2)])
    assert (answer.status_code, answer.json()) == (201, None)
    assert found(api, of(run)) == ["first", "second", "third"]
    assert found(api, of(run), sort="TIMESTAMP_DESC") == ["third", "second", "first"]
    assert found(api, of(run), limit=1, offset=1) == ["second"]
    assert found(api, of(run), limit=0) == []


@pytest.mark.parametrize(
    ("filter", "expected"),
    [
        ({"level": {"ge_": 30}}, ["warn", "fail"]),
        ({"level": {"le_": 30}}, ["plain", "warn"]),
        ({"timestamp": {"after_": (T0 + timedelta(seconds=1)).isoformat()}}, ["warn", "fail"]),
        ({"timestamp": {"before_": (T0 + timedelta(seconds=1)).isoformat()}}, ["plain", "warn"]),
        ({"task_run_id": {"is_null_": True}}, ["plain", "warn"]),
        ({"task_run_id": {"is_null_": False}}, ["fail"]),
        ({"text": {"query": "WAR plai"}}, ["plain", "warn"]),
        ({"text": {"query": "-warn"}}, ["plain", "fail"]),
        ({"text": {"query": '+"flow_runs" !plain'}}, ["warn", "fail"]),
        ({"text": {"query": "%"}}, []),
    ],
)
def test_filters(api: httpx.Client, filter: dict[str, Any], expected: list[str]) -> None:
    run = uuid4()
    lines = [
        line(run, "plain", 0),
        line(run, "warn", 1, level=30),
        line(run, "fail", 2, level=40, task_run_id=str(uuid4())),
    ]
    api.post("/logs/", json=lines)
    assert found(api, of(run, **filter)) == expected


def test_or_between_the_fields_of_a_filter(api: httpx.Client) -> None:
    run, other = uuid4(), uuid4()
    api.post("/logs/", json=[line(run, "a"), line(other, "b", task_run_id=str(uuid4()))])
    ids = {"any_": [api.post("/logs/filter", json={"logs": of(other)}).json()[0]["task_run_id"]]}
    assert found(api, {"operator": "or_", "flow_run_id": {"any_": [str(run)]}, "task_run_id": ids}) == ["a", "b"]


@pytest.mark.parametrize(
    "body",
    [
        {"limit": 201},
        {"limit": -1},
        {"offset": -1},
        {"sort": "NAME"},
        {"logs": {"nothing": 1}},
        {"logs": {"text": {"query": "x" * 201}}},
    ],
)
def test_wrong_requests_are_refused(api: httpx.Client, body: dict[str, Any]) -> None:
    assert api.post("/logs/filter", json=body).status_code == 422


def test_strange_messages_are_kept_as_far_as_they_can_be(api: httpx.Client) -> None:
    run = uuid4()
    lines = [line(run, "a\0b", 0), line(run, "x" * 1_500_000, 1), line(run, "\N{PILE OF POO}", 2, level=2**40)]
    assert api.post("/logs/", json=lines).status_code == 201
    nul, long, last = found(api, of(run))
    assert nul == "a\u2400b"
    assert len(long) == 1_000_000
    assert long.endswith("[cut by the server]")
    assert last == "\N{PILE OF POO}"


def test_lines_without_a_run(api: httpx.Client) -> None:
    text = str(uuid4())
    body = {"name": "n", "level": 20, "message": text, "timestamp": T0.isoformat()}
    assert api.post("/logs/", json=[body]).status_code == 201
    assert found(api, {"text": {"query": text}}) == [text]


def test_a_log_is_downloaded_as_a_table_without_formulas(api: httpx.Client) -> None:
    flow = api.post("/flows/", json={"name": f"flow-{uuid4()}"}).json()["id"]
    run = api.post("/flow_runs/", json={"flow_id": flow, "name": 'an "odd" ü name'}).json()
    api.post("/logs/", json=[line(UUID(run["id"]), "=cmd()", 1), line(UUID(run["id"]), 'a,"b"\nc', 0)])
    answer = api.get(f"/flow_runs/{run['id']}/logs/download")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert "an%20%22odd%22%20%C3%BC%20name-logs.csv" in answer.headers["content-disposition"]
    rows = list(csv.reader(io.StringIO(answer.text)))
    assert rows[0] == ["timestamp", "level", "flow_run_id", "task_run_id", "message"]
    assert [row[4] for row in rows[1:]] == ['a,"b"\nc', "'=cmd()"]
    assert rows[1][:4] == [T0.isoformat(), "20", run["id"], ""]
    assert api.get(f"/flow_runs/{uuid4()}/logs/download").status_code == 404


def test_a_long_log_is_downloaded_whole(api: httpx.Client) -> None:
    flow = api.post("/flows/", json={"name": f"flow-{uuid4()}"}).json()["id"]
    run = api.post("/flow_runs/", json={"flow_id": flow}).json()["id"]
    api.post("/logs/", json=[line(UUID(run), str(number), number // 10) for number in range(2500)])
    rows = list(csv.reader(io.StringIO(api.get(f"/flow_runs/{run}/logs/download").text)))
    assert [row[4] for row in rows[1:]] == [str(number) for number in range(2500)]


@in_loop
async def test_lines_are_streamed_as_they_come(server_url: str, api: httpx.Client) -> None:
    run = uuid4()
    async with opened(server_url, "/logs/out") as socket:
        filter = of(run, level={"ge_": 30})
        await socket.send(json.dumps({"type": "filter", "filter": filter}))
        await (await socket.ping())
        # the subscription is in place some moment after the filter was read: lines are sent until one comes
        import asyncio

        number = 0
        while True:
            api.post("/logs/", json=[line(run, "no", number), line(run, f"yes {number}", number, level=40)])
            try:
                message = json.loads(await asyncio.wait_for(socket.recv(), 0.5))
                break
            except TimeoutError:
                number += 1
                assert number < 20
        assert message["type"] == "log"
        assert message["log"]["message"].startswith("yes")
        assert message["log"]["flow_run_id"] == str(run)
        api.post("/logs/", json=[line(run, "last", 100, level=50)])
        assert json.loads(await socket.recv())["log"]["message"] == "last"
