"""Parameters of flows: binding, validation and coercion, and values that are hard to write down."""

import asyncio
import math
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import Enum
from typing import Annotated, Any, Literal, Optional
from uuid import UUID

import pydantic
import pytest

from .sdk import ON_PEER, Colour, flow, history, import_module, riverrun_only, task

exceptions = import_module("exceptions")
runtime = import_module("runtime")


class Model(pydantic.BaseModel):
    x: int
    when: date | None = None


@dataclass
class Point:
    x: int
    y: int = 0


class Shade(Enum):
    RED = "red"
    BLUE = "blue"


COERCED = {
    "int from text": (int, "5", 5),
    "float from int": (float, 5, 5.0),
    "bool from text": (bool, "true", True),
    "list of int": (list[int], ["1", 2], [1, 2]),
    "tuple": (tuple[int, str], ["1", "a"], (1, "a")),
    "set": (set[int], [1, 1, 2], {1, 2}),
    "dict": (dict[str, int], {"a": "1"}, {"a": 1}),
    "optional": (Optional[int], None, None),  # noqa: UP045
    "union": (int | str, "a", "a"),
    "literal": (Literal["a", "b"], "a", "a"),
    "enum": (Shade, "red", Shade.RED),
    "uuid": (UUID, "12345678123456781234567812345678", UUID("12345678123456781234567812345678")),
    "date": (date, "2020-01-02", date(2020, 1, 2)),
    "datetime": (datetime, "2020-01-02T03:04:05", datetime(2020, 1, 2, 3, 4, 5)),
    "timedelta": (timedelta, 60, timedelta(minutes=1)),
    "model": (Model, {"x": "1", "when": "2020-01-02"}, Model(x=1, when=date(2020, 1, 2))),
    "list of models": (list[Model], [{"x": 1}], [Model(x=1)]),
    "dataclass": (Point, {"x": "1"}, Point(1)),
    "annotated": (Annotated[int, pydantic.Field(gt=0)], "5", 5),
    "any": (Any, "5", "5"),
}


@pytest.mark.parametrize("case", COERCED)
def test_values_are_coerced_to_their_annotation(case: str) -> None:
    kind, given, expected = COERCED[case]

    def main(value):
        return value

    main.__annotations__["value"] = kind
    got = flow(main)(given)
    assert got == expected
    assert type(got) is type(expected)


