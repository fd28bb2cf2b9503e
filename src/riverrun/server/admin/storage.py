"""Where results of runs are kept when nothing else is said: a block document, named in the store's configuration."""

from collections.abc import Collection
from uuid import UUID

import sqlalchemy as sa

from riverrun.base.errors import InputError
from riverrun.base.ids import uuid7
from riverrun.server.blocks import documents, schemas
from riverrun.server.db.json_text import from_text, to_text
from riverrun.server.db.tables import configuration as table
from riverrun.server.db.units import Reader, Transaction
from riverrun.wire.admin import ServerDefaultResultStorage

_NAME = "default-result-storage"
#: what a block must be able to do to keep results
_CAPABILITY = "write-path"


def read(reader: Reader) -> ServerDefaultResultStorage:
    text = reader.scalar(sa.select(table.c.value).where(*_mine(reader)))
    found = from_text(text)
    return ServerDefaultResultStorage(default_result_storage_block_id=None if found is None else UUID(found))


def write(transaction: Transaction, document_id: UUID) -> ServerDefaultResultStorage:
    """Let a block be the storage; raises ObjectNotFound, InputError for one that keeps no files."""
    document = documents.find(transaction, document_id)
    schema = schemas.by_id(transaction, [document.block_schema_id])[document.block_schema_id]
    if _CAPABILITY not in schema.capabilities:
        raise InputError(f"The block document {document_id} cannot keep results: its type lacks {_CAPABILITY!r}.")
    values = {"value": to_text(str(document_id)), "updated": transaction.now}
    if not transaction.execute(sa.update(table).where(*_mine(transaction)).values(**values)).rowcount:
        new = {"id": uuid7(), "workspace_id": transaction.workspace, "created": transaction.now, "name": _NAME}
        transaction.execute(sa.insert(table).values(**new, **values))
    return read(transaction)


def clear(transaction: Transaction) -> None:
    transaction.execute(sa.delete(table).where(*_mine(transaction)))


def forget(transaction: Transaction, document_ids: Collection[UUID]) -> None:
    """These documents are gone: none of them is the storage any more."""
    if read(transaction).default_result_storage_block_id in document_ids:
        clear(transaction)


def _mine(reader: Reader) -> tuple[sa.ColumnElement[bool], ...]:
    return table.c.workspace_id == reader.workspace, table.c.name == _NAME
