"""Futures, states and traced values in arguments: found, recorded, resolved; and the expansion of map."""

import gc
import tracemalloc
from collections import OrderedDict, defaultdict, namedtuple
from dataclasses import dataclass
from types import SimpleNamespace
from uuid import UUID, uuid4

import pytest
from pydantic import BaseModel

from riverrun.base.errors import FailedRun, MappingLengthMismatch, MappingMissingIterable, UpstreamTaskError
from riverrun.engine import inputs
from riverrun.engine.inputs import Origins, expand_for_map, find_futures, first_not_completed, resolve, sources, track
from riverrun.engine.parameters import Signature
from riverrun.states import Completed, Crashed, Failed, Running, State
from riverrun.utilities.annotations import allow_failure, flatten, opaque, quote, unmapped
from riverrun.utilities.collections import FutureBase


class Future(FutureBase):
    """A finished future."""

    def __init__(self, state: State):
        self.task_run_id = uuid4()
        self.state = state

    def wait(self, timeout=None):
        pass


Pair = namedtuple("Pair", "a b")


@dataclass
class Data:
    x: object
    y: object = 1


@dataclass(frozen=True, slots=True)
class Frozen:
    x: object


class Model(BaseModel, arbitrary_types_allowed=True):
    x: object
    _secret: int = 3


def done(value=1):
    return Future(Completed(data=value))


WRAPS = {
    "list": lambda v: [v],
    "tuple": lambda v: (1, v),
    "set": lambda v: {v},
    "frozenset": lambda v: frozenset([v]),
    "dict value": lambda v: {"k": v},
    "dict key": lambda v: {v: "k"},
    "ordered": lambda v: OrderedDict(k=v),
    "named tuple": lambda v: Pair(v, 2),
    "dataclass": lambda v: Data(v),
    "frozen dataclass": lambda v: Frozen(v),
    "model": lambda v: Model(x=v),
    "deep": lambda v: [{"a": (Data([v]),)}],
    "unmapped": unmapped,
    "opaque itself": opaque,
}


@pytest.mark.parametrize("wrap", WRAPS)
def test_found_and_resolved_inside(wrap):
    future = done("value")
    parameters = {"p": WRAPS[wrap](future)}
    upstream, recorded = sources(parameters, None, None, None)
    assert list(upstream) == [future]
    assert recorded == {"p": [("task_run", future.task_run_id.bytes, None)]}
    assert find_futures((parameters["p"],), {}) == [future]
    assert first_not_completed(parameters, upstream) is None
    expected = WRAPS[wrap]("value")
    if isinstance(expected, (unmapped, opaque)):
        expected = expected.unwrap()
    assert resolve(parameters) == {"p": expected}


def test_plain_arguments_cost_nothing():
    upstream, recorded = sources({"a": 1, "b": [1, 2], "c": {"x": (1.5, None)}}, None, None, None)
    assert not upstream
    assert recorded == {"a": [], "b": [], "c": []}
    assert find_futures((1, "x", [1]), {"y": None}) == []


def test_kinds_that_stay():
    kept = defaultdict(list, k=[done(1)])
    result = resolve({"p": kept})["p"]
    assert result == {"k": [1]}
    assert result.default_factory is list
    assert kept["k"][0].task_run_id  # the caller's own is not changed
    model = Model(x=done(5))
    model._secret = 9
    assert resolve({"p": model})["p"]._secret == 9
    untouched = [[1], {"a": object()}]
    assert resolve({"p": untouched})["p"] is untouched


def test_quote_and_opaque_are_not_looked_into():
    future = Future(Running())
    parameters = {"q": quote([future]), "o": opaque([future]), "n": [quote(future)]}
    upstream, recorded = sources(parameters, None, None, None)
    assert list(upstream) == []
    assert upstream, "annotations are to be taken off"
    assert recorded == {"q": [], "o": [], "n": []}
    assert resolve(parameters) == {"q": [future], "o": [future], "n": [future]}


