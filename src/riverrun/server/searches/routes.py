"""Saved searches over HTTP."""

from typing import Any
from uuid import UUID

import sqlalchemy as sa

from riverrun.base.clock import from_micros
from riverrun.base.errors import ObjectNotFound
from riverrun.base.ids import uuid7
from riverrun.server.db.json_text import from_text, to_text
from riverrun.server.db.tables import saved_search as table
from riverrun.server.db.units import Reader, Transaction
from riverrun.server.http.pages import page, short
from riverrun.server.http.table import Reply, Routes
from riverrun.wire.requests import SavedSearchesFilterBody
from riverrun.wire.searches import SavedSearch, SavedSearchCreate

READ, WRITE = "searches:read", "searches:write"
routes = Routes("/saved_searches", "SavedSearches")


@routes.put("/", permission=WRITE, also=(201,), returns=SavedSearch)
def create_saved_search(transaction: Transaction, body: SavedSearchCreate) -> Reply:
    """Save a search; one with the same name is replaced."""
    short(body.name, "name")
    mine = (table.c.workspace_id == transaction.workspace, table.c.name == body.name)
    values = {"filters": to_text(body.filters), "updated": transaction.now}
    is_new = not transaction.execute(sa.update(table).where(*mine).values(**values)).rowcount
    if is_new:
        new = {"id": uuid7(), "workspace_id": transaction.workspace, "created": transaction.now, "name": body.name}
        transaction.execute(sa.insert(table).values(**new, **values))
    row = transaction.row(sa.select(table).where(*mine))
    return Reply(value=_answer(row), status=201 if is_new else 200)


@routes.get("/{id}", permission=READ, returns=SavedSearch, errors=(404,))
def read_saved_search(reader: Reader, id: UUID) -> SavedSearch:
    row = reader.row(sa.select(table).where(table.c.workspace_id == reader.workspace, table.c.id == id))
    if row is None:
        raise ObjectNotFound(f"There is no saved search {id}.")
    return _answer(row)


@routes.post("/filter", permission=READ, returns=list[SavedSearch])
def read_saved_searches(reader: Reader, body: SavedSearchesFilterBody | None) -> list[SavedSearch]:
    """Saved searches by name."""
    body = body or SavedSearchesFilterBody()
    query = sa.select(table).where(table.c.workspace_id == reader.workspace).order_by(table.c.name)
    return [_answer(row) for row in reader.rows(query.limit(page(body.limit)).offset(body.offset))]


@routes.delete("/{id}", permission=WRITE, status=204, errors=(404,))
def delete_saved_search(transaction: Transaction, id: UUID) -> None:
    mine = (table.c.workspace_id == transaction.workspace, table.c.id == id)
    if not transaction.execute(sa.delete(table).where(*mine)).rowcount:
        raise ObjectNotFound(f"There is no saved search {id}.")


def _answer(row: Any) -> SavedSearch:
    return SavedSearch(
        id=row.id,
        created=from_micros(row.created),
        updated=from_micros(row.updated),
        name=row.name,
        filters=from_text(row.filters, []),
    )
