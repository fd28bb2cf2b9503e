"""The SDK under test, the peer or riverrun, under one set of names.

`CONTRACT_SDK` chooses the package (default `riverrun`; `prefect` proves that an expectation is true of the peer).
Nothing here knows how either works inside, but for `history`, which listens where each writes down the states of its runs.
"""

import asyncio
import contextlib
import functools
import importlib
import inspect
import os
import subprocess
import sys
import textwrap
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

SDK = os.environ.get("CONTRACT_SDK", "riverrun")
ON_PEER = SDK == "prefect"

_root = importlib.import_module(SDK)
flow = _root.flow
task = _root.task
tags = _root.tags
unmapped = _root.unmapped
allow_failure = _root.allow_failure
State = _root.State
get_run_logger = _root.get_run_logger


def import_module(name: str) -> ModuleType:
    """A module of the SDK by its name inside the package: `import_module("futures")`."""
    return importlib.import_module(f"{SDK}.{name}")


def riverrun_only(reason: str) -> pytest.MarkDecorator:
    """An expectation that the peer does not meet; `reason` says what the issue or the design asks for instead."""
    return pytest.mark.skipif(ON_PEER, reason=f"better than the peer: {reason}")


class Colour:
    """Writes a test once for both drivers.

    Bodies are written as `async def` and call tasks and flows as `await colour(callee, ...)`. In the sync colour the
    decorated body becomes a plain `def` that runs the coroutine to its end in one go, which works because nothing in it
    ever waits.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_async = name == "async"

    def __repr__(self) -> str:
        return self.name

    def paint(self, body: Callable[..., Awaitable[Any]]) -> Callable[..., Any]:
        """The body as a function of this colour."""
        if self.is_async:
            return body

        @functools.wraps(body)
        def plain(*args: Any, **kwargs: Any) -> Any:
            coroutine = body(*args, **kwargs)
            try:
                coroutine.send(None)  # type: ignore[attr-defined]
            except StopIteration as end:
                return end.value
            raise AssertionError("a body painted sync has waited for something")

        return plain

    def task(self, body: Any = None, /, **options: Any) -> Any:
        return task(self.paint(body), **options) if body else lambda late: task(self.paint(late), **options)

    def flow(self, body: Any = None, /, **options: Any) -> Any:
        return flow(self.paint(body), **options) if body else lambda late: flow(self.paint(late), **options)

    async def __call__(self, callee: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call a task or flow from inside a painted body."""
        value = callee(*args, **kwargs)
        return await value if inspect.iscoroutine(value) else value

    def run(self, callee: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call a task or flow from the test."""
        if not self.is_async:
            return callee(*args, **kwargs)

        async def main() -> Any:
            return await callee(*args, **kwargs)

        return asyncio.run(main())

    def value_of(self, state: Any, raise_on_failure: bool = True) -> Any:
        """`state.result()` from the test, outside any loop."""
        return state.result(raise_on_failure=raise_on_failure)

    def failing(self, state: Any) -> Any:
        """The exception that a failed state carries."""
        return self.value_of(state, raise_on_failure=False)


class History:
    """State names per run name, in the order in which they were entered. The first state, Pending, is left out."""

    def __init__(self) -> None:
        self.entered: list[tuple[str, str, str]] = []
        self.records: list[Any] = []  # riverrun's journal; empty on the peer

    def names(self, run_name: str) -> list[str]:
        return self._clean(name for run, name, _ in self.entered if run == run_name)

    def types(self, run_name: str) -> list[str]:
        return [kind for run, _, kind in self.entered if run == run_name and kind != "PENDING"]

    @staticmethod
    def _clean(names: Iterator[str]) -> list[str]:
        return [name for name in names if name != "Pending"]


@contextlib.contextmanager
def history() -> Iterator[History]:
    """Collects the states that runs enter inside the block; readable after it."""
    seen = History()
    with _peer_history(seen) if ON_PEER else _riverrun_history(seen):
        yield seen


@contextlib.contextmanager
def _riverrun_history(seen: History) -> Iterator[None]:
    journal = importlib.import_module("riverrun.client.journal")
    sink = journal.MemoryJournal()
    with journal.use(sink):
        yield
    seen.records = list(sink.records)
    seen.entered.extend(read_states(sink.records))


def read_states(records: Any) -> Iterator[tuple[str, str, str]]:
    """(run name, state name, state type) of each state among journal records.

    The task runs that stand for subflows in their parent are left out: they bear the name of the subflow's own run.
    """
    wire = importlib.import_module("riverrun.wire.journal")
    states = importlib.import_module("riverrun.wire.states")
    records = [wire.decode(record) if isinstance(record, bytes) else record for record in records]
    names: dict[bytes, str] = {}
    stand_ins: set[bytes] = set()
    for record in records:
        if isinstance(record, wire.FlowRunRecord) and record.parent_task_run_id is not None:
            stand_ins.add(record.parent_task_run_id)
        if isinstance(record, wire.FlowRunRecord | wire.TaskRunRecord):
            names.setdefault(record.id, record.name)
        elif isinstance(record, wire.RunUpdateRecord) and "name" in record.fields:
            names[record.run_id] = record.fields["name"]
    for record in records:
        if isinstance(record, wire.StateRecord) and record.run_id not in stand_ins:
            kind = states.TYPES_BY_CODE[record.type]
            yield names.get(record.run_id, ""), record.name or states.DEFAULT_NAMES[kind], kind.value


@contextlib.contextmanager
def _peer_history(seen: History) -> Iterator[None]:
    from prefect import flow_engine, task_engine

    def listen(engine: Any, run_of: Callable[[Any], Any]) -> Any:
        proposed = engine.set_state

        def note(self: Any, state: Any) -> Any:
            seen.entered.append((run_of(self).name, state.name, state.type.value))
            return state

        if inspect.iscoroutinefunction(proposed):

            async def set_state(self: Any, *args: Any, **kwargs: Any) -> Any:
                return note(self, await proposed(self, *args, **kwargs))
        else:

            def set_state(self: Any, *args: Any, **kwargs: Any) -> Any:
                return note(self, proposed(self, *args, **kwargs))

        return pytest.MonkeyPatch.context, engine, set_state

    with pytest.MonkeyPatch.context() as patch:
        for engine in (task_engine.SyncTaskRunEngine, task_engine.AsyncTaskRunEngine):
            patch.setattr(engine, "set_state", listen(engine, lambda life: life.task_run)[2])
        for engine in (flow_engine.FlowRunEngine, flow_engine.AsyncFlowRunEngine):
            patch.setattr(engine, "set_state", listen(engine, lambda life: life.flow_run)[2])
        yield


def script(folder: Path, source: str, *args: str, name: str = "script.py") -> list[str]:
    """A command line that runs `source` in a process of its own; `SDK` in the source stands for the package."""
    path = folder / name
    path.write_text(textwrap.dedent(source).replace("SDK", SDK))
    return [sys.executable, str(path), *args]


def child_environment(**more: str) -> dict[str, str]:
    """The environment of a process of its own; on the peer it is led to the server that the tests share."""
    if ON_PEER:
        from prefect.settings import get_current_settings

        more = {"PREFECT_API_URL": str(get_current_settings().api.url), "PREFECT_LOGGING_LEVEL": "CRITICAL"}
    return {**os.environ, **more}


def run_script(folder: Path, source: str, timeout: float = 60, **env: str) -> subprocess.CompletedProcess[str]:
    """Run `source` to its end and return what it printed and its exit code."""
    return subprocess.run(
        script(folder, source),
        env=child_environment(**env),
        capture_output=True,
        text=True,
        timeout=timeout,
        cwd=folder,
        check=False,
    )