def test_states_are_inputs_too():
    run_id = uuid4()
    state = Completed(data=5, state_details={"task_run_id": run_id})
    upstream, recorded = sources({"p": [state, Completed(data=6)]}, None, None, None)
    assert upstream
    assert recorded["p"] == [("task_run", run_id.bytes, None)]
    assert resolve({"p": [state]}) == {"p": [5]}


@pytest.mark.parametrize("state", [Failed(message="bad luck"), Crashed(), Running()])
def test_upstream_that_did_not_complete(state):
    future = Future(state)
    for parameters, wait_for in (({"p": [future]}, None), ({}, [future]), ({}, future)):
        upstream, recorded = sources(parameters, wait_for, None, None)
        assert list(upstream) == [future]
        complaint = first_not_completed(parameters, upstream)
        assert str(future.task_run_id) in complaint
        assert "did not reach a 'COMPLETED' state" in complaint
        assert state.name in complaint
        assert "wait_for" in recorded or "p" in recorded
    with pytest.raises(UpstreamTaskError, match=str(future.task_run_id)):
        resolve({"p": future})


def test_allow_failure_gives_the_exception():
    error = ValueError("x")
    failed = Future(Failed(data=error))
    parameters = {"p": allow_failure([failed, done(1)]), "q": [allow_failure(Failed(message="m"))]}
    upstream, _ = sources(parameters, [allow_failure(failed)], None, None)
    assert first_not_completed(parameters, upstream) is None
    resolved = resolve(parameters)
    assert resolved["p"] == [error, 1]
    assert isinstance(resolved["q"][0], FailedRun)


def test_parents_are_recorded():
    parent = uuid4()
    assert sources({}, None, None, parent)[1] == {"__parents__": [("task_run", parent.bytes, None)]}


def test_cycles_and_shared_parts():
    loop = [1]
    loop.append(loop)
    assert resolve({"p": loop})["p"] is loop
    loop.append(done(7))
    assert resolve({"p": loop})["p"][2] == 7
    shared = [done(1)]
    one, two = resolve({"p": [shared, shared]})["p"]
    assert one is two == [1]
    deep = done("x")
    for _ in range(5_000):
        deep = [deep]
    assert len(find_futures((deep,), {})) == 1


def test_returned_futures():
    future = done()
    value = {"a": [future, (future, Data(future))], "b": quote(future)}
    assert inputs.returned_futures(value) == [future]
    assert inputs.returned_futures(7) == []


class TestOrigins:
    def context(self):
        return SimpleNamespace(_results=None)

    @pytest.mark.parametrize(
        "value",
        [
            ["a"],
            {"a": 1},
            (1, 2),
            {1},
            "a sentence of words",
            "word",
            1000,
            2.5,
            b"bytes",
            Data(1),
            Model(x=1),
            object(),
        ],
    )
    def test_traced(self, value):
        context, run = self.context(), uuid4()
        track(context, value, run)
        origin = ("task_run", run.bytes, None)
        for argument in (value, [value], {"k": (value,)}, Data(value)):
            assert sources({"p": argument}, None, context, None)[1] == {"p": [origin]}
        assert sources({"p": [[[[value]]]]}, None, context, None)[1] == {"p": []}
        assert sources({"p": quote(value)}, None, context, None)[1] == {"p": []}

    @pytest.mark.parametrize(
        "value",
        [None, True, False, 0, 256, -5, "", "x", (), b"", frozenset(), ..., int, len, pytest],
    )
    def test_shared_objects_say_nothing(self, value):
        context = self.context()
        track(context, value, uuid4())
        assert sources({"p": value}, None, context, None)[1] == {"p": []}

    def test_an_equal_value_is_not_the_value(self):
        context = self.context()
        kept = ["a"]
        track(context, kept, uuid4())
        assert sources({"p": ["a"]}, None, context, None)[1] == {"p": []}

    def test_the_latest_run_counts(self):
        origins, value, second = Origins(), ["a"], uuid4()
        origins.track(value, uuid4())
        origins.track(value, second, "flow_run")
        assert origins.lookup(value) == ("flow_run", second.bytes, None)

    def test_dead_values_are_forgotten(self):
        origins, run = Origins(), uuid4()
        ids = set()
        for _ in range(200):
            value = Data(1)
            assert origins.lookup(value) is None, "an id that was used again"
            origins.track(value, run)
            ids.add(id(value))
            del value
        assert len(ids) < 200

    def test_memory_is_bounded(self):
        origins, run = Origins(), UUID(int=7)
        large = [bytes([n]) * 1_000_000 for n in range(20)]
        for value in large:
            origins.track(value, run)
        assert [origins.lookup(value) is not None for value in large] == [False] * 12 + [True] * 8
        nested = [[bytes(10_000)] * 10 for _ in range(20)]
        for value in nested:
            origins.track(value, run)
        assert sum(origins.lookup(value) is not None for value in nested) == 8
        del large, nested, value
        for n in range(3_000):
            origins.track([n], run)
        gc.collect()
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        for n in range(20_000):
            origins.track([n], run)
        growth = tracemalloc.get_traced_memory()[0] - before
        tracemalloc.stop()
        assert growth < 200_000
        assert len(origins._entries) <= 1_008


