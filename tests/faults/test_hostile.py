"""Code and values that nobody should write: the flow's own outcome is what Python's would be, the record is right and readable."""

import json
import math
import threading
from typing import Any

import pytest

from riverrun import flow, task
from riverrun.base.config import temporary_settings
from riverrun.client import journal
from tests.faults.home import Home, home

__all__ = ["home"]


@pytest.mark.timeout(90)
def test_hostile_code(home: Home) -> None:  # noqa: F811
    done = home.run("-m", "tests.faults.hostile", timeout=80)
    assert done.returncode == 0, done.stderr[-3000:]
    codes = json.loads(done.stdout)
    wanted = {name: 3 if name.startswith("exit") else 5 if name == "leaves_at_once" else 0 for name in codes}
    assert codes == wanted, done.stderr[-6000:]
    with home.store() as store:
        names = {}
        for run in store.flow_runs(limit=1000):
            names.setdefault(store.flow_name(run.flow_id), []).append(run)
        for name in codes:
            crashes = name.startswith("exit") or name == "leaves_at_once"
            end = "Crashed" if crashes else "Failed" if name == "raises_what_cannot_be_told" else "Completed"
            assert {run.state_name for run in names[name]} == {end}, name
            for run in names[name]:
                for task_run in store.task_runs(flow_run_id=run.id, limit=10_000):
                    assert task_run.state_type in {"COMPLETED", "CRASHED", "FAILED"}, (name, task_run.name)
        assert len(names["gathers_a_hundred_flows"]) == 100
        (odd,) = names["long_and_odd_names"]
        (named,) = store.task_runs(flow_run_id=odd.id)
        assert len(named.name) == 10_000
        assert {len(tag) for tag in named.tags} >= {10_000, 0}
        assert "n" * 10_000 in named.state.message
        messages = [line.message for line in store.logs(flow_run_id=odd.id)]
        assert any(message.startswith("nul") for message in messages)
        assert any(message == "message " + "n" * 10_000 for message in messages)
        assert store.lost() == []


class Evil(Exception):
    pass


class Refusing:
    """Refuses whatever it is asked."""

    def __eq__(self, other: object) -> bool:
        raise Evil("eq")

    def __hash__(self) -> int:
        raise Evil("hash")

    def __bool__(self) -> bool:
        raise Evil("bool")

    def __len__(self) -> int:
        raise Evil("len")

    def __getattr__(self, name: str) -> Any:
        raise Evil(f"getattr {name}")

    def __repr__(self) -> str:
        raise Evil("repr")

    def __iter__(self) -> Any:
        raise Evil("iter")


class Lying:
    """Has every attribute and is nothing."""

    def __getattr__(self, name: str) -> Any:
        return self

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self

    def __bool__(self) -> bool:
        return False

    def __len__(self) -> int:
        return 10**9

    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 1


class Ambiguous:
    """Like an array."""

    __hash__ = None  # type: ignore[assignment]

    def __bool__(self) -> bool:
        raise ValueError("The truth value of an array is ambiguous")

    def __eq__(self, other: object) -> Any:
        return Ambiguous()


class Disguised:
    @property
    def __class__(self) -> Any:
        return dict


class Described:
    """Has what a stored result has."""

    metadata = {"no": "metadata of ours"}


def nested(wrap: Any, depth: int = 100_000) -> Any:
    value: Any = wrap(None)
    for _ in range(depth):
        value = wrap(value)
    return value


def cyclic() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


VALUES: dict[str, Any] = {
    "refusing": Refusing,
    "refusing inside": lambda: [Refusing(), {"a": Refusing()}],
    "lying": Lying,
    "ambiguous": Ambiguous,
    "disguised": Disguised,
    "described": Described,
    "nan": lambda: math.nan,
    "infinities": lambda: [math.inf, -math.inf],
    "surrogate": lambda: "\ud800",
    "surrogate key": lambda: {"\ud800": 1},
    "nul": lambda: "a\0b",
    "odd keys": lambda: {1: 2, (1, 2): 3, None: 4},
    "deep list": lambda: nested(lambda inner: [inner]),
    "deep dict": lambda: nested(lambda inner: {"a": inner}),
    "cyclic": cyclic,
    "beyond 64 bit": lambda: [2**70, -(2**70)],
    "5,000 digits": lambda: 10**5000,
    "50 MB text": lambda: "x" * 50_000_000,
    "50 MB bytes": lambda: b"x" * 50_000_000,
    "lock": threading.Lock,
    "generator": lambda: (x for x in range(3)),
    "class": lambda: int,
}


@pytest.mark.parametrize("kind", VALUES)
def test_hostile_values(home: Home, kind: str) -> None:  # noqa: F811
    value = VALUES[kind]()

    @task
    def give(x: Any) -> Any:
        return x

    @flow(validate_parameters=False)
    def main(x: Any) -> Any:
        assert give(x) is x
        assert give.submit([x]).result()[0] is x
        return x

    with temporary_settings({"home": home.path, "logging_level": "INFO"}):
        result = main(value)
        assert result is value
        journal.close()
    with home.store() as store:
        (run,) = store.flow_runs()
        assert run.state_name == "Completed"
        assert list(run.parameters) == ["x"]
        assert sorted(each.state_name for each in store.task_runs()) == ["Completed", "Completed"]
        assert store.lost() == []


def test_a_hostile_result_that_is_to_be_kept(home: Home) -> None:  # noqa: F811
    """It says so where it was returned; the run goes on with it."""
    lock = threading.Lock()

    @task(persist_result=True)
    def give() -> Any:
        return lock

    with temporary_settings({"home": home.path}):
        assert give() is lock
        assert "not kept" in give(return_state=True).message
        journal.close()
    with home.store() as store:
        assert ["not kept" in run.state.message and "lock" in run.state.message for run in store.task_runs()] == [
            True
        ] * 2
