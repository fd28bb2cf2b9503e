"""Serializers: round trips, what they say when they fail, users' own ones."""

import json
import subprocess
import sys
import threading
from typing import Any, Literal
from unittest.mock import MagicMock

import cloudpickle
import pydantic
import pytest
from hypothesis import given

from riverrun.base.errors import SerializationError
from riverrun.serializers import (
    CompressedSerializer,
    JSONSerializer,
    PickleSerializer,
    Serializer,
    UnknownSerializer,
    prefect_json_object_encoder,
    riverrun_json_object_decoder,
    riverrun_json_object_encoder,
)
from riverrun.utilities.hashing import hash_objects
from tests.values import samples
from tests.values.samples import VALUES, Awkward, Model, Plain

ALL = [
    PickleSerializer(),
    PickleSerializer(picklelib="pickle"),
    JSONSerializer(),
    Serializer(type="compressed/json", compressionlib="zlib"),
    CompressedSerializer(serializer="pickle", compressionlib="gzip"),
]


def name(serializer):
    return f"{serializer.type}-{getattr(serializer, 'picklelib', '')}"


@pytest.mark.parametrize("serializer", ALL, ids=name)
@pytest.mark.parametrize("value", VALUES, ids=lambda value: repr(value)[:40])
def test_a_value_comes_back_with_its_type(serializer, value):
    back = serializer.loads(serializer.dumps(value))
    assert back == value
    assert type(back) is type(value)


@given(samples.values)
def test_any_value_comes_back_through_json(value):
    serializer = JSONSerializer()
    blob = serializer.dumps(value)
    blob.decode("ascii")
    back = serializer.loads(blob)
    assert back == value
    assert hash_objects(back) == hash_objects(value)  # tells 1 from True from 1.0


def test_nan_and_infinity_come_back():
    back = JSONSerializer().loads(JSONSerializer().dumps([float("nan"), float("-inf")]))
    assert back[0] != back[0]
    assert back[1] == float("-inf")


@pytest.mark.parametrize("serializer", ALL, ids=name)
@pytest.mark.parametrize("error", [ValueError("a", 1), KeyError("k"), OSError(2, "no", "f")])
def test_an_exception_comes_back(serializer, error):
    back = serializer.loads(serializer.dumps(error))
    assert type(back) is type(error)
    assert back.args == error.args


def test_an_exception_that_takes_no_args_keeps_what_it_says():
    back = JSONSerializer().loads(JSONSerializer().dumps(Awkward(what="it")))
    assert type(back) is Awkward
    assert str(back) == "about it"


def test_an_exception_that_carries_an_object_keeps_its_message():
    back = JSONSerializer().loads(JSONSerializer().dumps(ValueError("bad", threading.Lock())))
    assert type(back) is ValueError
    assert "bad" in str(back)


def test_an_exception_whose_class_cannot_be_found_again_comes_back_as_its_base():
    class Local(KeyError):
        pass

    back = JSONSerializer().loads(JSONSerializer().dumps(Local("k")))
    assert type(back) is KeyError
    assert "Local" in str(back)


# -- failures


@pytest.mark.parametrize("serializer", ALL, ids=name)
def test_the_part_that_cannot_be_written_is_named(serializer):
    with pytest.raises(SerializationError, match=r"\['rows'\]\[1\]\['k'\]\[0\] of type 'lock'"):
        serializer.dumps({"rows": [1, {"k": (threading.Lock(),)}]})


def test_the_attribute_that_cannot_be_pickled_is_named():
    with pytest.raises(SerializationError, match=r"value\[0\]\.value\.value of type 'lock'"):
        PickleSerializer().dumps([Plain(Plain(threading.Lock()))])


def test_the_variable_of_a_closure_that_cannot_be_pickled_is_named():
    lock = threading.Lock()
    with pytest.raises(SerializationError, match=r"<closure>\.lock"):
        PickleSerializer().dumps(lambda: lock)


