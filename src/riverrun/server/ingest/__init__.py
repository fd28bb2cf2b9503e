"""Ingestion: journals into the store, each record once.

`ingest` reads every spool of a journal directory; `ingest_records` takes records from anywhere. Both are idempotent by
(writer, sequence number) and never blocked by a bad record. On SQLite the caller holds the database's lock.
"""

from riverrun.server.ingest.spools import Report, ingest
from riverrun.server.ingest.unit import Counts
from riverrun.server.ingest.units import ingest_records

__all__ = ["Counts", "Report", "ingest", "ingest_records"]
