"""The JSON schema of parameters."""

import enum
from typing import Annotated

from pydantic import BaseModel, Field

from riverrun.utilities.callables import parameter_schema
from riverrun.utilities.schema import parameter_docstrings


class Size(BaseModel):
    width: int
    parent: "Size | None" = None


class Colour(enum.Enum):
    RED = "red"


class Odd: ...


def draw(
    size: Size,
    colour: Colour = Colour.RED,
    n: Annotated[int, Field(ge=1)] = 3,
    m: int = Field(default=4, le=9),
    odd: Odd = Odd(),
    *rest,
    label: "str | None" = None,
    **more,
):
    """Draw.

    Args:
        size: how large
        n (int): how many,
            at most
    Returns:
        nothing: at all
    """


def test_schema():
    schema = parameter_schema(draw).model_dump()
    assert list(schema) == ["title", "type", "properties", "required", "definitions"]
    properties = schema["properties"]
    assert [(name, each["position"]) for name, each in properties.items()] == [
        (name, position) for position, name in enumerate(["size", "colour", "n", "m", "odd", "rest", "label", "more"])
    ]
    assert properties["size"]["$ref"] == "#/definitions/Size"
    assert schema["definitions"]["Size"]["required"] == ["width"]
    assert properties["colour"]["default"] == "red"
    assert (properties["n"]["minimum"], properties["n"]["default"]) == (1, 3)
    assert (properties["m"]["maximum"], properties["m"]["default"]) == (9, 4)
    assert properties["odd"] == {"title": "odd", "position": 4}
    assert properties["n"]["description"] == "how many,\nat most"
    assert properties["label"]["default"] is None
    assert schema["required"] == ["size"]


def test_docstrings():
    assert parameter_docstrings(None) == {}
    assert parameter_docstrings("Text.\n\n:param int a: one\n    more\n:param b: two\n:returns: x") == {
        "a": "one\nmore",
        "b": "two",
    }
    assert parameter_docstrings("Text.\n\nParameters:\n  a: one\n\n  *b: two\nNote: this") == {"a": "one", "b": "two"}