def test_a_value_without_json_form_says_what_to_do():
    with pytest.raises(
        SerializationError, match=r"\['p'\] of type 'Plain'.*has no JSON form.*result_serializer='pickle'"
    ):
        JSONSerializer().dumps({"p": Plain()})


def test_a_value_that_contains_itself_is_refused_by_json():
    ring: list[Any] = []
    ring.append(ring)
    with pytest.raises(SerializationError, match="contains itself"):
        JSONSerializer().dumps(ring)


@pytest.mark.parametrize("serializer", [JSONSerializer(), PickleSerializer()], ids=name)
def test_a_value_nested_too_deeply_is_refused(serializer):
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(SerializationError, match="nested too deeply"):
        serializer.dumps(deep)
    while deep:  # take it apart: freeing it in one go is deep, too
        deep = deep[0]


def test_a_class_inside_a_function_has_no_json_form():
    class Local(pydantic.BaseModel):
        x: int

    with pytest.raises(SerializationError, match="top level of a module"):
        JSONSerializer().dumps(Local(x=1))


def test_reading_makes_no_instance_of_what_is_not_data():
    for name in ("subprocess.Popen", "builtins.eval", "os.system", "pathlib.Path.unlink", "threading.Thread"):
        blob = json.dumps({"__class__": name, "data": ["true"]}).encode()
        with pytest.raises(SerializationError, match="class"):
            JSONSerializer().loads(blob)


def test_reading_a_class_that_is_gone_says_so():
    with pytest.raises(SerializationError, match=r"'gone\.Model' of a stored value is not there"):
        JSONSerializer().loads(b'{"__class__": "gone.Model", "data": {}}')


# -- what the peer wrote


def test_the_forms_of_the_peer_are_read():
    load = JSONSerializer().loads
    name = f"{Model.__module__}.Model"
    assert load(b'{"__class__": "builtins.bytes", "data": "abc"}') == b"abc"
    assert load(b'{"__class__": "datetime.timedelta", "data": "P1D"}').days == 1
    assert load(b'{"__exc_type__": "builtins.ValueError", "message": "foo"}').args == ("foo",)
    assert load(b'{"__class__": "datetime.datetime", "data": "2020-01-01T00:00:00Z"}').year == 2020
    blob = json.dumps({"__class__": name, "data": {"x": 1, "y": "00000000-0000-0000-0000-000000000001"}}).encode()
    assert load(blob).y.int == 1
    assert load(b'{"__class__": "x"}') == {"__class__": "x"}


# -- options


def test_made_by_type():
    assert Serializer(type="json") == JSONSerializer()
    assert isinstance(Serializer(type="compressed/pickle").serializer, PickleSerializer)
    assert isinstance(Serializer(type="compressed/json").serializer, JSONSerializer)
    with pytest.raises(pydantic.ValidationError, match="No class found for dispatch key 'nope'"):
        Serializer(type="nope")


@pytest.mark.parametrize("serializer", ALL, ids=name)
def test_made_again_from_its_dictionary(serializer):
    assert Serializer(**json.loads(serializer.model_dump_json())) == serializer
    assert serializer.model_copy() == serializer


def test_equality():
    assert JSONSerializer() == JSONSerializer()
    assert JSONSerializer() != JSONSerializer(jsonlib="other")
    assert JSONSerializer() != PickleSerializer()
    assert CompressedSerializer(serializer="json") != CompressedSerializer(serializer="pickle")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: JSONSerializer(nope=1), "Extra inputs are not permitted"),
        (lambda: JSONSerializer(dumps_kwargs={"default": "x"}), "object_encoder"),
        (lambda: JSONSerializer(loads_kwargs={"object_hook": "x"}), "object_decoder"),
        (lambda: PickleSerializer(picklelib=cloudpickle), "valid string"),
        (lambda: PickleSerializer(picklelib="no_such_module"), "Failed to import requested pickle library"),
        (lambda: PickleSerializer(picklelib="math"), "Pickle library at 'math' does not have a 'dumps' method."),
        (lambda: CompressedSerializer(serializer="json", compressionlib="nolib"), "requested compression library"),
        (lambda: CompressedSerializer(serializer="json", compressionlib="math"), "does not have a 'compress' method"),
        (lambda: CompressedSerializer(), "Field required"),
    ],
)
def test_bad_options_are_refused(make, message):
    with pytest.raises(pydantic.ValidationError, match=message):
        make()


