"""Annotations and the walk over collections."""

import asyncio
import copy
import json
import pickle
from collections import namedtuple
from dataclasses import dataclass
from typing import Any

import pydantic
import pytest

from riverrun.utilities import callables as calls
from riverrun.utilities import collections as col
from riverrun.utilities.annotations import (
    BaseAnnotation,
    NotSet,
    Quote,
    allow_failure,
    flatten,
    freeze,
    opaque,
    quote,
    unmapped,
)
from riverrun.utilities.collections import AutoEnum, StopVisiting, visit_collection

ALL = [unmapped, allow_failure, quote, opaque, flatten]


@pytest.mark.parametrize("kind", ALL)
def test_annotation(kind):
    mark = kind([1])
    assert mark.value == mark.unwrap() == [1]
    assert repr(mark) == f"{kind.__name__}([1])"
    assert mark == kind([1]) == copy.deepcopy(mark) == pickle.loads(pickle.dumps(mark))
    assert mark != kind([2])
    assert mark != [1]
    assert all(mark != other([1]) for other in ALL if other is not kind)
    assert mark.rewrap(2) == kind(2)
    with pytest.raises(TypeError, match="unhashable"):
        hash(mark)


def test_unmapped_gives_its_value_at_every_index():
    assert unmapped("v")[0] == unmapped("v")[99] == "v"


def test_old_quote_warns():
    with pytest.warns(DeprecationWarning, match="quote"):
        assert Quote(1).unquote() == 1
    assert isinstance(NotSet, type)


@pytest.mark.parametrize("value", ["a", 1, 1.5, None, True, [1, "x"], {"a": {"b": [None]}}, {1, 2}])
def test_freeze(value):
    assert freeze(value).unfreeze() == value


@pytest.mark.parametrize("value", [lambda: 1, object(), type("T", (), {}), {"k": object()}])
def test_freeze_needs_json(value):
    with pytest.raises(ValueError, match="Value must be JSON serializable"):
        freeze(value)


def test_freeze_in_a_model():
    class Holder(pydantic.BaseModel):
        value: freeze

    assert Holder(value=3).model_dump() == {"value": 3}


@dataclass
class Point:
    x: Any
    y: Any = 2


class Model(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow")
    x: Any
    n: int = 0
    _hidden: int = 5


Pair = namedtuple("Pair", "a b")


def negate_even(item):
    return -item if type(item) is int and item % 2 == 0 else item


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (4, -4),
        ([3, [4]], [3, [-4]]),
        ((4,), (-4,)),
        ({3, 4}, {3, -4}),
        ({6: [4]}, {-6: [-4]}),
        (Pair(1, 2), Pair(1, -2)),
        (Point(1), Point(1, -2)),
        (Model(x=2, e=4), Model(x=-2, e=-4)),
        (quote(4), quote(-4)),
        ("24", "24"),
        (b"24", b"24"),
    ],
)
def test_visit_and_change(before, after):
    result = visit_collection(before, negate_even, return_data=True)
    assert result == after
    assert type(result) is type(after)
    assert visit_collection(before, negate_even) is None


def test_what_does_not_change_is_the_same_object():
    value = [[1, 2], [3], Point(1, 3), Model(x=1), (x for x in [2])]
    result = visit_collection(value, negate_even, return_data=True)
    assert [a is b for a, b in zip(result, value)] == [False, True, True, True, True]
    assert next(value[4]) == 2


def test_order_of_visits_and_replacement_by_the_parent():
    seen = []

    def drop(item):
        seen.append(item)
        return {k: v for k, v in item.items() if k != "x"} if isinstance(item, dict) else item

    assert visit_collection({"x": 1, "y": 2}, drop, return_data=True) == {"y": 2}
    assert seen == [{"x": 1, "y": 2}, "y", 2]


def test_models_keep_what_is_theirs():
    model = Model(x=2)
    model._hidden = 9
    result = visit_collection(model, negate_even, return_data=True)
    assert (result._hidden, result.model_fields_set) == (9, {"x"})
    assert model.x == 2


def test_depth_and_context():
    nested = [1, [2, [3]]]
    minus = lambda item: -item if type(item) is int else item  # noqa: E731
    assert visit_collection(nested, minus, return_data=True, max_depth=1) == [-1, [2, [3]]]
    assert visit_collection(nested, minus, return_data=True, max_depth=0) == nested

    def deepen(item, context):
        if isinstance(item, list):
            context["depth"] += 1
            return item
        return item + context["depth"]

    assert visit_collection([1, [2, [3]], 4], deepen, context={"depth": 0}, return_data=True) == [2, [4, [6]], 5]


