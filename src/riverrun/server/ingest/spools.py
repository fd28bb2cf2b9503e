"""The spools of a journal directory into the store, until nothing is left or time is up."""

import time
from pathlib import Path

from msgspec import Struct, field

from riverrun.server.db.engine import Database
from riverrun.server.db.scope import LOCAL, Scope
from riverrun.server.ingest.settle import next_seq, settle
from riverrun.server.ingest.unit import Counts
from riverrun.server.ingest.units import UNIT_RECORDS, apply, cut
from riverrun.wire.spool import Spool, spools, sweep

#: records after which a spool is told what it may free, while there is more to read
_RELEASE_EVERY = 50_000


class Report(Struct):
    """What `ingest` did. `finished` is false when time was up; `errors` are spools that could not be read or freed."""

    counts: Counts = field(default_factory=Counts)
    spools: int = 0
    finished: bool = True
    errors: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        counts = self.counts
        text = (
            f"{counts.records} records of {self.spools} journals: {counts.flow_runs} flow runs, {counts.task_runs} task runs, "
            f"{counts.states} states, {counts.logs} log lines"
        )
        if counts.lost:
            text += f"; {counts.lost} records are lost"
        if counts.aside:
            text += f"; {counts.aside} records were kept aside unread"
        return text


def ingest(database: Database, journal_dir: Path, *, seconds: float | None = None, scope: Scope = LOCAL) -> Report:
    """Ingest every spool until nothing is left, or for about `seconds`. The caller holds the database's lock.

    Raises the database's own errors (full disk, no connection); what was committed until then stays. A spool that cannot be
    read is named in the report and does not keep the others out.
    """
    report = Report()
    deadline = None if seconds is None else time.monotonic() + seconds
    failed: set[Path] = set()
    while report.finished:
        before = report.counts.records
        found = [spool for spool in spools(journal_dir) if spool.path not in failed]
        report.spools = max(report.spools, len(found) + len(failed))
        for spool in found:
            try:
                report.finished = _ingest_spool(database, spool, scope, report.counts, deadline)
            except OSError as error:
                failed.add(spool.path)
                report.errors.append(f"{spool.path}: {error}")
            if not report.finished:
                break
        # a living writer may have added some meanwhile; a trickle is left to the next ingestion
        if report.counts.records - before < UNIT_RECORDS:
            break
    if report.finished:
        sweep(journal_dir)
    return report


def _ingest_spool(database: Database, spool: Spool, scope: Scope, counts: Counts, deadline: float | None) -> bool:
    """Ingest one spool and free what is stored; false when time was up before its end."""
    # asked before reading: what a process writes between its last record read here and its death must not be missed
    dead = spool.is_dead()
    done = next_seq(database, spool.writer) - 1
    freed = spool.released
    finished = True
    for unit in cut(spool.records(done)):
        if deadline is not None and time.monotonic() >= deadline:
            finished = False
            break
        counts.add(apply(database, scope, spool.writer, unit))
        done = unit[-1][0]
        if done - freed >= _RELEASE_EVERY:
            spool.release(done)
            freed = done
    if finished and dead:
        counts.add(settle(database, scope, spool.writer, spool.last_payload(), closed=spool.closed_at is not None))
    if done or dead:
        spool.release(done)
    return finished