REFUSED = {
    "int": (int, "five"),
    "int from float": (int, 5.5),
    "list": (list[int], ["a"]),
    "literal": (Literal["a", "b"], "c"),
    "enum": (Shade, "green"),
    "model": (Model, {"x": "a"}),
    "missing field": (Model, {}),
    "annotated": (Annotated[int, pydantic.Field(gt=0)], -5),
    "none": (int, None),
    "date": (date, "yesterday"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_bad_parameter_fails_the_run_before_the_body(colour: Colour, case: str) -> None:
    kind, given = REFUSED[case]
    ran = []

    async def main(good, amount):
        ran.append(1)

    main.__annotations__["amount"] = kind
    painted = flow(colour.paint(main), flow_run_name="the run")
    with history() as seen:
        state = colour.run(painted, 1, given, return_state=True)
    assert state.is_failed()
    assert "amount" in state.message
    assert "good" not in state.message
    assert ran == []
    assert "Running" not in seen.names("the run")
    with pytest.raises(exceptions.ParameterTypeError, match="amount"):
        colour.run(painted, 1, given)


def test_validation_may_be_off(colour: Colour) -> None:
    @colour.flow(validate_parameters=False)
    async def main(x: int):
        return x

    assert colour.run(main, "not a number") == "not a number"


def test_a_model_instance_is_kept_as_it_is() -> None:
    model = Model(x=1)

    @flow
    def main(m: Model):
        return m

    assert main(model) == model


def test_types_without_a_schema_are_checked_by_isinstance() -> None:
    class Plain:
        pass

    @flow
    def main(p: Plain):
        return p

    one = Plain()
    assert main(one) is one
    state = main("text", return_state=True)
    assert state.is_failed()
    assert "p" in state.message


def test_annotations_as_text() -> None:
    namespace: dict[str, Any] = {"flow": flow}
    exec("from __future__ import annotations\n@flow\ndef main(x: int) -> int:\n    return x\n", namespace)  # noqa: S102
    assert namespace["main"]("5") == 5


@pytest.mark.parametrize(
    "call", [lambda f: f(), lambda f: f(1, 2, 3), lambda f: f(1, nope=1)], ids=["few", "many", "unknown"]
)
def test_arguments_that_do_not_fit_the_signature(colour: Colour, call) -> None:
    @colour.flow
    async def main(x, y=1):
        return x

    def attempt():
        made = call(main)
        return asyncio.run(made) if colour.is_async else made

    async def attempt_async():
        return await call(main)

    with pytest.raises(TypeError):
        asyncio.run(attempt_async()) if colour.is_async else attempt()


def test_defaults_are_validated_and_coerced_alike() -> None:
    @flow
    def main(x: int = "5"):  # type: ignore[assignment]
        return x

    assert main() in {5, "5"}


def test_a_child_failing_validation_is_caught_by_the_parent(colour: Colour) -> None:
    @colour.flow
    async def child(x: int):
        return x

    @colour.flow
    async def main():
        state = await colour(child, "a", return_state=True)
        return state.name

    assert colour.run(main) == "Failed"


def test_tasks_do_not_coerce() -> None:
    @task
    def one(x: int):
        return x

    assert one("5") == "5"


def test_parameters_visible_at_runtime_include_defaults() -> None:
    @flow
    def main(x: int, y: str = "d"):
        return dict(runtime.flow_run.parameters)

    assert main("5") == {"x": 5, "y": "d"}


def cycle() -> list[Any]:
    items: list[Any] = []
    items.append(items)
    return items


UNWRITABLE = {
    "an object": object(),
    "a lambda": lambda: 1,
    "nan": math.nan,
    "infinity": math.inf,
    "a lone surrogate": "\ud800",
    "a nul": "a\x00b",
    "bytes": b"\xff\x00",
    "long text": "x" * 100_000,
    "a huge int": 10**400,
    "a nul key": {"\x00": "\ud800"},
    "odd keys": {(1, 2): 3},
}


@pytest.mark.parametrize("case", UNWRITABLE)
def test_hard_values_reach_the_body_as_they_are(colour: Colour, case: str) -> None:
    value = UNWRITABLE[case]

    @colour.task
    async def inner(value):
        return value

    @colour.flow
    async def main(value):
        return await colour(inner, value)

    if ON_PEER and case in {"a lone surrogate", "a nul key"}:
        pytest.skip("the peer's client cannot send a lone surrogate")
    got = colour.run(main, value)
    assert got is value or got == value


@riverrun_only("recursive structures pass (the peer recurses while it looks for futures)")
def test_a_value_that_contains_itself(colour: Colour) -> None:
    value = cycle()

    @colour.task
    async def inner(value):
        return value[0] is value

    @colour.flow(validate_parameters=False)
    async def main(value):
        return await colour(inner, value)

    assert colour.run(main, value) is True


def test_an_object_whose_repr_and_eq_fail() -> None:
    class Hostile:
        def __repr__(self):
            raise RuntimeError("no repr")

        def __eq__(self, other):
            raise RuntimeError("no eq")

        __hash__ = object.__hash__

    @task
    def inner(x):
        return 1

    hostile = Hostile()

    @flow(validate_parameters=False)
    def main(x):
        return inner(x)

    assert main(hostile) == 1


def test_reserved_parameter_names_are_refused() -> None:
    exceptions = import_module("exceptions")

    def clash(return_state):
        pass

    def clash_too(wait_for):
        pass

    for fn in (clash, clash_too):
        for decorate in (task, flow):
            with pytest.raises(exceptions.ReservedArgumentError):
                decorate(fn)


def test_validated_values_are_the_runs_own_copy() -> None:
    given = {"x": 1}

    @flow
    def main(m: Model):
        m.x = 2
        return m.x

    assert main(given) == 2
    assert given == {"x": 1}
