"""How entities hang together: from the filters of a request to the conditions of a query. `filter_fields` has the fields.

`conditions_for(reader, "deployment", filters_of(body))` gives the conditions of a query `FROM deployment`: those of the
workspace, of the entity's own filter, and of the filters on what it hangs together with; all are and-ed. Entities are "flow",
"flow_run", "task_run", "deployment", "work_pool" and "work_queue". An empty filter filters nothing.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import sqlalchemy as sa
from msgspec import Struct

from riverrun.server.db import filter_fields as fields
from riverrun.server.db import tables as t
from riverrun.server.db.filter_fields import Fields, Form, Table
from riverrun.server.db.units import Reader
from riverrun.server.db.watch import SECONDS, TookTooLongError
from riverrun.server.db.where import (
    Condition,
    joined,
    rules_of,
)

#: terms whose index begins with the workspace; for others it only leads SQLite astray
LED_BY_WORKSPACE = frozenset(
    ("name", "state", "start_time", "end_time", "expected_start_time", "next_scheduled_start_time")
)
#: flow runs by which flows and deployments are found
_FEW = 2_000
#: flows that are named one by one
_FLOWS = 50
_SMALL = ("flow", "deployment", "work_pool", "work_queue")


class Filters(Struct, kw_only=True):
    """The filters of one request, each on one kind of thing."""

    flows: Any = None
    flow_runs: Any = None
    task_runs: Any = None
    deployments: Any = None
    work_pools: Any = None
    work_queues: Any = None

    def only(self, *names: str) -> bool:
        """Whether no filter stands but those on `names`."""
        return all(name in names or not _filters(getattr(self, name)) for name in self.__struct_fields__)

    def sentence(self) -> str:
        """The filters that say something, as their fields are named."""
        names = [f"{name}.{field}" for name in self.__struct_fields__ for field in _fields(getattr(self, name))]
        return ", ".join(names) or "no filter at all"


@contextmanager
def named_when_slow(filters: Filters) -> Iterator[None]:
    """Say which filters took the database too long; raises TookTooLongError with their names."""
    try:
        yield
    except TookTooLongError:
        raise TookTooLongError(
            f"This takes the database longer than {SECONDS:g} seconds, and was stopped. Asked for: {filters.sentence()}. "
            "Narrow it down by state, flow, tag or a span of time."
        ) from None


def filters_of(body: Any) -> Filters:
    """The filters in the body of a request, whatever its names for queues."""
    found = {name: getattr(body, name, None) for name in Filters.__struct_fields__}
    found["work_queues"] = getattr(body, "work_pool_queues", None) or found["work_queues"]
    return Filters(**found)


def _filters(value: Any) -> bool:
    return value is not None and bool(says(value))


def _fields(value: Any) -> list[str]:
    return [] if value is None else sorted(says(value))


def says(value: Any) -> set[str]:
    """The fields that a filter says something about."""
    return {name for name in value.__struct_fields__ if getattr(value, name) is not None} - {"operator"}


def form_of(reader: Reader) -> Form:
    return Form(reader.is_sqlite, reader.workspace)


def with_flows(reader: Reader, filters: Filters) -> Form:
    """The form for a reader, with the keys of the flows that are asked for: planners know how often each of them is."""
    form = form_of(reader)
    found = _found(form, "flow", "key", Filters(flows=filters.flows))
    if found is None:
        return form
    keys = tuple(row.key for row in reader.rows(found.limit(_FLOWS + 1)))
    return form if len(keys) > _FLOWS else msgspec.structs.replace(form, flow_keys=keys)


def conditions_for(reader: Reader, entity: str, filters: Filters) -> list[Condition]:
    """The conditions of a query on the table of `entity`."""
    table, form = TABLES[entity], form_of(reader)
    if form.sqlite and entity in ("flow", "deployment"):
        form = msgspec.structs.replace(form, few=_few_runs(reader, form.driving(), filters))
    found = [condition for _, condition in terms(form, entity, table, filters)]
    return [table.c.workspace_id == reader.workspace, *found]


def _few_runs(reader: Reader, form: Form, filters: Filters) -> bool:
    run = t.flow_run.alias()
    wanted = owned(form, "flow_run", run, Filters(flow_runs=filters.flow_runs, task_runs=filters.task_runs))
    if wanted is None:
        return False
    some = sa.select(sa.literal_column("1")).select_from(run).where(wanted).limit(_FEW + 1).subquery()
    return bool(reader.scalar(sa.select(sa.func.count()).select_from(some)) <= _FEW)


def terms(form: Form, entity: str, table: Table, filters: Filters) -> Iterator[tuple[str, Condition]]:
    """The conditions one by one, named by the field of the entity's own filter or by the other filter they come from."""
    own, meaning, related = ENTITIES[entity]
    yield from rules_of(getattr(filters, own), meaning(table, form), own)
    yield from related(form, table, filters)


def owned(form: Form, entity: str, table: Table, filters: Filters) -> Condition | None:
    """The conditions of all filters and of the workspace, in one; None where nothing is filtered."""
    if filters.only():
        return None
    found = dict(terms(form, entity, table, filters))
    if not found:
        return None
    led = form if found.keys() <= LED_BY_WORKSPACE or entity in _SMALL else form.driving(drive=False)
    return sa.and_(led.mine(table), *found.values())


def _found(form: Form, entity: str, column: str, filters: Filters) -> sa.Select[Any] | None:
    """The values of a column in the rows of a small table that the filters leave; None where nothing is filtered."""
    table = TABLES[entity].alias()
    condition = owned(form.driving(), entity, table, filters)
    return None if condition is None else sa.select(table.c[column]).where(condition)


