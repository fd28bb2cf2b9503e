"""Polls read what is due by an index, however many runs there are."""

from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest
import sqlalchemy as sa

from riverrun.server.db import tables as t
from riverrun.server.db.engine import open_database
from riverrun.server.db.units import Reader
from riverrun.server.deployments import logic
from riverrun.server.store import Store
from riverrun.server.work import queries, scheduled


def _due(*conditions) -> Callable[[Reader], object]:
    return lambda reader: scheduled.runs(reader, *conditions, before=None, after=None, limit=5)


@pytest.mark.parametrize(
    ("read", "index"),
    [
        (_due(t.flow_run.c.work_queue_id == uuid4()), "ix_flow_run_queue"),
        (_due(t.flow_run.c.deployment_id.in_([uuid4(), uuid4()])), "ix_flow_run_due"),
        (lambda reader: queries.queue_slots(reader, [uuid4()]), "ix_flow_run_queue"),
        (lambda reader: queries.pool_slots(reader, [uuid4()]), "ix_flow_run_queue"),
        (lambda transaction: logic.remove_scheduled(transaction, [uuid4()], only_auto=True), "ix_flow_run_due"),
    ],
)
def test_an_index_finds_them(
    sqlite_template: Path, tmp_path: Path, read: Callable[[Reader], object], index: str
) -> None:
    path = tmp_path / "riverrun.db"
    path.write_bytes(Path(sqlite_template).read_bytes())
    with open_database(path) as database:
        seen: list[tuple[str, object]] = []
        for engine in (database.readers, database.engine):
            sa.event.listen(engine, "before_cursor_execute", lambda *call: seen.append((call[2], call[3])))
        store = Store(database)
        store.write_now(read)
        store.close()
        statements = [(text, values) for text, values in seen if text.startswith("SELECT")]
        assert statements
        with database.read() as connection:
            plans = [
                " ".join(row[-1] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}", values))
                for text, values in statements
            ]
    assert any(f"INDEX {index} (" in plan for plan in plans)
    assert not any("SCAN flow_run" in plan for plan in plans)