def test_libraries_and_hooks_are_those_asked_for(monkeypatch):
    dumps, loads = MagicMock(return_value="{}"), MagicMock(return_value="test")
    monkeypatch.setattr("json.dumps", dumps)
    monkeypatch.setattr("json.loads", loads)
    serializer = JSONSerializer(dumps_kwargs={"foo": 1}, loads_kwargs={"bar": 2})
    serializer.dumps("test")
    serializer.loads(b"test")
    dumps.assert_called_once_with("test", default=riverrun_json_object_encoder, foo=1)
    loads.assert_called_once_with("test", object_hook=riverrun_json_object_decoder, bar=2)
    assert prefect_json_object_encoder is riverrun_json_object_encoder


@pytest.mark.parametrize("library", ["bz2", "lzma", "zlib", "gzip"])
def test_compression_libraries(library):
    serializer = CompressedSerializer(serializer="json", compressionlib=library)
    blob = serializer.dumps("x" * 10_000)
    assert len(blob) < 1_000
    assert serializer.loads(blob) == "x" * 10_000


# -- users' own


class Upper(Serializer):
    type: Literal["test-upper"] = "test-upper"
    times: int = 1
    sign: str = pydantic.Field(default="!", max_length=3)

    @pydantic.field_validator("times")
    @classmethod
    def positive(cls, value: int) -> int:
        if value < 1:
            raise ValueError("must be positive")
        return value

    def dumps(self, obj: str) -> bytes:
        return (obj.upper() + self.sign * self.times).encode()

    def loads(self, blob: bytes) -> str:
        return blob.decode()


def test_a_users_serializer():
    serializer = Serializer(type="test-upper", times="3")
    assert isinstance(serializer, Upper)
    assert serializer.times == 3
    assert serializer.dumps("a") == b"A!!!"
    assert serializer == Upper(times=3)
    assert serializer.model_dump() == {"type": "test-upper", "times": 3, "sign": "!"}
    for options in ({"times": 0}, {"sign": "long!"}, {"other": 1}):
        with pytest.raises(pydantic.ValidationError):
            Upper(**options)


def test_as_a_field_of_a_model():
    class Holder(pydantic.BaseModel):
        serializer: Serializer

    holder = Holder(serializer={"type": "test-upper"})
    assert isinstance(holder.serializer, Upper)
    assert Holder(serializer=JSONSerializer()).serializer == JSONSerializer()
    assert Holder.model_validate_json(holder.model_dump_json()) == holder
    with pytest.raises(pydantic.ValidationError):
        Holder(serializer={"type": "nope"})


def test_one_that_is_not_loaded_here_says_so():
    unknown = UnknownSerializer(type="far", option=1)
    assert unknown.model_dump() == {"type": "far", "option": 1}
    for use in (lambda: unknown.loads(b""), lambda: unknown.dumps(1)):
        with pytest.raises(SerializationError, match="'far' is not known in this process"):
            use()


def test_values_are_light_to_import():
    heavy = {"asyncio", "concurrent.futures", "pydantic", "cloudpickle", "fsspec", "json", "sqlalchemy", "httpx", "ssl"}
    code = (
        "import sys, riverrun.results, riverrun.transactions, riverrun.cache_policies, riverrun.serializers,"
        " riverrun.storages, riverrun.locking.memory, riverrun.locking.filesystem; riverrun.serializers.JSONSerializer();"
        f" print(sorted({heavy!r} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
