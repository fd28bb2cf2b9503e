"""Classes of blocks of many shapes. Executed with `Block` and `SecretDict` of riverrun or of the peer in its globals."""

import enum
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, Optional, TypeVar, Union
from uuid import UUID

from pydantic import BaseModel, Field, HttpUrl, SecretBytes, SecretStr
from pydantic import Secret as PydanticSecret

if "Block" not in globals():
    from riverrun.blocks.core import Block
    from riverrun.types import SecretDict


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Plain(Block):
    message: str
    count: int = 3


class Documented(Block):
    """
    Keeps what a service needs.

    More about it, in two
    lines: with a colon.

    Attributes:
        url: Where it is.

    Example:
        Load it:
        ```python
        Documented.load("x")
        ```

    After the example.
    """

    url: str = Field(default=..., description="Where it is.", title="The URL", examples=["http://x"])


class SectionFirst(Block):
    """Args:
        url: Where.

    The text comes later.
    """

    url: str


class Overridden(Block):
    """Not this."""

    _block_type_name = "Überfancy Block, No. 1,000 isn't it"
    _description = "This"
    _logo_url = HttpUrl("https://example.com/logo.png")
    _documentation_url = HttpUrl("https://example.com/docs")
    _code_example = """
        ```python
        here
        ```"""
    _block_schema_capabilities = ["get", "put"]
    _block_schema_version = "1.2.3"

    value: float = 0.5


class Slugged(Block):
    _block_type_name = "Shown Name"
    _block_type_slug = "Its Slug_here"

    value: Literal["a", "b", 3] = "a"


class Secrets(Block):
    token: SecretStr
    raw: SecretBytes = SecretBytes(b"x")
    many: SecretDict = Field(default_factory=lambda: SecretDict({}), description="All of it.")
    maybe: SecretStr | None = None
    number: PydanticSecret[int] | None = None
    inside: dict[str, SecretStr] = Field(default_factory=dict)
    either: Union[SecretStr, PydanticSecret[dict[str, Any]]] = Field(
        default=..., json_schema_extra={"writeOnly": True, "format": "password"}
    )


class Child(Block):
    """A child."""

    name: str
    secret: SecretStr


class Parent(Block):
    child: Child
    note: str = "n"


class GrandParent(Block):
    parent: Parent
    child: Child | None = None


class UnionOfBlocks(Block):
    held: Union[Child, Plain]
    also: Optional[Union[Child, Plain]] = None


class Containers(Block):
    listed: list[Child] = Field(default_factory=list)
    mapped: dict[str, Plain] = Field(default_factory=dict)
    paired: tuple[int, Child] | None = None


class Options(BaseModel):
    """Not a block."""

    depth: int = 1
    password: SecretStr | None = None
    color: Color = Color.RED


class Deeper(BaseModel):
    options: Options
    child: Optional[Child] = None


class WithModels(Block):
    options: Options = Field(default_factory=Options)
    deeper: Deeper | None = None
    color: Color = Color.BLUE
    model_config = {"title": "Titled"}


class Capable(Block):
    _block_schema_capabilities = ["read"]

    base: str = "b"


class Heir(Capable):
    """Inherits."""

    _block_schema_capabilities = ["write"]

    more: Annotated[int, Field(ge=0, le=9)] = 1


class Aliased(Block):
    schema_: str = Field(default="public", alias="schema", description="Of the database.")
    class_: SecretStr | None = Field(default=None, alias="class")


class Various(Block):
    when: datetime | None = None
    span: timedelta = timedelta(seconds=5)
    where: Path = Path("/tmp")
    which: UUID | None = None
    url: HttpUrl | None = None
    anything: Any = None
    flags: set[str] = Field(default_factory=set)
    nested: dict[str, list[dict[str, int | None]]] = Field(default_factory=dict)


class Itself(Block):
    value: int = 0
    parts: list["Options"] = []


T = TypeVar("T")


class Generics(Block, Generic[T]):
    value: T
    child: Child | None = None


class Extra(Block):
    model_config = {"extra": "forbid"}
    a: int = 1


SHAPES = [
    name
    for name, kind in list(globals().items())
    if isinstance(kind, type) and Block in getattr(kind, "__mro__", ())[1:]
]
