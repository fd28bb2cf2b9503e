"""How many runs are in which state, by minute and flow: kept in step with the ledger, so that counts need not read it."""

from collections.abc import Iterable
from typing import Any

from riverrun.server.db.units import Transaction

#: kind (wire.journal.FLOW_RUN ...), flow key, minute of the expected start, state code before and after (None: there was none)
Change = tuple[int, int | None, int, int | None, int | None]
MINUTE = 60_000_000


def change(transaction: Transaction, changes: Iterable[Change]) -> Any:
    """Count the changes, in the transaction that makes them."""
