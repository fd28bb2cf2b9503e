"""Concurrency limits over HTTP, and their slots as the rest of the server takes them."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID, uuid4

import httpx
import msgspec
import pytest

from riverrun.base.clock import now, to_micros
from riverrun.server.concurrency import acquire, limits, slots
from riverrun.server.concurrency.expiry import expire
from riverrun.server.db import schema
from riverrun.server.db.engine import open_database
from riverrun.server.db.tables import event, slot
from riverrun.server.store import Store
from riverrun.wire.concurrency import ConcurrencyLimitV2Create, ConcurrencyLimitV2Update

V2 = "/v2/concurrency_limits"
V1 = "/concurrency_limits"


def make(api: httpx.Client, limit: int = 1, **fields: object) -> dict[str, object]:
    answer = api.post(f"{V2}/", json={"name": f"limit-{uuid4().hex}", "limit": limit, **fields})
    assert answer.status_code == 201, answer.text
    made: dict[str, object] = answer.json()
    return made


def used(api: httpx.Client, limit: dict[str, object]) -> int:
    return int(api.get(f"{V2}/{limit['name']}").json()["active_slots"])


def take(api: httpx.Client, *limits: dict[str, object], slots: int = 1, **fields: object) -> httpx.Response:
    names = [limit["name"] for limit in limits]
    return api.post(f"{V2}/increment", json={"names": names, "slots": slots, **fields})


def lease(api: httpx.Client, *limits: dict[str, object], holder: UUID | None = None, slots: int = 1) -> httpx.Response:
    who = None if holder is None else {"type": "task_run", "id": str(holder)}
    body = {"names": [limit["name"] for limit in limits], "slots": slots, "holder": who}
    return api.post(f"{V2}/increment-with-lease", json=body)


# -- limits -----------------------------------------------------------------------------------------------------------------


def test_a_limit_lives_by_id_and_by_name(api: httpx.Client) -> None:
    limit = make(api, 7)
    by_id = api.get(f"{V2}/{limit['id']}").json()
    assert by_id == api.get(f"{V2}/{limit['name']}").json()
    assert (by_id["limit"], by_id["active_slots"], by_id["active"], by_id["slot_decay_per_second"]) == (7, 0, True, 0)
    assert api.patch(f"{V2}/{limit['name']}", json={"limit": 3, "active": False}).status_code == 204
    changed = api.get(f"{V2}/{limit['id']}").json()
    assert (changed["limit"], changed["active"], changed["name"]) == (3, False, limit["name"])
    assert changed["updated"] > changed["created"]
    assert api.delete(f"{V2}/{limit['id']}").status_code == 204
    assert {api.get(f"{V2}/{limit[ref]}").status_code for ref in ("id", "name")} == {404}
    assert api.delete(f"{V2}/{limit['name']}").status_code == 404
    assert api.patch(f"{V2}/{limit['name']}", json={}).status_code == 404


def test_what_is_wrong_with_a_limit_is_said(api: httpx.Client) -> None:
    limit = make(api)
    assert api.post(f"{V2}/", json={"name": limit["name"], "limit": 1}).status_code == 409
    other = make(api)
    assert api.patch(f"{V2}/{other['id']}", json={"name": limit["name"]}).status_code == 409
    for body in ({"name": "a/b", "limit": 1}, {"name": "x", "limit": -1}, {"name": "x" * 600, "limit": 1}):
        assert api.post(f"{V2}/", json=body).status_code == 422
    assert api.post(f"{V2}/", json={"name": "x", "limit": 2**31}).status_code == 422
    assert api.patch(f"{V2}/{limit['id']}", json={"limit": None}).json()["exception_detail"][0]["loc"] == [
        "body",
        "limit",
    ]
    assert api.post(f"{V2}/filter", json={"limit": 201}).status_code == 422
    assert api.post(f"{V2}/increment", json={"names": ["x"], "slots": 0}).status_code == 422


def test_limits_are_listed_by_name(fresh_api: httpx.Client) -> None:
    names = sorted(str(make(fresh_api)["name"]) for _ in range(5))
    assert [one["name"] for one in fresh_api.post(f"{V2}/filter").json()] == names
    page = fresh_api.post(f"{V2}/filter", json={"limit": 2, "offset": 3}).json()
    assert [one["name"] for one in page] == names[3:]


# -- slots without a lease --------------------------------------------------------------------------------------------------


def test_slots_are_taken_of_all_limits_or_of_none(api: httpx.Client) -> None:
    wide, narrow = make(api, 5), make(api, 2)
    assert {one["id"] for one in take(api, wide, narrow, slots=2).json()} == {wide["id"], narrow["id"]}
    refused = take(api, wide, narrow)
    assert refused.status_code == 423
    assert 0 < float(refused.headers["retry-after"]) <= 60
    assert (used(api, wide), used(api, narrow)) == (2, 2)
    api.post(f"{V2}/decrement", json={"names": [narrow["name"]], "slots": 1, "occupancy_seconds": 3.0})
    assert take(api, wide, narrow).status_code == 200
    assert (used(api, wide), used(api, narrow)) == (3, 2)


def test_more_slots_than_the_limit_has_are_never_given(api: httpx.Client) -> None:
    assert take(api, make(api, 2), slots=3).status_code == 422


def test_slots_given_back_twice_do_not_go_below_zero(api: httpx.Client) -> None:
    limit = make(api, 4, active_slots=3)
    assert used(api, limit) == 3
    for _ in range(3):
        assert api.post(f"{V2}/decrement", json={"names": [limit["name"]], "slots": 2}).status_code == 200
    assert used(api, limit) == 0


def test_names_without_limit_and_limits_that_are_off_do_not_count(api: httpx.Client) -> None:
    off = make(api, 1, active=False)
    unknown = f"unknown-{uuid4().hex}"
    for _ in range(3):
        answer = api.post(f"{V2}/increment", json={"names": [off["name"], unknown], "slots": 1})
        assert [one["id"] for one in answer.json()] == [off["id"]]
    assert used(api, off) == 0
    assert api.get(f"{V2}/{unknown}").status_code == 404
    api.post(f"{V2}/increment", json={"names": [unknown], "slots": 1, "create_if_missing": True})
    assert api.get(f"{V2}/{unknown}").status_code == 404


def test_an_operator_sets_the_slots_in_use(api: httpx.Client) -> None:
    limit = make(api, 5)
    held = lease(api, limit, slots=2).json()["lease_id"]
    for count in (4, 1, 3, 0):
        assert api.patch(f"{V2}/{limit['id']}", json={"active_slots": count}).status_code == 204
        assert used(api, limit) == count
    assert api.post(f"{V2}/leases/{held}/renew").status_code == 204
    assert api.post(f"{V2}/decrement-with-lease", json={"lease_id": held}).status_code == 204
    assert used(api, limit) == 0


def test_one_of_twenty_gets_the_slot(api: httpx.Client) -> None:
    limit = make(api)
    with ThreadPoolExecutor(20) as pool:
        statuses = list(pool.map(lambda _: take(api, limit).status_code, range(20)))
    assert sorted(statuses) == [200] + [423] * 19


def test_limits_in_any_order_do_not_block_each_other(api: httpx.Client) -> None:
    a, b = make(api, 100), make(api, 100)
    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(lambda n: take(api, *((a, b) if n % 2 else (b, a))).status_code, range(40)))
    assert set(statuses) == {200}
    assert (used(api, a), used(api, b)) == (40, 40)


# -- rates ------------------------------------------------------------------------------------------------------------------


def test_a_rate_needs_decay(api: httpx.Client) -> None:
    assert take(api, make(api), mode="rate_limit").status_code == 422
    limit = make(api, 2, slot_decay_per_second=0.001)
    assert take(api, limit, slots=2, mode="rate_limit").status_code == 200
    refused = take(api, limit, mode="rate_limit")
    assert refused.status_code == 423
    assert float(refused.headers["retry-after"]) > 20
    assert used(api, limit) == 2


def test_what_decays_comes_back(api: httpx.Client) -> None:
    limit = make(api, 2, slot_decay_per_second=1_000_000.0)
    assert {take(api, limit, slots=2, mode="rate_limit").status_code for _ in range(5)} == {200}


def test_a_limit_keeps_its_slots_when_it_becomes_a_rate_and_back(api: httpx.Client) -> None:
    limit = make(api, 5)
    take(api, limit, slots=3)
    api.patch(f"{V2}/{limit['id']}", json={"slot_decay_per_second": 0.0001})
    assert used(api, limit) == 3
    api.patch(f"{V2}/{limit['id']}", json={"slot_decay_per_second": 0})
    assert used(api, limit) == 3


def test_numbers_at_the_edges_do_no_harm(api: httpx.Client) -> None:
    for decay in (1e308, 5e-324, 1e-9):
        limit = make(api, 1, slot_decay_per_second=decay)
        assert take(api, limit).status_code == 200
        assert take(api, limit).status_code in (200, 423)
        body = {"names": [limit["name"]], "slots": 2**63 - 1, "occupancy_seconds": 1e308}
        assert api.post(f"{V2}/decrement", json=body).status_code == 200
    assert api.post(f"{V2}/increment", json={"names": ["x"] * 20_000, "slots": 1}).status_code == 200
    many = [str(number) for number in range(20_000)]
    assert api.post(f"{V2}/increment", json={"names": many, "slots": 1}).status_code == 422


# -- leases -----------------------------------------------------------------------------------------------------------------


def test_a_lease_holds_until_it_is_given_back(api: httpx.Client) -> None:
    limit, other = make(api), make(api)
    answer = lease(api, limit, other).json()
    assert {one["name"] for one in answer["limits"]} == {limit["name"], other["name"]}
    assert lease(api, limit).status_code == 423
    assert api.post(f"{V2}/leases/{answer['lease_id']}/renew", json={"lease_duration": 60}).status_code == 204
    body = {"lease_id": answer["lease_id"]}
    assert [api.post(f"{V2}/decrement-with-lease", json=body).status_code for _ in range(2)] == [204, 204]
    assert (used(api, limit), used(api, other)) == (0, 0)
    assert api.post(f"{V2}/leases/{answer['lease_id']}/renew").status_code == 410


def test_a_lease_outlives_its_limit(api: httpx.Client) -> None:
    gone, off = make(api), make(api, active=False)
    for limit in (gone, off):
        held = lease(api, limit).json()["lease_id"]
        api.delete(f"{V2}/{limit['id']}")
        assert api.post(f"{V2}/leases/{held}/renew").status_code == 204
        assert api.post(f"{V2}/decrement-with-lease", json={"lease_id": held}).status_code == 204


def test_those_who_wait_are_served_in_their_order(api: httpx.Client) -> None:
    limit = make(api)
    held = lease(api, limit).json()["lease_id"]
    first, second, third = uuid4(), uuid4(), uuid4()
    waits = [float(lease(api, limit, holder=who).headers["retry-after"]) for who in (first, second, third)]
    assert waits[0] < waits[2]
    api.post(f"{V2}/decrement-with-lease", json={"lease_id": held})
    assert lease(api, limit, holder=third).status_code == 423
    assert lease(api, limit, holder=second).status_code == 423
    assert take(api, limit).status_code == 423
    served = lease(api, limit, holder=first).json()["lease_id"]
    api.post(f"{V2}/decrement-with-lease", json={"lease_id": served})
    assert [lease(api, limit, holder=who).status_code for who in (third, second)] == [423, 200]


# -- tags -------------------------------------------------------------------------------------------------------------------


def tag_limit(api: httpx.Client, limit: int) -> str:
    tag = f"a tag {uuid4().hex}"
    assert api.post(f"{V1}/", json={"tag": tag, "concurrency_limit": limit}).status_code == 201
    return tag


def test_a_tag_has_one_limit(api: httpx.Client) -> None:
    tag = tag_limit(api, 2)
    again = api.post(f"{V1}/", json={"tag": tag, "concurrency_limit": 3})
    assert (again.status_code, again.json()["concurrency_limit"]) == (200, 3)
    assert api.get(f"{V1}/{again.json()['id']}").json() == again.json() == api.get(f"{V1}/tag/{tag}").json()
    assert api.get(f"{V2}/tag:{tag}").json()["limit"] == 3
    assert tag in [one["tag"] for one in api.post(f"{V1}/filter", json={}).json()]
    assert api.get(f"{V1}/{make(api)['id']}").status_code == 404
    assert api.delete(f"{V1}/tag/{tag}").status_code == 200
    assert {api.delete(f"{V1}/tag/{tag}").status_code, api.get(f"{V1}/tag/{tag}").status_code} == {404}


def test_task_runs_take_slots_of_tags(api: httpx.Client) -> None:
    one, two = tag_limit(api, 1), tag_limit(api, 2)
    mine, others = str(uuid4()), str(uuid4())
    body = {"names": [one, two, "no limit"], "task_run_id": mine}
    assert {limit["name"] for limit in api.post(f"{V1}/increment", json=body).json()} == {one, two}
    refused = api.post(f"{V1}/increment", json={**body, "task_run_id": others})
    assert refused.status_code == 423
    assert float(refused.headers["retry-after"]) > 0
    assert one in refused.json()["detail"]
    assert [api.get(f"{V1}/tag/{tag}").json()["active_slots"] for tag in (one, two)] == [[mine], [mine]]
    assert len(api.post(f"{V1}/decrement", json=body).json()) == 2
    assert [api.get(f"{V1}/tag/{tag}").json()["active_slots"] for tag in (one, two)] == [[], []]
    assert api.post(f"{V1}/increment", json={**body, "task_run_id": others}).status_code == 200


def test_a_tag_limited_to_zero_is_never_waited_for(api: httpx.Client) -> None:
    answer = api.post(f"{V1}/increment", json={"names": [tag_limit(api, 0)], "task_run_id": str(uuid4())})
    assert answer.status_code == 423
    assert "retry-after" not in answer.headers


def test_the_holders_of_a_tag_are_set(api: httpx.Client) -> None:
    tag = tag_limit(api, 3)
    runs = [str(uuid4()) for _ in range(5)]
    assert api.post(f"{V1}/tag/{tag}/reset", json={"slot_override": runs}).status_code == 200
    assert api.get(f"{V1}/tag/{tag}").json()["active_slots"] == runs
    assert api.get(f"{V2}/tag:{tag}").json()["active_slots"] == 5
    assert api.post(f"{V1}/tag/{tag}/reset").status_code == 200
    assert api.get(f"{V2}/tag:{tag}").json()["active_slots"] == 0
    assert api.post(f"{V1}/tag/nobody/reset").status_code == 404


# -- inside the server ------------------------------------------------------------------------------------------------------


@pytest.fixture
def store(fresh_store_url: str) -> Iterator[Store]:
    with open_database(fresh_store_url) as database:
        schema.upgrade(database)
        opened = Store(database)
        yield opened
        opened.close()


def limit_in(store: Store, limit: int = 1) -> UUID:
    name = f"limit-{uuid4().hex}"
    return store.write_now(lambda unit: limits.create(unit, ConcurrencyLimitV2Create(name=name, limit=limit))).id


def age(store: Store, lease_id: UUID) -> None:
    """Let a lease have ended a second ago."""
    ended = to_micros(now()) - 1_000_000
    store.write_now(
        lambda unit: unit.execute(slot.update().where(slot.c.lease_id == lease_id).values(lease_until=ended))
    )


def test_the_end_of_a_lease_frees_the_slot_at_once(store: Store) -> None:
    limit = limit_in(store)
    holder = ("flow_run", uuid4())
    held = store.write_now(lambda unit: slots.take(unit, limit, holder, 60))
    assert held is not None
    assert store.write_now(lambda unit: (slots.free(unit, limit), slots.take(unit, limit, holder, 60))) == (
        (1, 0),
        None,
    )
    assert expire(store) == 0
    age(store, held)
    assert store.write_now(lambda unit: slots.free(unit, limit)) == (1, 1)
    assert not store.write_now(lambda unit: slots.is_live(unit, held))
    assert not store.write_now(lambda unit: slots.renew(unit, held, 60))
    again = store.write_now(lambda unit: slots.take(unit, limit, None, None))
    assert again is not None
    assert expire(store) == 1
    assert not store.write_now(lambda unit: slots.release(unit, held))
    assert store.write_now(lambda unit: slots.is_live(unit, again))


def test_what_an_ended_run_held_is_given_back(store: Store) -> None:
    limit, run = limit_in(store, 3), uuid4()
    for holder in (run, run, uuid4()):
        store.write_now(lambda unit, holder=holder: slots.take(unit, limit, ("task_run", holder), 60))
    assert store.write_now(lambda unit: slots.release_held_by(unit, [run])) == 2
    assert store.write_now(lambda unit: slots.free(unit, limit)) == (3, 2)


def test_a_limit_that_is_gone_holds_nobody_up(store: Store) -> None:
    assert store.write_now(lambda unit: slots.free(unit, uuid4())) == (1, 1)
    lease_id = store.write_now(lambda unit: slots.take(unit, uuid4(), None, 60))
    assert lease_id is not None
    assert store.write_now(lambda unit: slots.renew(unit, lease_id, 60))


def test_a_deployment_has_a_limit_of_its_own(store: Store) -> None:
    deployment = uuid4()
    made = store.write_now(lambda unit: limits.upsert_for_deployment(unit, deployment, 2))
    assert made is not None
    assert store.write_now(lambda unit: limits.upsert_for_deployment(unit, deployment, 5)) == made
    answer = store.read_now(lambda reader: limits.answers_by_id(reader, [made]))[made]
    assert (answer.name, answer.limit) == (f"deployment:{deployment}", 5)
    assert store.write_now(lambda unit: limits.upsert_for_deployment(unit, deployment, None)) is None
    assert store.read_now(lambda reader: limits.answers_by_id(reader, [made])) == {}


def test_a_ticket_that_nobody_renews_is_void(store: Store) -> None:
    limit = limit_in(store)
    name = store.read_now(lambda reader: limits.answer(reader, limit)).name
    held = store.write_now(lambda unit: slots.take(unit, limit, None, 60))
    assert held is not None
    holder = ("task_run", uuid4())
    refused = store.write_now(lambda unit: acquire.acquire(unit, [name], 1, lease=True, holder=holder))
    assert isinstance(refused, acquire.Refused)
    store.write_now(lambda unit: slots.release(unit, held))
    assert store.write_now(lambda unit: slots.free(unit, limit)) == (1, 0)
    store.write_now(lambda unit: unit.execute(slots.slot_waiter.update().values(ticket_until=1)))
    assert store.write_now(lambda unit: slots.free(unit, limit)) == (1, 1)


def test_what_a_crashed_flow_run_and_its_tasks_held_is_given_back(api: httpx.Client) -> None:
    limit = make(api, 3)
    flow = api.post("/flows/", json={"name": "holds"}).json()
    run = api.post("/flow_runs/", json={"flow_id": flow["id"], "state": {"type": "RUNNING"}}).json()
    body = {"flow_run_id": run["id"], "task_key": "t", "dynamic_key": "0"}
    task = api.post("/task_runs/", json=body).json()
    lease(api, limit, holder=UUID(task["id"]))
    lease(api, limit, holder=uuid4())
    of_flow = {"names": [limit["name"]], "slots": 1, "holder": {"type": "flow_run", "id": run["id"]}}
    api.post(f"{V2}/increment-with-lease", json=of_flow)
    assert used(api, limit) == 3
    api.post(f"/flow_runs/{run['id']}/set_state", json={"state": {"type": "CRASHED"}, "force": True})
    assert used(api, limit) == 1


def test_what_happens_to_a_limit_is_told(store: Store) -> None:
    limit = limit_in(store)
    store.write_now(lambda unit: limits.update(unit, limit, ConcurrencyLimitV2Update(limit=4)))
    store.write_now(lambda unit: limits.delete(unit, limit))
    rows = store.read_now(lambda reader: reader.rows(event.select().order_by(event.c.key)))
    assert [row.event for row in rows] == [
        f"prefect.concurrency-limit.{what}" for what in ("created", "updated", "deleted")
    ]
    documents = [msgspec.json.decode(row.document) for row in rows]
    assert {one["resource"]["prefect.resource.id"] for one in documents} == {f"prefect.concurrency-limit.{limit}"}
    assert [one["payload"]["limit"] for one in documents] == [1, 4, 4]
