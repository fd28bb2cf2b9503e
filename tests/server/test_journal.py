"""Journals over HTTP, signs of life, and what becomes of the runs of processes that fall silent."""

import threading
from typing import Any
from uuid import UUID, uuid4

import httpx
import msgspec
import pytest
import sqlalchemy as sa

from riverrun.base.clock import now, to_micros
from riverrun.server.db import schema
from riverrun.server.db import tables as t
from riverrun.server.db.engine import open_database
from riverrun.server.ingest import claims
from riverrun.server.services.leases import Sweeper
from riverrun.server.store import Store
from riverrun.wire.journal import encode
from tests.store.make import (
    CANCELLING,
    COMPLETED,
    PENDING,
    RUNNING,
    make_flow_run,
    make_log,
    make_state,
    make_story,
    make_task_run,
)

LEASE = claims.LEASE


@pytest.fixture
def writer() -> bytes:
    return uuid4().bytes


def items(*records: Any, start: int = 1) -> list[list[Any]]:
    return [[seq, encode(record)] for seq, record in enumerate(records, start=start)]


def post(api: httpx.Client, writer: bytes, records: list[list[Any]], **more: Any) -> httpx.Response:
    body = msgspec.msgpack.encode({"writer": writer, "records": records, **more})
    return api.post("/journal", content=body, headers={"content-type": "application/x-msgpack"})


def state_of(api: httpx.Client, kind: str, run: Any) -> dict[str, Any]:
    return api.get(f"/{kind}/{UUID(bytes=run.id)}").json()["state"]


def test_records_are_stored_when_the_answer_comes(api: httpx.Client, writer: bytes) -> None:
    story = make_story(tasks=3)
    answer = post(api, writer, items(*story))
    assert answer.status_code == 200
    assert answer.json() == {
        "next_seq": len(story) + 1,
        "lease_seconds": 30.0,
        "cancelling": [],
        "fenced": [],
        "suspended": [],
    }
    assert state_of(api, "flow_runs", story[0])["type"] == "COMPLETED"
    assert state_of(api, "task_runs", story[3])["name"] == "Completed"


def test_what_is_sent_again_changes_nothing(api: httpx.Client, writer: bytes) -> None:
    story = make_story(tasks=2)
    assert post(api, writer, items(*story)).json() == post(api, writer, items(*story)).json()
    states = api.get("/flow_run_states/", params={"flow_run_id": str(UUID(bytes=story[0].id))}).json()
    assert [state["name"] for state in states] == ["Pending", "Running", "Completed"]


def test_a_gap_is_refused_with_the_record_to_go_on_with(api: httpx.Client, writer: bytes) -> None:
    story = make_story(tasks=1)
    post(api, writer, items(*story[:2]))
    refused = post(api, writer, items(*story[5:], start=6))
    assert (refused.status_code, refused.json()["expected"]) == (409, 3)
    assert "3" in refused.json()["detail"]
    assert post(api, writer, items(*story[2:], start=3)).json()["next_seq"] == len(story) + 1


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xc1",
        b"[1, 2]",
        msgspec.msgpack.encode({"writer": b"short"}),
        msgspec.msgpack.encode({"writer": b"0" * 16, "records": [[0, b""]]}),
        msgspec.msgpack.encode({"writer": b"0" * 16, "records": [[2**64 - 1, b""]]}),
        msgspec.msgpack.encode({"writer": b"0" * 16, "records": [[1, b"x"], [3, b"y"]]}),
        msgspec.msgpack.encode([[[]]] * 10),
    ],
)
def test_what_is_no_journal_is_refused(api: httpx.Client, content: bytes) -> None:
    assert api.post("/journal", content=content).status_code == 422


def test_a_record_that_cannot_be_read_keeps_no_other_out(api: httpx.Client, writer: bytes) -> None:
    flow_run = make_flow_run()
    poison = make_task_run(flow_run, 1, id=b"too short")
    nul = make_log(flow_run, "a\0b")
    good = make_task_run(flow_run, 2)
    records = items(flow_run, make_state(flow_run, RUNNING), poison, nul, good, make_state(good, COMPLETED))
    records.insert(3, [4, b"\xc1"])
    answer = post(api, writer, [[seq, record] for seq, (_, record) in enumerate(records, start=1)])
    assert answer.json()["next_seq"] == 8
    assert state_of(api, "task_runs", good)["type"] == "COMPLETED"


def test_a_large_journal_is_taken_in_several_transactions(api: httpx.Client, writer: bytes) -> None:
    story = make_story(tasks=500)
    assert post(api, writer, items(*story)).json()["next_seq"] == len(story) + 1


