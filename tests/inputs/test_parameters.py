"""Binding, validating and writing down parameters."""

import inspect
import json
import math
import subprocess
import sys
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Optional, Union

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from riverrun.base.errors import ParameterBindError, ParameterTypeError, ReservedArgumentError, SignatureMismatchError
from riverrun.engine.parameters import Signature, serialize, validate
from riverrun.engine.validation import UNSURE, check_for
from riverrun.utilities.annotations import quote

if TYPE_CHECKING:
    from nowhere import Unknown


class TestBind:
    FNS = [
        lambda: None,
        lambda a: None,
        lambda a, b=2: None,
        lambda a, /, b, *, c=3: None,
        lambda *args: None,
        lambda a, *args, k, **kw: None,
        lambda a=1, *, k=None: None,
        lambda **kw: None,
        lambda self, cls, type, _defaults=(): None,
    ]

    @given(
        st.sampled_from(FNS),
        st.lists(st.integers(), max_size=4),
        st.dictionaries(st.sampled_from(["a", "b", "c", "k", "args", "z", "self"]), st.integers(), max_size=3),
    )
    def test_as_inspect(self, fn, args, kwargs):
        signature = Signature(fn)
        try:
            expected = inspect.signature(fn).bind(*args, **kwargs)
        except TypeError as error:
            for defaults in (True, False):
                with pytest.raises(ParameterBindError) as caught:
                    signature.bind(tuple(args), kwargs, defaults)
                assert str(error) in str(caught.value)
            return
        assert signature.bind(tuple(args), kwargs, defaults=False) == dict(expected.arguments)
        expected.apply_defaults()
        bound = signature.bind(tuple(args), kwargs)
        assert list(bound.items()) == list(expected.arguments.items())
        split_args, split_kwargs = signature.split(bound)
        assert signature.bind(split_args, split_kwargs) == bound
        assert signature.complete(signature.bind(tuple(args), kwargs, defaults=False)) == bound

    def test_message_names_function_and_argument(self):
        def load(path, *, limit): ...

        with pytest.raises(ParameterBindError, match=r"'load'.*'limit'"):
            Signature(load).bind((1,), {})
        with pytest.raises(TypeError, match="unexpected keyword argument 'other'"):
            Signature(load).bind((1,), {"limit": 1, "other": 2})
        with pytest.raises(ParameterBindError, match="'path'"):
            Signature(load).complete({"limit": 1})

    def test_reserved(self):
        with pytest.raises(ReservedArgumentError, match=r"'wait_for'.*'load'"):

            def load(wait_for): ...

            Signature(load, reserved=("return_state", "wait_for"))

    def test_methods_and_defaults(self):
        class Holder:
            def method(self, a, b={"k": 1}): ...

        signature = Signature(Holder().method)
        assert signature.bind((1,), {}) == {"a": 1, "b": {"k": 1}}
        assert signature.bind((1,), {})["b"] is Holder.method.__defaults__[0]


@dataclass
class Point:
    x: int


class Config(BaseModel):
    size: int = Field(ge=1)


class Thing: ...


class TestValidate:
    def test_coercion(self):
        def fn(
            a: int, b: str, c: list[int], d: Config, e: Point, f: Thing, g, h: Any = None, *rest: int, **more: str
        ): ...

        thing = Thing()
        given_ = dict(
            a="3", b="x", c=("1", 2), d={"size": "5"}, e={"x": 1}, f=thing, g="raw", h=1, rest=("1",), more={"z": 1}
        )
        assert validate(fn, given_) == {
            **given_,
            "a": 3,
            "c": [1, 2],
            "d": Config(size=5),
            "e": Point(1),
        }

    def test_one_line_per_bad_parameter(self):
        def fn(x: int, y: str, z: list[int], ok: int): ...

        with pytest.raises(ParameterTypeError) as caught:
            validate(fn, {"x": "a", "y": 1, "z": [1, "q"], "ok": 1})
        assert str(caught.value).split("\n") == [
            "Flow run received invalid parameters:",
            " - x: Input should be a valid integer, unable to parse string as an integer",
            " - y: Input should be a valid string",
            " - z.1: Input should be a valid integer, unable to parse string as an integer",
        ]

    def test_constraints(self):
        def fn(a: Annotated[int, Field(ge=2)], b: int = Field(default=4, ge=3)): ...

        default = inspect.signature(fn).parameters["b"].default
        assert validate(fn, {"a": 2, "b": default}) == {"a": 2, "b": 4}
        with pytest.raises(ParameterTypeError, match=r"(?s)a: .*equal to 2.*b: .*equal to 3"):
            validate(fn, {"a": 1, "b": 1})

    def test_names_that_cannot_be_resolved_are_skipped(self):
        def fn(a: "Unknown", b: "int", c: "list[Unknown]" = ()): ...  # noqa: UP037

        assert validate(fn, {"a": 1, "b": "2", "c": 3}) == {"a": 1, "b": 2, "c": 3}

    def test_names_of_the_enclosing_function(self):
        class Local(BaseModel):
            n: int

        def fn(a: "Local"): ...  # noqa: UP037

        def holds():
            return Local

        def closed(a: "Local"):  # noqa: UP037
            return Local

        assert holds() is Local
        assert validate(closed, {"a": {"n": 1}}) == {"a": Local(n=1)}
        assert validate(fn, {"a": 1}) == {"a": 1}

    def test_quoted_values_pass(self):
        def fn(a: int): ...

        marked = quote("x")
        assert validate(fn, {"a": marked})["a"] is marked

    def test_unknown_names(self):
        def fn(a: int): ...

        with pytest.raises(SignatureMismatchError, match="'b'"):
            validate(fn, {"b": 1})

    def test_builtin_annotations_need_no_pydantic(self):
        code = (
            "import sys\n"
            "from riverrun.engine.parameters import Signature, validate, serialize\n"
            "def fn(a: int, b: 'str | None', c: list[float] = [1.0], d: dict[str, int] = {}): ...\n"
            "p = Signature(fn).bind((1, None), {'c': [2.0]})\n"
            "assert validate(fn, p) == p and serialize(p)\n"
            "print([m for m in ('pydantic', 'asyncio', 'json', 'concurrent.futures') if m in sys.modules])\n"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=20)
        assert done.stdout.strip() == "[]"


