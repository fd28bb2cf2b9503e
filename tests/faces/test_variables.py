"""Variables: both colours, names, values, what overwriting means."""

import asyncio

import pytest

from riverrun import flow, task
from riverrun.variables import Variable


@pytest.mark.parametrize("value", ["text", 3, 2.5, True, None, {"a": [1, {"b": None}]}, [1, "x"], ""])
def test_values_come_back_as_they_were(server, value):
    Variable.set("value", value, overwrite=True)
    assert Variable.get("value", default="other") == value
    assert type(Variable.get("value")) is type(value)


def test_a_taken_name_is_an_error_unless_overwritten(server):
    made = Variable.set("taken", 1, tags=["a"])
    assert (made.name, made.value, made.tags) == ("taken", 1, ["a"])
    with pytest.raises(ValueError, match="'taken' already exists"):
        Variable.set("taken", 2)
    assert Variable.get("taken") == 1
    assert Variable.set("taken", 2, overwrite=True).tags == []
    assert server.get("/variables/name/taken").json()["tags"] == []


def test_what_is_not_there(server):
    assert Variable.get("missing") is None
    assert Variable.get("missing", default={"a": 1}) == {"a": 1}
    assert Variable.unset("missing") is False


def test_unset(server):
    Variable.set("gone", 1, overwrite=True)
    assert Variable.unset("gone") is True
    assert Variable.get("gone") is None


@pytest.mark.parametrize("name", ["Upper", "with space", "dot.ted", "ü", "", "x" * 256])
def test_bad_names_are_refused_before_they_are_sent(server, name):
    with pytest.raises(ValueError, match=r"name"):
        Variable.set(name, 1)


def test_what_is_no_json_is_refused(server):
    with pytest.raises(ValueError, match="value"):
        Variable.set("odd", object())


def test_async_code_awaits(server):
    async def main():
        await Variable.set("colour", "blue", overwrite=True)
        assert await Variable.aget("colour") == "blue"
        assert Variable.get("colour", _sync=True) == "blue"
        assert await Variable[str].get("colour") == "blue"
        return await Variable.unset("colour"), await Variable.aunset("colour")

    assert asyncio.run(main()) == (True, False)


def test_in_flows_and_tasks(server):
    Variable.set("shared", [1], overwrite=True)

    @task
    def read():
        return Variable.get("shared")

    @flow
    def reading():
        return read(), Variable.get("shared")

    @flow
    async def reading_async():
        return read(), await Variable.get("shared")

    assert reading() == ([1], [1])
    assert asyncio.run(reading_async()) == ([1], [1])
