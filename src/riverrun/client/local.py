"""The store of this machine, read and fed without a server.

`open_store` takes the journals in first (for at most two seconds), then reads; `ingest_in_background` lets a process of its
own do it. Nothing of the server tower is imported before one of them is called, so a flow does not pay for it.
"""

import os
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

if TYPE_CHECKING:
    import subprocess

    from sqlalchemy import Connection

    from riverrun.server.db.engine import Database
    from riverrun.wire.logs import Log, LostStretch
    from riverrun.wire.runs import Flow, FlowRun, TaskRun
    from riverrun.wire.states import BaseState, StateType

INGEST_SECONDS = 2.0
#: how long making or upgrading the tables, or a deletion, may wait for another process
_LOCK_SECONDS = 10.0

_background: "subprocess.Popen[bytes] | None" = None


class LocalStore:
    """An open store, for reading. Every list is one statement, newest first, with `limit` and `offset`.

    References to runs are ids, names, or unique beginnings of an id; what is not there raises ObjectNotFound, what may be
    several raises InputError with the candidates. `notes` are sentences for people: what could not be ingested and why.
    """

    def __init__(self, database: "Database", notes: list[str]) -> None:
        from riverrun.server.db.scope import LOCAL
        from riverrun.server.flows import queries as flows
        from riverrun.server.logs import queries as logs
        from riverrun.server.runs import queries as runs

        self.notes = notes
        self._database = database
        self._scope = LOCAL
        self._runs = runs
        self._flows = flows
        self._logs = logs

    @contextmanager
    def _reading(self) -> "Iterator[Connection]":
        with _explained(self._database), self._database.read() as connection:
            yield connection

    def flow_runs(
        self,
        *,
        limit: int = 50,
        offset: int = 0,
        state_types: "Collection[StateType | str] | None" = None,
        state_names: Collection[str] | None = None,
        flow_names: Collection[str] | None = None,
        name: str | None = None,
        tags: Collection[str] | None = None,
        since: datetime | None = None,
    ) -> "list[FlowRun]":
        """Flow runs by expected start. `tags`: runs that have all of them; `name`: exactly this one."""
        with self._reading() as connection:
            return self._runs.flow_runs(
                connection,
                self._scope,
                limit=limit,
                offset=offset,
                state_types=state_types,
                state_names=state_names,
                flow_names=flow_names,
                name=name,
                tags=tags,
                since=since,
            )

    def flow_run(self, ref: UUID | str) -> "FlowRun":
        """One flow run by reference."""
        with self._reading() as connection:
            return self._runs.find_flow_run(connection, self._scope, ref)

    def flow_run_states(self, flow_run_id: UUID) -> "list[BaseState]":
        """The states of a flow run, first to last."""
        with self._reading() as connection:
            return self._runs.flow_run_states(connection, self._scope, flow_run_id)

    def task_runs(
        self,
        *,
        flow_run_id: UUID | None = None,
        limit: int = 50,
        offset: int = 0,
        state_types: "Collection[StateType | str] | None" = None,
        state_names: Collection[str] | None = None,
        name: str | None = None,
        tags: Collection[str] | None = None,
        since: datetime | None = None,
    ) -> "list[TaskRun]":
        """Task runs by expected start, of one flow run or of all."""
        with self._reading() as connection:
            return self._runs.task_runs(
                connection,
                self._scope,
                flow_run_id=flow_run_id,
                limit=limit,
                offset=offset,
                state_types=state_types,
                state_names=state_names,
                name=name,
                tags=tags,
                since=since,
            )

    def task_run(self, ref: UUID | str) -> "TaskRun":
        """One task run by reference."""
        with self._reading() as connection:
            return self._runs.find_task_run(connection, self._scope, ref)

    def task_run_states(self, task_run_id: UUID) -> "list[BaseState]":
        """The states of a task run, first to last."""
        with self._reading() as connection:
            return self._runs.task_run_states(connection, self._scope, task_run_id)

    def counts(self, *, flow_run_id: UUID | None = None) -> "dict[StateType | None, int]":
        """Runs by type of state: the task runs of a flow run, or all flow runs. None stands for no state yet."""
        with self._reading() as connection:
            return self._runs.counts(connection, self._scope, flow_run_id=flow_run_id)

    def logs(
        self,
        *,
        flow_run_id: UUID | None = None,
        task_run_id: UUID | None = None,
        min_level: int = 0,
        limit: int = 200,
        offset: int = 0,
        newest_first: bool = False,
    ) -> "list[Log]":
        """Log lines, oldest first unless `newest_first`; a flow run's include those of its task runs."""
        with self._reading() as connection:
            return self._logs.logs(
                connection,
                self._scope,
                flow_run_id=flow_run_id,
                task_run_id=task_run_id,
                min_level=min_level,
                limit=limit,
                offset=offset,
                newest_first=newest_first,
            )

    def lost(self, *, flow_run_id: UUID | None = None, limit: int = 50, offset: int = 0) -> "list[LostStretch]":
        """Stretches of journals that are known to be lost; of the journal that a flow run wrote, or of all."""
        with self._reading() as connection:
            return self._logs.lost_stretches(
                connection, self._scope, flow_run_id=flow_run_id, limit=limit, offset=offset
            )

    def flows(self, limit: int = 50, offset: int = 0, *, name: str | None = None) -> "list[Flow]":
        """Flows, newest first."""
        with self._reading() as connection:
            return self._flows.flows(connection, self._scope, limit=limit, offset=offset, name=name)

    def flow_name(self, flow_id: UUID) -> str:
        """The name of a flow."""
        with self._reading() as connection:
            return self._flows.flow_name(connection, self._scope, flow_id)

    def flow_names(self, flow_ids: Collection[UUID | None]) -> dict[UUID, str]:
        """The names of several flows in one statement."""
        wanted = {flow_id for flow_id in flow_ids if flow_id is not None}
        with self._reading() as connection:
            return self._flows.flow_names(connection, self._scope, wanted)

    def delete_flow_run(self, flow_run_id: UUID) -> int:
        """Delete a flow run, its task runs, states and logs; returns the number of task runs.

        Raises ObjectNotFound, and UnavailableError when another process holds the store for too long.
        """
        from riverrun.base.errors import UnavailableError
        from riverrun.server.runs.retention import delete_flow_run

        lock = self._database.lock
        with _explained(self._database):
            if lock is not None and not lock.acquire(_LOCK_SECONDS, "deleting a flow run"):
                raise UnavailableError(f"The store is held by {lock.holder()}; try again when it has ended.")
            try:
                return delete_flow_run(self._database, self._scope, flow_run_id)
            finally:
                if lock is not None:
                    lock.release()


