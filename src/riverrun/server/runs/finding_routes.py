"""What the command line asks beside the peer's interface: runs by what people call them, counts by state, lost records."""

from uuid import UUID

from riverrun.server.db import paging
from riverrun.server.db.tables import flow_run, task_run
from riverrun.server.db.units import Reader
from riverrun.server.http.table import Routes
from riverrun.server.logs.queries import lost_stretches
from riverrun.server.runs import queries
from riverrun.wire.logs import LostStretch

routes = Routes("/find", "Finding runs")


@routes.get("/flow_run", permission="flow_runs:read", returns=UUID, errors=(404, 409))
def find_flow_run(reader: Reader, ref: str) -> UUID:
    """The flow run of this id, name or beginning of an id."""
    return paging.resolve(reader.connection, reader.scope, flow_run, "flow run", ref)


@routes.get("/task_run", permission="task_runs:read", returns=UUID, errors=(404, 409))
def find_task_run(reader: Reader, ref: str) -> UUID:
    """The task run of this id, name or beginning of an id."""
    return paging.resolve(reader.connection, reader.scope, task_run, "task run", ref)


@routes.get("/counts", permission="task_runs:read", returns=dict[str, int])
def counts(reader: Reader, flow_run_id: UUID | None = None) -> dict[str, int]:
    """How many task runs are in states of each type, of one flow run or of all."""
    found = queries.counts(reader.connection, reader.scope, flow_run_id=flow_run_id)
    return {"" if kind is None else kind.value: count for kind, count in found.items()}


@routes.get("/lost", permission="flow_runs:read", returns=list[LostStretch])
def lost(reader: Reader, flow_run_id: UUID | None = None) -> list[LostStretch]:
    """Stretches of journals that are known to be lost, of the journal that a flow run wrote or of all."""
    return lost_stretches(reader.connection, reader.scope, flow_run_id=flow_run_id)
