"""Log lines over HTTP and sockets."""

from collections.abc import AsyncIterator
from functools import partial
from urllib.parse import quote
from uuid import UUID

from riverrun.server.db.units import Reader
from riverrun.server.events.stream import serve_stream
from riverrun.server.http.table import Call, Reply, Routes
from riverrun.server.logs import logic, queries
from riverrun.server.logs.download import table
from riverrun.server.runs.queries import flow_run_by_id
from riverrun.wire.flow_runs import LogCreate
from riverrun.wire.logs import Log
from riverrun.wire.requests import LogsFilterBody

routes = Routes("", "Logs")
#: lines of a download that are read at once
_AT_ONCE = 1000


@routes.post("/logs/", permission="logs:write", status=201)
async def create_logs(call: Call, body: list[LogCreate]) -> None:
    """Take log lines in."""
    await logic.create(call.store, call.caller, body)


@routes.post("/logs/filter", permission="logs:read", returns=list[Log])
def read_logs(reader: Reader, body: LogsFilterBody) -> list[Log]:
    return queries.filtered(reader, body)


@routes.get("/flow_runs/{id}/logs/download", permission="logs:read", errors=(404,))
async def download_logs(call: Call, id: UUID) -> Reply:
    """The log of a flow run as CSV."""
    run = await call.store.read(lambda reader: flow_run_by_id(reader.connection, reader.scope, id), call.caller)

    async def parts() -> AsyncIterator[bytes]:
        yield table([], header=True)
        place = queries.FIRST
        while True:
            read = partial(queries.after, flow_run_id=id, place=place, limit=_AT_ONCE)
            lines, place = await call.store.read(read, call.caller)
            if not lines:
                return
            yield table(lines, header=False)

    name = quote(f"{run.name}-logs.csv", safe="")
    headers = {"Content-Disposition": f"attachment; filename=\"flow-run-logs.csv\"; filename*=UTF-8''{name}"}
    return Reply(value=parts(), media_type="text/csv; charset=utf-8", headers=headers)


@routes.socket("/logs/out", permission="logs:read")
async def stream_logs_out(call: Call) -> None:
    """Stream log lines as they are committed."""
    await serve_stream(call, "log")