@contextmanager
def open_store(ingest: bool = True, *, seconds: float = INGEST_SECONDS) -> Iterator[LocalStore]:
    """The store that the settings name, ready to read; with `ingest` the journals of this machine are taken in first.

    Ingestion stops after about `seconds`, and is left out when another process is at it or the disk cannot be written:
    `LocalStore.notes` say so. Raises UnavailableError when there is no store to read and none can be made.
    """
    from riverrun.base.config import settings
    from riverrun.server.db.engine import open_database

    current = settings()
    with open_database(current.api_database_connection_url or current.home / "riverrun.db") as database:
        with _explained(database):
            notes = _prepare(database, current.journal_dir, seconds if ingest else None)
        yield LocalStore(database, notes)


def _prepare(database: "Database", journal_dir: Any, seconds: float | None) -> list[str]:
    """Bring tables and contents up to date as far as possible; returns what people should know."""
    from riverrun.base.errors import UnavailableError
    from riverrun.server.db import schema

    _flush_own_journal()
    current = schema.is_current(database)
    if current and seconds is None:
        return []
    lock = database.lock
    try:
        # only who must make the tables waits; a reader of a current store reads what is there
        if lock is not None and not lock.acquire(0.0 if current else _LOCK_SECONDS, "ingesting journals"):
            if current:
                return [f"Recent records may be missing: the store is being written by {lock.holder()}."]
            raise UnavailableError(f"The store is being made by {lock.holder()}; try again in a moment.")
    except OSError as error:
        if current:
            return [
                f"Recent records may be missing: {error.filename or 'the store'} cannot be written ({error.strerror})."
            ]
        raise UnavailableError(
            f"There is no store at {database.path} and it cannot be made ({error.strerror}). Set RIVERRUN_HOME to a directory "
            "that can be written."
        ) from error
    try:
        schema.upgrade(database)
        return [] if seconds is None else _ingest(database, journal_dir, seconds)
    finally:
        if lock is not None:
            lock.release()