def _among(form: Form, target: sa.ColumnElement[Any], found: sa.Select[Any] | None) -> Condition | None:
    return None if found is None else form.column(target).in_(found)


# -- what hangs together ----------------------------------------------------------------------------------------------------

Related = Iterator[tuple[str, Condition]]


def of_flows(form: Form, run: Table, filters: Filters) -> Condition | None:
    """Runs of the flows that the filter on flows leaves."""
    if form.flow_keys is not None:
        return form.column(run.c.flow_key).in_(form.flow_keys)
    return _among(form, run.c.flow_key, _found(form, "flow", "key", Filters(flows=filters.flows)))


def _queues(form: Form, filters: Filters) -> sa.Select[Any] | None:
    """The ids of the queues that the filters on queues and pools leave."""
    pools = _found(form, "work_pool", "id", Filters(work_pools=filters.work_pools))
    queue = t.work_queue.alias()
    drive = form.driving()
    condition = joined(
        [
            owned(drive, "work_queue", queue, Filters(work_queues=filters.work_queues)),
            _among(drive, queue.c.work_pool_id, pools),
        ]
    )
    return None if condition is None else sa.select(queue.c.id).where(condition)


def _named_terms(**conditions: Condition | None) -> Related:
    for name, condition in conditions.items():
        if condition is not None:
            yield name, condition


def _with_tasks(form: Form, run: Table, filters: Filters) -> Condition | None:
    """Flow runs with a task run that the filter leaves."""
    if not _filters(filters.task_runs):
        return None
    task = t.task_run.alias()
    condition = owned(form, "task_run", task, Filters(task_runs=filters.task_runs))
    if condition is None:
        return None
    if form.drive:
        return run.c.key.in_(sa.select(task.c.flow_run_key).where(condition))
    return sa.exists().where(task.c.flow_run_key == run.c.key, condition).correlate(run)


def _of_flow_run(form: Form, run: Table, filters: Filters) -> Related:
    deployments = _found(form, "deployment", "id", Filters(deployments=filters.deployments))
    return _named_terms(
        flows=of_flows(form, run, filters),
        deployments=_among(form, run.c.deployment_id, deployments),
        work_queues=_among(form, run.c.work_queue_id, _queues(form, filters)),
        task_runs=_with_tasks(form, run, filters),
    )


def _of_task_run(form: Form, run: Table, filters: Filters) -> Related:
    parent = t.flow_run.alias()
    condition = owned(form, "flow_run", parent, msgspec.structs.replace(filters, task_runs=None))
    if condition is None:
        return
    if form.drive:
        yield "flow_runs", run.c.flow_run_key.in_(sa.select(parent.c.key).where(condition))
    else:
        yield "flow_runs", sa.exists().where(parent.c.key == run.c.flow_run_key, condition).correlate(run)


def _having_runs(form: Form, column: str, owner: Table, key: str, filters: Filters) -> Condition | None:
    """Flows or deployments with a run that the filters on flow runs and task runs leave."""
    run = t.flow_run.alias()
    mine = Filters(flow_runs=filters.flow_runs, task_runs=filters.task_runs)
    condition = owned(form.driving() if form.few else form, "flow_run", run, mine)
    if condition is None:
        return None
    if form.few:
        return owner.c[key].in_(sa.select(run.c[column]).where(condition))
    return sa.exists().where(run.c[column] == owner.c[key], condition).correlate(owner)


def _of_flow(form: Form, flow: Table, filters: Filters) -> Related:
    deployment = t.deployment.alias()
    drive = form.driving()
    condition = joined(
        [
            owned(drive, "deployment", deployment, Filters(deployments=filters.deployments)),
            _among(drive, deployment.c.work_queue_id, _queues(form, filters)),
        ]
    )
    deployed = None if condition is None else sa.select(deployment.c.flow_id).where(condition)
    return _named_terms(
        deployments=_among(form, flow.c.id, deployed),
        flow_runs=_having_runs(form, "flow_key", flow, "key", filters),
    )


def _of_deployment(form: Form, deployment: Table, filters: Filters) -> Related:
    return _named_terms(
        flows=_among(form, deployment.c.flow_id, _found(form, "flow", "id", Filters(flows=filters.flows))),
        work_queues=_among(form, deployment.c.work_queue_id, _queues(form, filters)),
        flow_runs=_having_runs(form, "deployment_id", deployment, "id", filters),
    )


def _alone(_: Form, __: Table, ___: Filters) -> Related:
    return iter(())


TABLES: dict[str, sa.Table] = {
    "flow": t.flow,
    "flow_run": t.flow_run,
    "task_run": t.task_run,
    "deployment": t.deployment,
    "work_pool": t.work_pool,
    "work_queue": t.work_queue,
}
#: by entity: the name of its own filter, what its fields mean, and what hangs together with it
ENTITIES: dict[str, tuple[str, Callable[[Table, Form], Fields], Callable[[Form, Table, Filters], Related]]] = {
    "flow": ("flows", fields.flow_fields, _of_flow),
    "flow_run": ("flow_runs", fields.flow_run_fields, _of_flow_run),
    "task_run": ("task_runs", fields.task_run_fields, _of_task_run),
    "deployment": ("deployments", fields.deployment_fields, _of_deployment),
    "work_pool": ("work_pools", fields.work_pool_fields, _alone),
    "work_queue": ("work_queues", fields.work_queue_fields, _alone),
}
