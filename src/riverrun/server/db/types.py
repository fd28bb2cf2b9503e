"""Column types that both databases share.

Ids are 16 bytes: `uuid` on PostgreSQL, a blob on SQLite (SQLAlchemy's own `Uuid` would be 32 characters there). Instants and
durations are integer microseconds on both (docs/adr/0005). JSON documents are text that the database never parses here.
"""

from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, Integer, LargeBinary
from sqlalchemy.dialects.postgresql import UUID as PostgresUUID
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator, TypeEngine


class Id(TypeDecorator[UUID]):
    """A UUID in 16 bytes."""

    impl = LargeBinary(16)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name == "postgresql":
            return dialect.type_descriptor(PostgresUUID(as_uuid=True))
        return dialect.type_descriptor(LargeBinary(16))

    def process_bind_param(self, value: UUID | None, dialect: Dialect) -> Any:
        if value is None or dialect.name == "postgresql":
            return value
        return value.bytes

    def process_result_value(self, value: Any, dialect: Dialect) -> UUID | None:
        if value is None or isinstance(value, UUID):
            return value
        return UUID(bytes=value)


#: a surrogate key: the rowid on SQLite, bigserial on PostgreSQL
Key = BigInteger().with_variant(Integer(), "sqlite")
#: microseconds since the epoch, or of a duration
Micros = BigInteger