class TestMap:
    def expand(self, fn, *args, **kwargs):
        signature = Signature(fn)
        task = SimpleNamespace(name="demo", signature=signature)
        return list(expand_for_map(task, signature.bind(args, kwargs, defaults=False)))

    def test_side_by_side(self):
        def fn(x, y=0, z=0): ...

        assert self.expand(fn, [1, 2], (3, 4), z=9) == [{"x": 1, "y": 3, "z": 9}, {"x": 2, "y": 4, "z": 9}]
        assert self.expand(fn, iter([1, 2]), "ab") == [{"x": 1, "y": "ab"}, {"x": 2, "y": "ab"}]
        assert self.expand(fn, {"a": 1}) == [{"x": "a"}]
        assert self.expand(fn, []) == []

    def test_annotations(self):
        def fn(x, y=0): ...

        assert self.expand(fn, [1, 2], unmapped([3, 4])) == [{"x": 1, "y": [3, 4]}, {"x": 2, "y": [3, 4]}]
        assert self.expand(fn, allow_failure([1])) == [{"x": allow_failure(1)}]
        assert self.expand(fn, [1], allow_failure(unmapped(2))) == [{"x": 1, "y": allow_failure(2)}]
        assert self.expand(fn, [1], unmapped(allow_failure(2))) == [{"x": 1, "y": allow_failure(2)}]
        assert self.expand(fn, quote([1, 2])) == [{"x": 1}, {"x": 2}]
        assert self.expand(fn, flatten([[1, 2], (3,)]), [4, 5, 6])[2] == {"x": 3, "y": 6}
        with pytest.raises(MappingMissingIterable, match="flatten"):
            self.expand(fn, flatten([1]))

    def test_futures(self):
        def fn(x, y=0): ...

        assert self.expand(fn, done([1, 2])) == [{"x": 1}, {"x": 2}]
        future = done([1])
        assert self.expand(fn, [future]) == [{"x": future}]
        assert self.expand(fn, flatten([done([1]), done([2])])) == [{"x": 1}, {"x": 2}]
        with pytest.raises(UpstreamTaskError):
            self.expand(fn, Future(Failed()))

    def test_variadic(self):
        def fn(*args, **kwargs): ...

        assert self.expand(fn, [1, 2], 3, a=[4, 5]) == [
            {"args": (1, 3), "kwargs": {"a": 4}},
            {"args": (2, 3), "kwargs": {"a": 5}},
        ]

    def test_errors_name_what_is_wrong(self):
        def fn(x, y): ...

        with pytest.raises(MappingMissingIterable, match=r"task 'demo'.*'x': 1"):
            self.expand(fn, 1, unmapped([2]))
        with pytest.raises(MappingLengthMismatch, match=r"task 'demo'.*\{'x': 2, 'y': 1\}"):
            self.expand(fn, [1, 2], [3])
