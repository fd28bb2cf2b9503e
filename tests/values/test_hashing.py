"""Hashes of values: the same in every process, different for what differs."""

import dataclasses
import datetime as dt
import functools
import hashlib
import os
import subprocess
import sys
import threading
import zoneinfo
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from riverrun.base.errors import HashError
from riverrun.utilities.hashing import file_hash, hash_objects, stable_hash
from tests.values import samples
from tests.values.samples import VALUES, Colour, Data, Model, Plain

PROGRAM = """
import sys
from tests.values.samples import *
from riverrun.utilities.hashing import hash_objects
import functools

def outer(n):
    def inner(x, y={"a", "b", "c"}):
        return x + n + len({"p", "q"})
    return inner

print(hash_objects(VALUES))
print(hash_objects({"one", "two", "three", "four"}))
print(hash_objects({"b": {1, 2}, "a": {"x": frozenset("abc")}}))
print(hash_objects(outer(3)), hash_objects(functools.partial(outer(4), 1)))
print(hash_objects(Plain({"s": {"a", "b", "c"}})), hash_objects(Plain), hash_objects(len))
"""


def start(seed: int) -> subprocess.Popen:
    environment = {**os.environ, "PYTHONHASHSEED": str(seed), "PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, text=True, env=environment)


def test_every_process_gets_the_same_hashes():
    processes = [start(1), start(2)]
    first, second = (process.communicate()[0] for process in processes)
    assert [process.returncode for process in processes] == [0, 0]
    assert first == second
    assert "None" not in first
    assert first.splitlines()[0] == hash_objects(VALUES)


def test_all_samples_differ():
    hashes = [hash_objects(value) for value in VALUES]
    assert None not in hashes
    assert len(set(hashes)) == len(VALUES)


@given(samples.values, samples.values)
def test_equal_values_hash_alike_and_others_do_not(one, other):
    assert hash_objects(one) == hash_objects(one)
    # repr tells 1 from True from 1.0, as hashes must
    if repr(one) != repr(other) and one != other:
        assert hash_objects(one) != hash_objects(other)


@given(st.dictionaries(samples.keys, samples.values, max_size=6), st.randoms())
def test_the_order_of_a_dictionary_does_not_count(value, random):
    items = list(value.items())
    random.shuffle(items)
    assert hash_objects(dict(items)) == hash_objects(value)


def test_types_that_compare_equal_are_told_apart():
    assert len({hash_objects(value) for value in (1, 1.0, True, "1", b"1", [1], (1,), {1}, {1: 1})}) == 9
    assert hash_objects([1, 2], 3) != hash_objects([1], 2, 3)
    assert hash_objects(a=1) != hash_objects(b=1)


def test_equal_models_hash_alike_however_they_were_filled():
    assert hash_objects(Model(x=1)) == hash_objects(Model(x=1, y=Model(x=1).y))
    assert hash_objects(Data(1, [2])) == hash_objects(dataclasses.replace(Data(1, [2])))
    assert hash_objects(Colour.RED) != hash_objects("red")


def test_identity_of_equal_strings_does_not_count():
    one, other = (bytes([97, 98]).decode() for _ in range(2))
    assert one is not other
    assert hash_objects(Plain([one, one])) == hash_objects(Plain([one, other]))


def test_times_hash_by_the_instant_written_out():
    berlin = dt.datetime(2024, 5, 1, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin"))
    fixed = berlin.replace(tzinfo=dt.timezone(dt.timedelta(hours=2)))
    assert hash_objects(berlin) == hash_objects(fixed)
    assert hash_objects(berlin) != hash_objects(berlin.replace(tzinfo=None))


def make(n, constant=1):
    def inner(x):
        return x + n + constant

    return inner


def test_functions_hash_by_what_they_do():
    assert hash_objects(make(1)) == hash_objects(make(1))
    assert hash_objects(make(1)) != hash_objects(make(2))
    assert hash_objects(lambda x: x) != hash_objects(lambda x: x + 1)
    assert hash_objects(functools.partial(make, 1)) != hash_objects(functools.partial(make, 2))
    assert hash_objects([].append) != hash_objects([1].append)


def test_values_that_contain_themselves():
    ring: list = [1]
    ring.append(ring)
    other: list = [1]
    other.append(other)
    assert hash_objects(ring) == hash_objects(other)
    knot = Plain()
    knot.value = {"me": knot}
    assert hash_objects(knot) is not None


def test_what_has_no_stable_form():
    value = {"a": [1, Plain(threading.Lock())]}
    assert hash_objects(value) is None
    with pytest.raises(HashError, match=r"value\['a'\]\[1\]\.value of type '_thread\.lock'"):
        hash_objects(value, raise_on_failure=True)
    with pytest.raises(HashError, match="generator"):
        hash_objects((x for x in ()), raise_on_failure=True)
    deep: list = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(HashError, match="nested too deeply"):
        hash_objects(deep, raise_on_failure=True)
    while deep:
        deep = deep[0]


def test_stable_hash_and_algorithms():
    assert stable_hash("hello") == hashlib.md5(b"hello").hexdigest()
    assert stable_hash("hello", b"goodbye") == hashlib.md5(b"hellogoodbye").hexdigest()
    assert len(stable_hash("x", hash_algo=hashlib.sha256)) == 64
    assert len(hash_objects([1], hash_algo=hashlib.sha256)) == 64


def test_file_hash(tmp_path):
    path = tmp_path / "f"
    path.write_text("0")
    assert file_hash(path) == file_hash(str(path)) == hashlib.md5(b"0").hexdigest()
    with pytest.raises(FileNotFoundError):
        file_hash(tmp_path / "none")


def test_arrays_and_frames():
    np = pytest.importorskip("numpy")
    pd = pytest.importorskip("pandas")
    assert hash_objects(np.arange(6).reshape(2, 3)) == hash_objects(np.asfortranarray(np.arange(6).reshape(2, 3)))
    assert hash_objects(np.arange(6)) != hash_objects(np.arange(6).astype("int32"))
    assert hash_objects(np.array([{"a", "b"}], dtype=object)) is not None
    assert hash_objects(np.float32(1)) != hash_objects(np.float64(1))
    one = pd.DataFrame({"a": [1, 2], "b": ["x", None]})
    two = pd.DataFrame({"a": [1, 2]})
    two["b"] = ["x", None]
    assert hash_objects(one) == hash_objects(two)
    assert hash_objects(one) != hash_objects(one.rename(columns={"a": "c"}))
    assert hash_objects(one) != hash_objects(one.set_index("a"))
    assert hash_objects(one["a"]) != hash_objects(one["a"].astype("int32"))
    assert hash_objects(pd.Timestamp("2024-01-01")) is not None