def test_a_process_learns_which_of_its_runs_to_cancel(api: httpx.Client, writer: bytes) -> None:
    flow_run = make_flow_run()
    post(api, writer, items(flow_run, make_state(flow_run, RUNNING)))
    answers: list[Any] = []
    body = {"writer": str(UUID(bytes=writer)), "wait": 20}
    waiting = threading.Thread(target=lambda: answers.append(api.post("/presence", json=body).json()))
    waiting.start()
    run_id = str(UUID(bytes=flow_run.id))
    done = api.post(f"/flow_runs/{run_id}/set_state", json={"state": {"type": "CANCELLING"}})
    assert done.status_code == 201, done.text
    waiting.join(20)
    assert answers == [{"lease_seconds": 30.0, "cancelling": [run_id], "fenced": [], "suspended": []}]


def test_a_presence_without_news_ends_after_its_wait(api: httpx.Client, writer: bytes) -> None:
    answer = api.post("/presence", json={"writer": str(UUID(bytes=writer)), "wait": 0.05})
    assert answer.json() == {"lease_seconds": 30.0, "cancelling": [], "fenced": [], "suspended": []}
    assert api.post("/presence", json={"writer": str(UUID(bytes=writer)), "wait": 26}).status_code == 422


def test_a_closed_journal_ends_what_it_left_running(api: httpx.Client, writer: bytes) -> None:
    flow_run, other = make_flow_run(), make_flow_run()
    records = items(flow_run, make_state(flow_run, RUNNING), other, make_state(other, PENDING))
    post(api, writer, records, closed=True)
    assert state_of(api, "flow_runs", flow_run)["type"] == "CRASHED"
    assert state_of(api, "flow_runs", other)["type"] == "PENDING"


# -- leases, over the store itself --------------------------------------------------------------------------------------------


@pytest.fixture
def opened(fresh_store_url: str) -> Any:
    from riverrun.server.serve import in_thread

    with open_database(fresh_store_url) as database:
        schema.upgrade(database)
        store = Store(database)
        with in_thread(fresh_store_url) as base, httpx.Client(base_url=f"{base}/api", timeout=20) as client:
            yield client, store
        store.close()


def _swept(store: Store) -> int:
    """What a sweeper does that has watched for a lease already, when all leases are over."""
    sweeper, later = Sweeper(), to_micros(now()) + LEASE + 1
    for step in range(0, LEASE, 10_000_000):
        assert sweeper.run_once(store, later + step) == 0
    return sweeper.run_once(store, later + LEASE)


def test_runs_of_a_silent_process_crash_after_a_lease_of_grace(opened: Any, writer: bytes) -> None:
    api, store = opened
    flow_run, cancelled = make_flow_run(), make_flow_run()
    task, done = make_task_run(flow_run, 1), make_task_run(flow_run, 2)
    states = [make_state(run, RUNNING) for run in (flow_run, cancelled, task)]
    ends = [make_state(cancelled, CANCELLING), make_state(done, COMPLETED)]
    post(api, writer, items(flow_run, cancelled, task, done, *states, *ends), process={"pid": 17, "host": "ant"})
    assert _swept(store) == 1
    crashed = state_of(api, "flow_runs", flow_run)
    assert crashed["type"] == "CRASHED"
    assert "17 on ant" in crashed["message"]
    assert state_of(api, "task_runs", task)["type"] == "CRASHED"
    assert state_of(api, "task_runs", done)["type"] == "COMPLETED"
    assert state_of(api, "flow_runs", cancelled)["type"] == "CANCELLED"


def test_a_process_that_was_only_cut_off_goes_on(opened: Any, writer: bytes) -> None:
    api, store = opened
    flow_run = make_flow_run()
    post(api, writer, items(flow_run, make_state(flow_run, RUNNING)))
    assert _swept(store) == 1
    post(api, writer, items(make_state(flow_run, COMPLETED), start=3))
    assert state_of(api, "flow_runs", flow_run)["type"] == "COMPLETED"


def test_a_claim_shuts_the_former_process_out(opened: Any, writer: bytes) -> None:
    api, store = opened
    flow_run, task = make_flow_run(), None
    post(api, writer, items(flow_run, make_state(flow_run, RUNNING)))
    heir = uuid4()

    def take_over(transaction: Any) -> None:
        row = transaction.row(sa.select(t.flow_run).where(t.flow_run.c.id == UUID(bytes=flow_run.id)))
        key = claims.claim(transaction, row.key, row.writer_key, heir)
        transaction.execute(sa.update(t.flow_run).where(t.flow_run.c.key == row.key).values(writer_key=key))

    store.write_now(take_over)
    task = make_task_run(flow_run, 1)
    late = items(make_state(flow_run, COMPLETED), task, make_state(task, COMPLETED), start=3)
    answer = post(api, writer, late).json()
    run_id = str(UUID(bytes=flow_run.id))
    assert answer["fenced"] == [run_id]
    assert state_of(api, "flow_runs", flow_run)["type"] == "RUNNING"
    # what it did is true nevertheless
    assert state_of(api, "task_runs", task)["type"] == "COMPLETED"
    assert api.post("/presence", json={"writer": str(UUID(bytes=writer)), "wait": 20}).json()["fenced"] == [run_id]
    post(api, heir.bytes, items(make_state(flow_run, COMPLETED)))
    assert state_of(api, "flow_runs", flow_run)["type"] == "COMPLETED"