def test_annotations_are_seen_and_may_be_removed():
    def visit(item, context):
        if isinstance(context.get("annotation"), quote):
            raise StopVisiting
        return item + 1 if type(item) is int else item

    assert visit_collection([1, quote([2])], visit, context={}, return_data=True) == [2, quote([2])]
    assert visit_collection([1, quote([2])], visit, context={}, return_data=True, remove_annotations=True) == [2, [2]]
    marked = visit_collection(BaseAnnotation([2]), negate_even, return_data=True)
    assert marked == BaseAnnotation([-2])


def test_shared_and_circular_parts():
    shared = [2]
    result = visit_collection({"a": shared, "b": [shared]}, negate_even, return_data=True)
    assert result["a"] is result["b"][0]
    circle = {"n": 2}
    circle["self"] = circle
    result = visit_collection(circle, negate_even, return_data=True)
    assert result["n"] == -2
    assert "self" in result["self"]
    assert visit_collection(circle, lambda item: item, return_data=True) is circle


class Colour(AutoEnum):
    RED = AutoEnum.auto()


def test_auto_enum():
    assert Colour.RED.value == "RED"
    assert str(Colour.RED) == repr(Colour.RED) == "Colour.RED"
    assert json.dumps(Colour.RED) == '"RED"'


def test_dictionaries():
    nested = {1: 2, 3: {}, 4: {5: {6: 7}}}
    flat = col.dict_to_flatdict(nested)
    assert flat == {(1,): 2, (3,): {}, (4, 5, 6): 7}
    assert col.flatdict_to_dict(flat) == nested
    assert col.remove_nested_keys(["a"], {"a": 1, "b": {"a": 2, "c": 3}}) == {"b": {"c": 3}}
    assert col.remove_nested_keys(["a"], 1) == 1
    assert col.get_from_dict({"a": {"b": [0, {"c": [1, 2]}]}}, "a.b[1].c.1") == 2
    assert col.get_from_dict({"a": 1}, ["a", "b"], "default") == "default"
    target = {}
    col.set_in_dict(target, "a.b", 1)
    assert target == {"a": {"b": 1}}
    with pytest.raises(TypeError, match="non-dict value"):
        col.set_in_dict({"a": [1]}, "a.b", 1)
    assert col.deep_merge_dicts({"a": {"b": 1}}, {"a": {"c": 2}}, {"d": 3}) == {"a": {"b": 1, "c": 2}, "d": 3}


def test_iterables():
    assert col.isiterable([1])
    assert not any(map(col.isiterable, (5, "text", b"", Exception())))
    assert col.ensure_iterable("a") == ["a"]
    assert list(col.batched_iterable(range(5), 2)) == [(0, 1), (2, 3), (4,)]
    assert list(col.distinct([1, 2, 1])) == [1, 2]
    assert col.extract_instances([1, "a", 2], int) == [1, 2]
    assert col.extract_instances([1, "a"], (int, str)) == {int: [1], str: ["a"]}
    assert col.listrepr([1, "a"], ", ") == "1, 'a'"


def test_calls_as_data():
    def fn(a, b=2, *rest, k=3, **more): ...

    parameters = calls.get_call_parameters(fn, (1, 5, 6), {"z": 9})
    assert parameters == {"a": 1, "b": 5, "rest": (6,), "k": 3, "more": {"z": 9}}
    assert calls.parameters_to_args_kwargs(fn, parameters) == ((1, 5, 6), {"k": 3, "z": 9})
    exploded = calls.explode_variadic_parameter(fn, parameters)
    assert exploded["z"] == 9
    assert calls.collapse_variadic_parameters(fn, exploded) == parameters
    assert calls.get_parameter_defaults(fn) == {"b": 2, "k": 3}
    with pytest.raises(TypeError, match="'fn'"):
        calls.get_call_parameters(fn, (), {})
    assert calls.call_with_parameters(lambda x: x + 1, {"x": 1}) == 2


def test_objects_face():
    from riverrun.client.schemas.objects import TERMINAL_STATES, State, StateType

    assert State(type="FAILED").type in TERMINAL_STATES
    assert StateType.FAILED in TERMINAL_STATES
    assert asyncio.iscoroutinefunction(State.aresult)
