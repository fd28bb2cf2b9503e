"""The pass that gives back what nobody renews: slots of expired leases, and tickets of those who do not ask any more."""

import sqlalchemy as sa

from riverrun.server.concurrency import slots
from riverrun.server.db.tables import slot, slot_waiter
from riverrun.server.db.units import Transaction
from riverrun.server.services.contract import Loop
from riverrun.server.store import Store


def expire(store: Store, now: int | None = None) -> int:
    """Give expired slots back; how many rows there were. By the database's clock unless an instant is given."""

    def unit(transaction: Transaction) -> int:
        instant = now if now is not None and transaction.is_sqlite else slots.clock(transaction)
        transaction.execute(sa.delete(slot_waiter).where(slot_waiter.c.ticket_until <= instant))
        return slots.give_back(transaction, slot.c.lease_until <= instant)

    return store.write_now(unit, bulk=True)


LOOP = Loop(
    name="expired-leases",
    doc="Gives back the slots of concurrency limits whose leases nobody has renewed.",
    interval=5,
    run_once=expire,
)
