"""Values of many kinds, for the tests of serializers and hashes."""

import collections
import dataclasses
import datetime as dt
import decimal
import enum
import fractions
import pathlib
import re
import uuid
import zoneinfo
from typing import Any, NamedTuple

import msgspec
import pydantic
from hypothesis import strategies as st


class Model(pydantic.BaseModel):
    x: int
    y: uuid.UUID = uuid.UUID(int=7)
    inner: Any = None


class Aliased(pydantic.BaseModel):
    own: int = pydantic.Field(alias="theirs")


class Open(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow")
    x: int


@dataclasses.dataclass
class Data:
    x: int
    y: Any = None
    late: int = dataclasses.field(init=False, default=3)


@dataclasses.dataclass(frozen=True, slots=True)
class Frozen:
    x: int


class Colour(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    LOW = 1


class Point(msgspec.Struct):
    x: int
    y: str = ""


class Pair(NamedTuple):
    a: Any
    b: Any


class Plain:
    """No JSON form."""

    def __init__(self, value: Any = None) -> None:
        self.value = value


class Awkward(Exception):
    """Its constructor wants more than its args."""

    def __init__(self, *, what: str) -> None:
        super().__init__(f"about {what}")


VALUES: list[Any] = [
    None,
    True,
    1,
    -(2**70),
    1.5,
    -0.0,
    "text",
    "\ud800 lone",
    "nul \x00",
    b"\xff\x00",
    bytearray(b"abc"),
    [1, "a", None],
    (1, (2, [3])),
    {"a": 1, "b": [1, {"c": (1,)}]},
    {1: "one", (2, 3): {4}},
    {"__class__": "not.a.form", "data": 1},
    {"__exc_type__": "ValueError", "message": "mine"},
    {1, 2, 3},
    frozenset({"a"}),
    complex(1, 2),
    range(1, 10, 3),
    dt.datetime(2024, 5, 1, 12, 30, 1, 7),
    dt.datetime(2024, 5, 1, tzinfo=dt.UTC),
    dt.datetime(2024, 10, 27, 2, 30, fold=1, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin")),
    dt.date(2024, 5, 1),
    dt.time(12, 1),
    dt.timedelta(days=-1, seconds=5, microseconds=3),
    decimal.Decimal("1.10"),
    fractions.Fraction(1, 3),
    uuid.UUID(int=5),
    pathlib.PurePosixPath("/x/y"),
    pathlib.Path("rel"),
    re.compile("a+", re.IGNORECASE),
    Model(x=1, inner={"k": (1, 2)}),
    Aliased(theirs=4),
    Open(x=1, more=(2,)),
    Data(1, Data(2, b"x")),
    Frozen(5),
    Colour.RED,
    Level.LOW,
    Point(1, "p"),
    Pair(1, (2,)),
    collections.OrderedDict([("b", 1), ("a", 2)]),
    collections.Counter("aab"),
]

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.text(),
    st.binary(max_size=20),
    st.datetimes(),
    st.timedeltas(),
    st.uuids(),
    st.decimals(allow_nan=False),
)
keys = st.one_of(st.text(max_size=5), st.integers(), st.tuples(st.text(max_size=3), st.integers()))
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.tuples(inner, inner),
        st.dictionaries(keys, inner, max_size=4),
        st.dictionaries(st.sampled_from(["__class__", "data", "base64", "__exc_type__", "a"]), inner, max_size=4),
        st.sets(st.one_of(st.integers(), st.text(max_size=3)), max_size=4),
        st.builds(Data, st.integers(), inner),
    ),
    max_leaves=12,
)
