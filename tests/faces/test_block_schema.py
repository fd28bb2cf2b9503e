"""Schemas and checksums of blocks are those that the peer's client computes for the same classes.

`shapes.json` was written by executing `shapes.py` with the peer's `Block` (3.8.8, pydantic 2.14).
"""

import json
from pathlib import Path

import pytest

from riverrun.blocks import docstrings, schema
from riverrun.blocks.core import Block, InvalidBlockRegistration, UnknownBlockType
from tests.faces import shapes

EXPECTED = json.loads(Path(__file__).with_name("shapes.json").read_text(encoding="utf-8"))


def test_all_shapes_are_there():
    assert set(shapes.SHAPES) == set(EXPECTED)


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_a_class_describes_itself_as_with_the_peer(name):
    kind = getattr(shapes, name)
    described = {
        "slug": kind.get_block_type_slug(),
        "checksum": kind._calculate_schema_checksum(),
        "secret_fields": kind.model_json_schema()["secret_fields"],
        "capabilities": sorted(kind.get_block_capabilities()),
        "description": kind.get_description(),
        "code_example": kind.get_code_example().replace("tests.faces.shapes", "shapes"),
        "version": EXPECTED[name]["version"],  # that of the package the class is in
    }
    assert described == EXPECTED[name]


def test_the_version_is_that_of_the_package():
    from riverrun import __version__

    class Here(Block):
        pass

    Here.__module__ = "riverrun.somewhere"
    assert Here.get_block_schema_version() == __version__
    Here.__module__ = "nowhere"
    assert Here.get_block_schema_version() == "non-versioned"
    assert shapes.Overridden.get_block_schema_version() == "1.2.3"


@pytest.mark.parametrize(
    ("text", "slug"),
    [
        ("SimpleName", "simplename"),
        ("Slack Webhook", "slack-webhook"),
        ("Ünïcode  Näme", "unicode-name"),
        ("it's 1,000 & more", "it-s-1000-more"),
        ("--a__b--", "a-b"),
    ],
)
def test_slugs(text, slug):
    assert schema.slugify(text) == slug


def test_a_model_inside_itself_ends():
    from pydantic import BaseModel, SecretStr

    class Node(BaseModel):
        token: SecretStr
        next: "Node | None" = None

    class Chain(Block):
        node: Node

    Node.model_rebuild(_types_namespace={"Node": Node})
    assert schema.secret_fields(Chain) == ["node.token"]
    assert Chain._calculate_schema_checksum().startswith("sha256:")


def test_docstrings_without_text():
    assert docstrings.description_of(None) is None
    assert docstrings.description_of("") is None
    assert docstrings.description_of("\n    Args:\n        a: b\n    ") is None
    assert docstrings.example_of("Text.\n\n    Examples:\n        >>> 1\n        1\n    ") == ">>> 1\n1"


def test_bases_cannot_be_registered():
    from abc import ABC

    class Interface(Block, ABC):
        pass

    for kind in (Block, Interface):
        with pytest.raises(InvalidBlockRegistration, match="subclass"):
            kind.register_type_and_schema()


def test_classes_are_found_by_their_slug():
    assert Block.get_block_class_from_key("grandparent") is shapes.GrandParent
    assert Block.get_block_class_from_key("secret").__module__ == "riverrun.blocks.system"
    with pytest.raises(UnknownBlockType, match="no-such-type"):
        Block.get_block_class_from_key("no-such-type")


def test_the_right_class_is_made_of_data_with_a_slug():
    made = Block(block_type_slug="plain", message="hi")
    assert type(made) is shapes.Plain
    held = shapes.UnionOfBlocks.model_validate({"held": {"block_type_slug": "plain", "message": "x"}})
    assert type(held.held) is shapes.Plain
    with pytest.raises(ValueError, match="Invalid block_type_slug: expected 'child', got 'plain'"):
        shapes.Child.model_validate({"block_type_slug": "plain", "name": "n", "secret": "s"})


def test_dumps_hide_secrets_unless_asked():
    parent = shapes.Parent(child=shapes.Child(name="n", secret="hush"))
    assert "hush" not in repr(parent) + str(parent) + parent.model_dump_json()
    shown = parent.model_dump(context={"include_secrets": True})
    assert shown == {
        "child": {"name": "n", "secret": "hush", "block_type_slug": "child"},
        "note": "n",
        "block_type_slug": "parent",
    }
    secrets = shapes.Secrets(token="t", raw=b"r", many={"a": 1}, inside={"k": "v"}, either={"x": 2}, number=4)
    assert secrets._document_data() == {
        "token": "t",
        "raw": "r",
        "many": {"a": 1},
        "maybe": None,
        "number": 4,
        "inside": {"k": "v"},
        "either": {"x": 2},
    }
    models = shapes.WithModels(options={"password": "p", "color": "red"})
    assert models._document_data()["options"] == {"depth": 1, "password": "p", "color": "red"}


def test_aliases_are_what_is_saved():
    assert shapes.Aliased(schema="s", **{"class": "c"})._document_data() == {"schema": "s", "class": "c"}


def test_initialization_takes_the_place_of_init():
    class Counting(Block):
        start: int = 1

        def block_initialization(self) -> None:
            self._next = self.start + 1

    assert Counting(start=4)._next == 5
