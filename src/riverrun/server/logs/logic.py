"""Log lines that clients send, and what a filter means for one line."""

from collections.abc import Sequence
from functools import partial

from riverrun.base.clock import to_micros
from riverrun.server.db.searching import terms
from riverrun.server.db.units import Caller, Transaction
from riverrun.server.ingest.fold import Fold
from riverrun.server.ingest.units import adrive
from riverrun.server.store import Store
from riverrun.wire.filters import LogFilter
from riverrun.wire.flow_runs import LogCreate
from riverrun.wire.journal import LogRecord
from riverrun.wire.logs import Log

#: lines of one transaction
_MOST = 1000
#: a message of more characters is cut
MAX_MESSAGE = 1_000_000
_CUT = " ... [cut by the server]"
_INT32 = 2**31


async def create(store: Store, caller: Caller, lines: Sequence[LogCreate]) -> None:
    """Store log lines; returns when they are committed."""
    records = [_record(line) for line in lines]
    for first in range(0, len(records), _MOST):
        await adrive(records[first : first + _MOST], partial(_attempt, store, caller), store.shared.verbs)


async def _attempt(
    store: Store, caller: Caller, records: Sequence[LogRecord], careful: bool, error: Exception | None
) -> None:
    if error is not None:
        raise error

    def unit(transaction: Transaction) -> None:
        fold = Fold(transaction.verbs, transaction.scope, careful=careful)
        fold.cursor = transaction.cursor
        for record in records:
            fold.note(record)
        fold.load_runs()
        fold.fold(fold.records)
        written = fold.write_runs(transaction.cursor)
        fold.tell(transaction, written.log_keys)

    await store.write(unit, caller, bulk=True)


def _record(line: LogCreate) -> LogRecord:
    message = line.message.replace("\0", "\u2400")
    if len(message) > MAX_MESSAGE:
        message = message[: MAX_MESSAGE - len(_CUT)] + _CUT
    return LogRecord(
        None if line.flow_run_id is None else line.flow_run_id.bytes,
        None if line.task_run_id is None else line.task_run_id.bytes,
        to_micros(line.timestamp),
        min(max(line.level, -_INT32), _INT32 - 1),
        line.name.replace("\0", "\u2400"),
        message,
    )


def matches(filter: LogFilter, line: Log) -> bool:
    """Whether a line passes a filter."""
    results = []
    if filter.level is not None:
        ge, le = filter.level.ge_, filter.level.le_
        results.append((ge is None or line.level >= ge) and (le is None or line.level <= le))
    if filter.timestamp is not None:
        before, after = filter.timestamp.before_, filter.timestamp.after_
        at = to_micros(line.timestamp)
        results.append((before is None or at <= to_micros(before)) and (after is None or at >= to_micros(after)))
    if filter.flow_run_id is not None and filter.flow_run_id.any_ is not None:
        results.append(line.flow_run_id in filter.flow_run_id.any_)
    if filter.task_run_id is not None:
        wanted, null = filter.task_run_id.any_, filter.task_run_id.is_null_
        results.append(
            (wanted is None or line.task_run_id in wanted) and (null is None or (line.task_run_id is None) == null)
        )
    if filter.text is not None:
        results.append(terms(filter.text.query).match(f"{line.message} {line.name}"))
    return any(results) if results and filter.operator == "or_" else all(results)
