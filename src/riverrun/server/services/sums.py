"""Adds up the sums of runs where changes to them are appended (PostgreSQL; `server.runs.rollups`)."""

from riverrun.server.runs.rollups import fold
from riverrun.server.services.contract import Loop
from riverrun.server.store import Store


def run_once(store: Store, _now: int) -> int:
    """One pass; returns the number of changes that were added up."""
    folded: int = 0 if store.database.path is not None else store.write_now(fold, bulk=True)
    return folded


LOOP = Loop(name="sums", doc="Adds up the sums of runs that counts are read from.", interval=2.0, run_once=run_once)
