"""The catalogue of queries that have a budget, and a store to ask them of. Without pytest, for tests and benchmarks.

Each query is asked for something that nothing, little and most of the store has. The tests ask a small store how its planner goes
about them; `bench_catalogue` measures them over a million task runs.
"""

import itertools
import random
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID

from riverrun.base.clock import from_micros
from riverrun.base.ids import uuid7
from riverrun.server.db.engine import Database
from riverrun.server.ingest import ingest_records
from riverrun.wire.journal import FLOW_RUN, TASK_RUN, FlowRunRecord, StateRecord, TaskRunRecord, encode
from riverrun.wire.states import TYPE_CODES, StateType

#: where the time of the store begins, and how long it lasts
START = 1_790_000_000_000_000
SPAN = 14 * 86_400_000_000
FLOWS = 100
#: per thousand; Running comes as RARE runs in all, Paused never
STATES = {StateType.COMPLETED: 930, StateType.FAILED: 50, StateType.CRASHED: 15, StateType.CANCELLED: 5}
RARE = 5
_NAMES = ("amber", "brave", "calm", "deft", "eager", "fond", "glad", "hardy", "ideal", "jolly")
_ANIMALS = ("otter", "heron", "lynx", "newt", "quail", "raven", "seal", "tapir", "vole", "yak")

#: (name, path below /api, body)
Query = tuple[str, str, dict[str, Any]]


