"""Removes what is old from the outbox."""

from riverrun.server import outbox
from riverrun.server.services.contract import Loop
from riverrun.server.store import Store


def run_once(store: Store, now: int) -> int:  # noqa: ARG001 - the transaction has its own instant
    """Remove one batch; how many entries that were."""
    return store.write_now(outbox.clean, bulk=True)


LOOP = Loop(
    name="outbox",
    doc="What streams and automations have read is removed after some minutes.",
    interval=30.0,
    run_once=run_once,
    again=True,
)
