"""Limits themselves: found by id or name, made, changed, removed, and told about."""

import math
from collections.abc import Collection
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from msgspec import UNSET

from riverrun.base.clock import from_micros
from riverrun.base.errors import ObjectAlreadyExists, ObjectNotFound
from riverrun.base.ids import uuid7
from riverrun.server import notices
from riverrun.server.concurrency import slots
from riverrun.server.db.tables import concurrency_limit as table
from riverrun.server.db.units import Reader, Transaction
from riverrun.server.db.where import listed
from riverrun.server.http.errors import InvalidRequest
from riverrun.server.http.pages import short
from riverrun.wire.concurrency import (
    ConcurrencyLimitV2,
    ConcurrencyLimitV2Create,
    ConcurrencyLimitV2Update,
    GlobalConcurrencyLimitResponse,
    MinimalConcurrencyLimitResponse,
)

#: what a slot is thought to be held for until the first ones were given back
FIRST_AVERAGE = 2.0
_FACTS = ("limit", "slot_decay_per_second", "denied_slots")


# -- finding ----------------------------------------------------------------------------------------------------------------


def find(reader: Reader, ref: UUID | str, *, lock: bool = False) -> Any:
    """The row of the limit with this id or name, or None."""
    query = sa.select(table).where(table.c.workspace_id == reader.workspace)
    if lock:
        query = query.with_for_update()
    if isinstance(ref, str):
        row = reader.row(query.where(table.c.name == ref))
        if row is not None:
            return row
        try:
            ref = UUID(ref)
        except ValueError:
            return None
    return reader.row(query.where(table.c.id == ref))


def get(reader: Reader, ref: UUID | str, *, lock: bool = False) -> Any:
    """The same; raises ObjectNotFound."""
    row = find(reader, ref, lock=lock)
    if row is None:
        raise ObjectNotFound(f"There is no concurrency limit {str(ref)!r}.")
    return row


def named(transaction: Transaction, names: Collection[str]) -> list[Any]:
    """The limits with these names, locked, in the order of their keys."""
    mine = sa.select(table).where(table.c.workspace_id == transaction.workspace, table.c.name.in_(listed(set(names))))
    return transaction.rows(mine.order_by(table.c.key).with_for_update()) if names else []


def page(reader: Reader, limit: int, offset: int, *, prefix: str = "") -> list[Any]:
    """Limits by name."""
    query = sa.select(table).where(table.c.workspace_id == reader.workspace).order_by(table.c.name)
    if prefix:
        query = query.where(table.c.name.startswith(prefix, autoescape=True))
    return reader.rows(query.limit(limit).offset(offset))


# -- telling ----------------------------------------------------------------------------------------------------------------


def answers(reader: Reader, rows: Collection[Any]) -> list[GlobalConcurrencyLimitResponse]:
    """What is said of limits, with the slots that are taken now."""
    used = slots.in_use(reader, list(rows), slots.clock(reader))
    return [
        GlobalConcurrencyLimitResponse(
            id=row.id,
            created=from_micros(row.created),
            updated=from_micros(row.updated),
            active=bool(row.active),
            name=row.name,
            limit=row.limit,
            active_slots=math.ceil(used[row.key]),
            slot_decay_per_second=row.slot_decay_per_second,
        )
        for row in rows
    ]


def answer(reader: Reader, ref: UUID | str) -> GlobalConcurrencyLimitResponse:
    """What is said of one limit; raises ObjectNotFound."""
    return answers(reader, [get(reader, ref)])[0]


def answers_by_id(reader: Reader, ids: Collection[UUID]) -> dict[UUID, GlobalConcurrencyLimitResponse]:
    """What is said of some limits, by id; those that are not there are left out."""
    query = sa.select(table).where(table.c.workspace_id == reader.workspace, table.c.id.in_(set(ids)))
    return {one.id: one for one in answers(reader, reader.rows(query))} if ids else {}


def brief(row: Any, name: str | None = None) -> MinimalConcurrencyLimitResponse:
    return MinimalConcurrencyLimitResponse(id=row.id, name=name or row.name, limit=row.limit)


# -- changing ---------------------------------------------------------------------------------------------------------------