def _ingest(database: "Database", journal_dir: Any, seconds: float) -> list[str]:
    from riverrun.server.ingest import ingest

    try:
        report = ingest(database, journal_dir, seconds=seconds)
    except database.errors as error:
        return [f"Recent records may be missing, the journals could not be ingested: {_short(error)}"]
    notes = [f"A journal could not be ingested: {error}" for error in report.errors]
    if not report.finished:
        notes.append("Recent records may be missing: ingestion goes on in the background.")
        ingest_in_background(wait=True)
    if report.counts.lost:
        notes.append(f"{report.counts.lost} records of the journals are lost.")
    return notes


def _flush_own_journal() -> None:
    """What this process has written itself must be readable by it; other processes' journals are on disk anyway."""
    journal = sys.modules.get("riverrun.client.journal")
    if journal is not None:
        journal.flush(1.0)


@contextmanager
def _explained(database: "Database") -> Iterator[None]:
    """Errors of the database as UnavailableError that name the store and never show a password."""
    from riverrun.base.errors import UnavailableError

    try:
        yield
    except database.errors as error:
        where = database.path or database.url.render_as_string(hide_password=True)
        raise UnavailableError(f"The store {where} cannot be used: {_short(error)}") from error


def _short(error: BaseException) -> str:
    return str(getattr(error, "orig", None) or error).strip().split("\n", 1)[0]


def ingest_in_background(*, wait: bool = False) -> "subprocess.Popen[bytes] | None":
    """Start a process of the lowest priority that ingests the journals of this machine and ends; at most one at a time.

    Returns None when one is running already or none can be started. Never raises: a flow that writes a long journal must
    not fail by it. With `wait` the process waits for a holder of the store's lock instead of ending.
    """
    try:
        return _start_ingestion(wait)
    except Exception:  # noqa: BLE001 - the edge of a background service; its own failures are in ingest.log
        return None


def _start_ingestion(wait: bool) -> "subprocess.Popen[bytes] | None":
    import subprocess

    from riverrun.base.config import settings

    global _background
    if _background is not None and _background.poll() is None:
        return None
    current = settings()
    url = current.api_database_connection_url
    if not wait and _is_held(current.home / "riverrun.db" if url is None else url):
        return None
    environment = dict(os.environ)
    # by the environment, for a URL may hold a password and command lines are public
    environment["RIVERRUN_HOME"] = str(current.home)
    environment["RIVERRUN_JOURNAL_DIR"] = str(current.journal_dir)
    if url is not None:
        environment["RIVERRUN_API_DATABASE_CONNECTION_URL"] = url
    # -P: a file of the user's directory must not stand in for a module of ours
    command = [sys.executable, "-P", "-m", "riverrun.server.ingest", *([] if wait else ["--once"])]
    current.home.mkdir(mode=0o700, parents=True, exist_ok=True)
    log = os.open(current.home / "ingest.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        _background = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=environment,
            start_new_session=True,
        )
    finally:
        os.close(log)
    return _background


def _is_held(store: Any) -> bool:
    """Whether another process writes the SQLite store; PostgreSQL has no such lock."""
    from pathlib import Path

    from riverrun.server.db.lock import DatabaseLock

    if isinstance(store, str):
        if not store.startswith("sqlite"):
            return False
        store = Path(store.partition(":///")[2])
    with DatabaseLock(store) as lock:
        return not lock.acquire(0.0, "starting an ingestion")