class Catalogue:
    """A store's worth of runs, and the queries about them. Always the same for the same numbers, but for the ids."""

    def __init__(self, flow_runs: int, tasks: int) -> None:
        self.flow_runs = flow_runs
        self.tasks = tasks
        self.random = random.Random(7)
        self.some_flow_run = UUID(int=0)
        self.some_name = ""

    def fill(self, database: Database) -> None:
        """Tell the store of all runs, as a journal does."""
        records = (encode(record) for record in self._records())
        writer, first = uuid7().bytes, 1
        for batch in itertools.batched(records, 20_000) if hasattr(itertools, "batched") else _batched(records, 20_000):
            ingest_records(database, writer, list(enumerate(batch, start=first)))
            first += len(batch)

    def _records(self) -> Iterator[Any]:
        kinds = [kind for kind, share in STATES.items() for _ in range(share)]
        for number in range(self.flow_runs):
            now = START + SPAN * number // self.flow_runs
            run_id, name = uuid7().bytes, f"{_NAMES[number % 10]}-{_ANIMALS[number // 10 % 10]}-{number}"
            rare = number % max(self.flow_runs // RARE, 1) == 1
            if number == self.flow_runs // 2:
                self.some_flow_run, self.some_name = UUID(bytes=run_id), name
            tags = ["common"] * (number % 10 != 0) + ["rare"] * rare
            flow = f"flow-{min(int(self.random.expovariate(0.1)), FLOWS - 1)}"
            yield FlowRunRecord(run_id, flow, name, now, tags=tags)
            yield from self._story(FLOW_RUN, run_id, now, StateType.RUNNING if rare else self.random.choice(kinds))
            for task in range(self.tasks):
                task_id, at = uuid7().bytes, now + 1000 + task * 500
                tags = ["rare"] * (rare and task == 0)
                key = f"load-{task}"
                yield TaskRunRecord(task_id, run_id, key, "0", f"{key}-{number % 1000}", at, tags=tags)
                yield from self._story(
                    TASK_RUN, task_id, at, StateType.RUNNING if rare and task == 0 else self.random.choice(kinds)
                )

    def _story(self, kind: int, run_id: bytes, now: int, last: StateType) -> Iterator[StateRecord]:
        through = [StateType.PENDING, StateType.RUNNING, *([last] if last is not StateType.RUNNING else [])]
        for index, each in enumerate(through):
            yield StateRecord(kind, run_id, uuid7().bytes, TYPE_CODES[each], now + index * 150_000)

    def queries(self) -> list[Query]:
        """The queries with a budget."""
        return [*self._lists(), *self._counts(), *self._histories(), *self._others()]

    def _lists(self) -> Iterator[Query]:
        orders = ("ID_DESC", "START_TIME_DESC", "EXPECTED_START_TIME_DESC", "EXPECTED_START_TIME_ASC")
        more = ("END_TIME_DESC", "NAME_ASC", "NEXT_SCHEDULED_START_TIME_ASC")
        for order in (*orders, *more):
            yield f"flow runs {order}", "/flow_runs/filter", {"sort": order}
        for order in (*orders[:1], *orders[2:], *more[2:]):
            yield f"task runs {order}", "/task_runs/filter", {"sort": order}
        yield "flow runs far down", "/flow_runs/filter", {"sort": orders[2], "offset": 2000}
        for order in ("ID_DESC", "EXPECTED_START_TIME_DESC", "START_TIME_DESC"):
            for name, filters in self._flow_run_filters():
                yield f"flow runs {name} {order}", "/flow_runs/filter", {"sort": order, **filters}
        for order in ("ID_DESC", "EXPECTED_START_TIME_DESC"):
            for name, filters in self._task_run_filters():
                yield f"task runs {name} {order}", "/task_runs/filter", {"sort": order, **filters}

    def _counts(self) -> Iterator[Query]:
        yield "flow runs counted", "/flow_runs/count", {}
        yield "task runs counted", "/task_runs/count", {}
        for name, filters in self._flow_run_filters():
            yield f"flow runs {name} counted", "/flow_runs/count", filters
        for name, filters in self._task_run_filters():
            if name not in ("of a flow: most", "of failed flow runs"):
                yield f"task runs {name} counted", "/task_runs/count", filters
        for name in ("rare", "none"):
            yield f"flows {name}", "/flows/filter", {"flow_runs": {"tags": {"all_": [name]}}}
        yield "flows", "/flows/paginate", {"limit": 20}
        yield "flow runs paged", "/flow_runs/paginate", {"limit": 20, "page": 3}

    def _flow_run_filters(self) -> Iterator[tuple[str, dict[str, Any]]]:
        for name, value in (("none", "PAUSED"), ("few", "RUNNING"), ("some", "FAILED"), ("most", "COMPLETED")):
            yield f"by state: {name}", {"flow_runs": {"state": {"type": {"any_": [value]}}}}
        several = ["RUNNING", "PENDING", "PAUSED", "CANCELLING"]
        yield "by states: few", {"flow_runs": {"state": {"type": {"any_": several}}}}
        yield "by names of states", {"flow_runs": {"state": {"name": {"any_": ["Late", "Running", "Failed"]}}}}
        for name in ("none", "rare", "common"):
            yield f"by tag: {name}", {"flow_runs": {"tags": {"all_": [name]}}}
        for name, text in (("none", "nowhere"), ("few", self.some_name), ("many", "otter")):
            yield f"by name: {name}", {"flow_runs": {"name": {"like_": text}}}
        yield "by exact name", {"flow_runs": {"name": {"any_": [self.some_name]}}}
        for name, flow in (("none", "nobody"), ("few", "flow-60"), ("many", "flow-0")):
            yield f"of a flow: {name}", {"flows": {"name": {"any_": [flow]}}}
        for name, value in (("none", "PAUSED"), ("few", "RUNNING")):
            yield f"with a task run: {name}", {"task_runs": {"state": {"type": {"any_": [value]}}}}
        yield "of a time", {"flow_runs": {"expected_start_time": self._span(0.5, 0.51)}}
        yield "since lately", {"flow_runs": {"start_time": self._span(0.9, 2)}}
        both = {"state": {"type": {"any_": ["FAILED"]}}, "tags": {"all_": ["common"]}}
        yield "by state and tag", {"flow_runs": {**both, "expected_start_time": self._span(0.5, 2)}}

    def _task_run_filters(self) -> Iterator[tuple[str, dict[str, Any]]]:
        for name, value in (("none", "PAUSED"), ("few", "RUNNING"), ("some", "FAILED"), ("most", "COMPLETED")):
            yield f"by state: {name}", {"task_runs": {"state": {"type": {"any_": [value]}}}}
        for name in ("none", "rare"):
            yield f"by tag: {name}", {"task_runs": {"tags": {"all_": [name]}}}
        one = {"id": {"any_": [str(self.some_flow_run)]}}
        yield "of a flow run", {"flow_runs": one}
        failed = {"state": {"type": {"any_": ["FAILED"]}}}
        yield "of a flow run that failed", {"flow_runs": one, "task_runs": failed}
        yield "of flow runs with a tag: rare", {"flow_runs": {"tags": {"all_": ["rare"]}}}
        yield "of a flow: most", {"flows": {"name": {"any_": ["flow-0"]}}}
        yield "of failed flow runs", {"flow_runs": failed}
        yield "of a time", {"task_runs": {"expected_start_time": self._span(0.5, 0.51)}}

    def _histories(self) -> Iterator[Query]:
        for kind in ("flow_runs", "task_runs"):
            for name, share in (("two weeks", 0.0), ("a day", 13 / 14)):
                seconds = (1 - share) * SPAN / 1_000_000 / 60
                # not on whole minutes, as people's clocks are
                start = from_micros(int(START + share * SPAN) + 12_345_678)
                span = {"history_start": start.isoformat(), "history_interval_seconds": seconds}
                end = start + timedelta(seconds=seconds * 60)
                yield f"history of {kind}: {name}", f"/{kind}/history", {**span, "history_end": end.isoformat()}
        since = {"task_runs": {"start_time": self._span(0.9, 2)}}
        yield "dashboard", "/ui/task_runs/dashboard/counts", since
        yield "task runs by state since lately", "/ui/task_runs/count", since
        yield "diagram", "/ui/flow_runs/history", {"limit": 200}

    def _others(self) -> Iterator[Query]:
        ids = {"flow_run_ids": [str(self.some_flow_run)]}
        yield "task runs of a flow run counted", "/ui/flow_runs/count-task-runs", ids

    def _span(self, low: float, high: float) -> dict[str, str]:
        after, before = (from_micros(int(START + share * SPAN) + 12_345_678) for share in (low, high))
        return {"after_": after.isoformat(), "before_": before.isoformat()}


def _batched(items: Iterator[bytes], size: int) -> Iterator[tuple[bytes, ...]]:
    while batch := tuple(itertools.islice(items, size)):
        yield batch