ANNOTATIONS = [
    int, float, str, bool, bytes, None, list, dict, Decimal, Path, date, datetime, timedelta, Any,
    Optional[int], int | None, Union[int, str], Union[float, int], float | str | None, bool | int, Literal["a", 1, True, None],
    list[int], list[float], list[str | None], dict[str, int], dict[str, list[float]], dict[int, Any], list[list[bool]],
    Union[list[int], dict[str, float], str], Union[list[float], list[int]], Literal["a"] | int,
]  # fmt: skip

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from(
        [2**53, -(2**53) - 1, 10**400, "1", "1.0", "true", "a", "\ud800", "é", 1.0, 1.5, math.inf, math.nan, b"1"]
    )
    | st.floats()
    | st.text(max_size=3)
    | st.decimals()
    | st.dates()
    | st.datetimes()
    | st.timedeltas()
    | st.sampled_from([Path("a"), Decimal("NaN"), int, object])
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=2) | st.integers(), inner, max_size=2)
        | st.tuples(inner)
    ),
    max_leaves=5,
)


def _same(one, other):
    if type(one) is not type(other):
        return False
    if isinstance(one, list):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, dict):
        return list(one) == list(other) and all(_same(one[key], other[key]) for key in one)
    return one == other or (one != one and other != other)


_adapters = [(annotation, check_for(annotation), TypeAdapter(annotation)) for annotation in ANNOTATIONS]


@given(st.sampled_from(_adapters), VALUES)
def test_what_passes_without_pydantic_is_what_pydantic_gives(case, value):
    annotation, check, adapter = case
    quick = check(value)
    if quick is UNSURE:
        return
    try:
        assert _same(quick, adapter.validate_python(value)), (annotation, value)
    except ValidationError as error:
        raise AssertionError((annotation, value)) from error


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (int, 5), (float, 5), (float, 1.5), (str, "é"), (bool, True), (None, None), (Optional[int], None), (int | str, "5"),
        (list[int], [1]), (dict[str, float], {"a": 1}), (list[list[str]], [["a"]]), (Literal["a", 1], 1), (Any, object),
        (datetime, datetime(2030, 1, 1)), (Path, Path("x")),
    ],
)  # fmt: skip
def test_common_values_do_pass(annotation, value):
    assert check_for(annotation)(value) == TypeAdapter(annotation).validate_python(value)


class TestSerialize:
    def test_round_trip(self):
        parameters = {
            "a": 1,
            "b": ["x", None, 1.5],
            "c": {"k": True},
            "d": datetime(2030, 1, 1),
            "e": Config(size=2),
            "q": quote(1),
        }
        assert json.loads(serialize(parameters)) == {
            "a": 1, "b": ["x", None, 1.5], "c": {"k": True}, "d": "2030-01-01T00:00:00", "e": {"size": 2}, "q": 1,
        }  # fmt: skip
        assert serialize({}) == b"{}"

    def test_bad_values(self):
        cycle = [1]
        cycle.extend([cycle, cycle])
        deep = []
        for _ in range(5_000):
            deep = [deep]

        class Rude:
            def __repr__(self):
                raise RuntimeError("no")

        parameters = {
            "nan": math.nan,
            "huge": 10**5000,
            "big": 2**70,
            "surrogate": "a\ud800b",
            "nul": "\0",
            "\udc00name": {"\ud800": "\ud800"},
            "cycle": cycle,
            "deep": deep,
            "rude": Rude(),
            "mixed": [1, object(), {(1, 2): Rude()}],
            "bytes": b"\xff",
            "lambda": lambda: 1,
            "set": {1},
        }
        read = json.loads(serialize(parameters))
        assert len(read) == len(parameters)
        assert read["nan"] is None
        assert read["surrogate"] == "a?b"
        assert read["nul"] == "\0"
        assert read["mixed"][0] == 1
        assert "repr raised" in read["rude"]
        assert read["big"] == 2**70

    @pytest.mark.parametrize(
        "value",
        ["x" * 50_000_000, ["y" * 1000] * 1000, list(range(600_000)), {"k": b"z" * 1_000_000}, b"q" * 50_000_000],
    )
    def test_large_values_are_cut_and_marked(self, value):
        document = serialize({"small": 1, "large": value})
        assert len(document) < 10_000
        assert json.loads(document)["small"] == 1
        assert "cut:" in json.loads(document)["large"]

    @given(st.dictionaries(st.text(), VALUES))
    def test_never_raises(self, parameters):
        assert len(json.loads(serialize(parameters))) <= len(parameters)