def create(transaction: Transaction, body: ConcurrencyLimitV2Create) -> ConcurrencyLimitV2:
    """Make a limit; raises ObjectAlreadyExists."""
    short(body.name, "name")
    if find(transaction, body.name) is not None:
        raise ObjectAlreadyExists(f"There is a concurrency limit {body.name!r} already.")
    row = _insert(transaction, body)
    if body.active_slots:
        slots.set_in_use(transaction, row, body.active_slots, slots.clock(transaction))
    _tell(transaction, "created", row)
    return ConcurrencyLimitV2(
        id=row.id,
        created=from_micros(row.created),
        updated=from_micros(row.updated),
        active=body.active,
        name=body.name,
        limit=body.limit,
        active_slots=body.active_slots,
        denied_slots=body.denied_slots,
        slot_decay_per_second=body.slot_decay_per_second,
        avg_slot_occupancy_seconds=FIRST_AVERAGE,
    )


def _insert(transaction: Transaction, body: ConcurrencyLimitV2Create) -> Any:
    values = {
        "id": uuid7(),
        "workspace_id": transaction.workspace,
        "created": transaction.now,
        "updated": transaction.now,
        "name": body.name,
        "occupied": 0.0,
        "occupied_at": transaction.now,
        "avg_slot_occupancy_seconds": FIRST_AVERAGE,
        "active": int(body.active),
        **{name: getattr(body, name) for name in _FACTS},
    }
    transaction.execute(sa.insert(table).values(**values))
    return get(transaction, values["id"], lock=True)


def update(transaction: Transaction, ref: UUID | str, body: ConcurrencyLimitV2Update) -> None:
    """Change what the body says; raises ObjectNotFound, ObjectAlreadyExists."""
    row = get(transaction, ref, lock=True)
    now = slots.clock(transaction)
    said = {name: getattr(body, name) for name in body.__struct_fields__ if getattr(body, name) is not UNSET}
    for name, value in said.items():
        if value is None:
            raise InvalidRequest(("body", name), "This field cannot be null.")
    taken = said.pop("active_slots", None)
    if "active" in said:
        said["active"] = int(said["active"])
    if "name" in said and said["name"] != row.name:
        short(said["name"], "name")
        if find(transaction, said["name"]) is not None:
            raise ObjectAlreadyExists(f"There is a concurrency limit {said['name']!r} already.")
    was_decaying = row.slot_decay_per_second > 0
    is_decaying = said.get("slot_decay_per_second", row.slot_decay_per_second) > 0
    if taken is None and was_decaying != is_decaying:
        # the number goes on in the other form
        taken = math.ceil(slots.in_use(transaction, [row], now)[row.key])
    if "slot_decay_per_second" in said and was_decaying:
        said |= {"occupied": slots.decayed(row, now), "occupied_at": now}
    slots.change(transaction, row, updated=now, **said)
    row = get(transaction, row.id)
    if taken is not None:
        slots.set_in_use(transaction, row, taken, now)
    transaction.wake(slots.topic(row.id))
    _tell(transaction, "updated", row)


def delete(transaction: Transaction, ref: UUID | str) -> None:
    """Remove a limit; raises ObjectNotFound. Those who hold a lease of it keep the lease."""
    row = get(transaction, ref, lock=True)
    _remove(transaction, row)
    _tell(transaction, "deleted", row)


def _remove(transaction: Transaction, row: Any) -> None:
    slots.forget_limit(transaction, row)
    transaction.execute(sa.delete(table).where(table.c.key == row.key))


def upsert_for_deployment(transaction: Transaction, deployment_id: UUID, limit: int | None) -> UUID | None:
    """Let a deployment's limit be `limit`, or let there be none; the id of the limit."""
    name = f"deployment:{deployment_id}"
    row = find(transaction, name, lock=True)
    if limit is None:
        if row is not None:
            _remove(transaction, row)
        return None
    if row is None:
        row = _insert(transaction, ConcurrencyLimitV2Create(name=name, limit=limit))
    elif row.limit != limit:
        slots.change(transaction, row, limit=limit, updated=transaction.now)
        transaction.wake(slots.topic(row.id))
    found: UUID = row.id
    return found


def _tell(transaction: Transaction, action: notices.Action, row: Any) -> None:
    payload = {
        "name": row.name,
        "limit": row.limit,
        "active": bool(row.active),
        "slot_decay_per_second": row.slot_decay_per_second,
    }
    notices.happened(transaction, "concurrency-limit", action, row.id, row.name, payload)
