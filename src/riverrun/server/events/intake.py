"""Where events come in: from all sockets and requests together into few large transactions."""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import Annotated, Any
from uuid import UUID

import msgspec
from msgspec import Meta, Struct

from riverrun.base.clock import to_micros
from riverrun.server.db.scope import Scope
from riverrun.server.db.units import Caller, Transaction
from riverrun.server.http.bodies import is_too_deep
from riverrun.server.ingest.reports import PREFIX, Incoming, Reports, report_of
from riverrun.server.ingest.units import adrive
from riverrun.server.store import Store

#: events wait at most so long for others to come with them into one transaction, which takes at most so many
_GATHER_SECONDS = 0.005
_MOST = 600
#: a client that leaves does not send its events again: those of sockets wait so many seconds for a database that is away
PATIENCE = 15.0
_PAUSE = 0.25
MAX_LABELS, MAX_RELATED, MAX_NAME = 500, 100, 1024
_ORCHESTRATION = "prefect.orchestration"

_Labels = dict[str, str | None]


class _Event(Struct):
    occurred: datetime
    event: Annotated[str, Meta(max_length=MAX_NAME)]
    resource: _Labels
    id: UUID
    related: Annotated[list[_Labels], Meta(max_length=MAX_RELATED)] = []
    payload: msgspec.Raw = msgspec.Raw(b"{}")
    follows: UUID | None = None


_decode = msgspec.json.Decoder(_Event, strict=False).decode


def incoming(text: bytes) -> Incoming:
    """An event from its JSON; raises msgspec.ValidationError for what is JSON and no event, DecodeError for the rest."""
    text = text.strip()
    if is_too_deep(text):
        raise msgspec.ValidationError("The event is nested too deeply.")
    try:
        event = _decode(text)
        resource_id = _checked(event)
        occurred = to_micros(event.occurred)
    except (OverflowError, RecursionError) as error:
        raise msgspec.ValidationError(str(error)) from None
    made = Incoming(event.id, occurred, event.event, resource_id, text)
    if (
        resource_id.startswith(PREFIX)
        and event.resource.get(_ORCHESTRATION) == "client"
        and event.event.startswith(PREFIX)
    ):
        try:
            made.report = report_of(event.id, occurred, resource_id, event.related, event.payload)
        except (ValueError, TypeError, LookupError, OverflowError, RecursionError):
            # it says nothing that the ledger could hold: kept as an event
            made.report = None
    return made


def _checked(event: _Event) -> str:
    resource_id = event.resource.get("prefect.resource.id")
    if not resource_id:
        raise msgspec.ValidationError("A resource needs the label prefect.resource.id - at `$.resource`")
    if len(event.resource) > MAX_LABELS:
        raise msgspec.ValidationError(f"A resource has at most {MAX_LABELS} labels - at `$.resource`")
    for index, related in enumerate(event.related):
        if not related.get("prefect.resource.id") or not related.get("prefect.resource.role"):
            raise msgspec.ValidationError(
                f"A related resource needs the labels prefect.resource.id and prefect.resource.role - at `$.related[{index}]`"
            )
        if len(related) > MAX_LABELS:
            raise msgspec.ValidationError(f"A resource has at most {MAX_LABELS} labels - at `$.related[{index}]`")
    raw = bytes(event.payload)
    if not raw.startswith(b"{"):
        raise msgspec.ValidationError("Expected `object` - at `$.payload`")
    return resource_id


class _Batch:
    """Events that will be stored together; `done` is told when they are."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.events: list[Incoming] = []
        self.patient = False
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        # nobody may be waiting for it: a socket that went away
        self.done.add_done_callback(lambda future: future.cancelled() or future.exception())


class Intake:
    """One per process, on its event loop."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._open: dict[Scope, _Batch] = {}
        self._working: asyncio.Task[None] | None = None

    def add(self, caller: Caller, event: Incoming, *, patient: bool = False) -> "asyncio.Future[None]":
        """Take an event in; the future is done when it is committed, or with what failed.

        Events that were added before may have another future. `patient`: wait for a database that is away.
        """
        batch = self._open.get(caller.scope)
        if batch is None:
            batch = self._open[caller.scope] = _Batch(caller.scope)
        batch.events.append(event)
        batch.patient = batch.patient or patient
        if self._working is None:
            self._working = asyncio.create_task(self._work(), name="event-intake")
        return batch.done

    async def _work(self) -> None:
        try:
            while self._open:
                await asyncio.sleep(_GATHER_SECONDS)
                batches, self._open = self._open, {}
                for batch in batches.values():
                    await self._take(batch)
        finally:
            self._working = None

    async def _take(self, batch: _Batch) -> None:
        caller = Caller(scope=batch.scope, name="events")
        clock = asyncio.get_running_loop().time
        deadline = clock() + (PATIENCE if batch.patient else 0.0)
        first = 0
        try:
            while first < len(batch.events):
                try:
                    await store_events(self._store, caller, batch.events[first : first + _MOST])
                    first += _MOST
                except self._store.database.errors:
                    if clock() >= deadline:
                        raise
                    await asyncio.sleep(_PAUSE)
        except Exception as error:  # noqa: BLE001 - those who wait for the batch are told
            batch.done.set_exception(error)
        else:
            batch.done.set_result(None)


def intake_of(call: Any) -> Intake:
    """The intake of this process, from a Call."""
    found: Intake | None = call.state.get("intake")
    if found is None:
        found = call.state["intake"] = Intake(call.store)
    return found


async def store_events(store: Store, caller: Caller, events: Sequence[Incoming]) -> None:
    """Store events, whatever it takes; raises what is not their fault."""

    async def attempt(items: Sequence[Incoming], careful: bool, error: Exception | None) -> None:
        unit = partial(_unit, items=items, careful=careful, failed=error)
        await store.write(unit, caller, bulk=True)

    await adrive(events, attempt, store.shared.verbs)


def _unit(transaction: Transaction, items: Sequence[Incoming], careful: bool, failed: Exception | None) -> None:
    work = Reports(transaction.verbs, transaction.scope, careful=careful)
    if failed is None:
        work.apply(transaction, items)
    else:
        work.set_aside(transaction, items)
