"""The talks of blocks with a server: registering a type, saving, loading and deleting documents.

The public methods of `Block` are made of these; `client` is taken as the peer takes it and has no effect.
"""

import warnings
from abc import ABC
from html import unescape
from typing import TYPE_CHECKING, Any
from uuid import UUID

from pydantic import ValidationError

from riverrun.base.errors import AccessDenied, ObjectAlreadyExists, ObjectNotFound
from riverrun.blocks import schema
from riverrun.client.calls import blocks as calls
from riverrun.client.talk import Talk, ask, look_for
from riverrun.wire.blocks import (
    BlockDocument,
    BlockDocumentCreate,
    BlockDocumentUpdate,
    BlockSchema,
    BlockSchemaCreate,
    BlockType,
    BlockTypeCreate,
    BlockTypeUpdate,
)
from riverrun.wire.filters import BlockSchemaFilter, BlockSchemaFilterBlockTypeId
from riverrun.wire.requests import BlockSchemasFilterBody

if TYPE_CHECKING:
    from riverrun.blocks.core import Block

#: what of a type may be changed after it was made
_LOOKS = ("logo_url", "documentation_url", "description", "code_example")


# -- the type


def register(cls: "type[Block]", client: Any = None) -> Talk[None]:  # noqa: ARG001 - see above
    """Make the type and the schema of this class known to the server, and those of blocks in its fields."""
    from riverrun.blocks.core import Block, InvalidBlockRegistration

    if ABC in cls.__bases__:
        raise InvalidBlockRegistration(
            f"{cls.__name__} is the base of blocks or an interface of them and cannot be registered: call"
            " `register_type_and_schema` of a subclass."
        )
    for _field, annotation in schema.annotations_of(cls):
        for nested in schema.classes_in(annotation, Block):
            yield from register(nested)
    block_type = yield from _register_type(cls._to_block_type())
    cls._block_type_id = block_type.id
    found = yield from _register_schema(cls, block_type)
    cls._block_schema_id = found.id


def _register_type(mine: BlockType) -> Talk[BlockType]:
    looks = {name: getattr(mine, name) for name in _LOOKS}
    found = yield from look_for(calls.read_block_type_by_slug(mine.slug))
    if found is None:
        try:
            return (yield from ask(calls.create_block_type(BlockTypeCreate(name=mine.name, slug=mine.slug, **looks))))
        except ObjectAlreadyExists:  # by somebody else, just now
            found = yield from look_for(calls.read_block_type_by_slug(mine.slug))
            if found is None:
                raise
    # texts may come back with entities in the place of < and >
    if not found.is_protected and any(_text(getattr(found, name)) != _text(looks[name]) for name in _LOOKS):
        yield from ask(calls.update_block_type(found.id, BlockTypeUpdate(**looks)))
    return found


def _text(value: str | None) -> str | None:
    return None if value is None else unescape(value)


def _register_schema(cls: "type[Block]", block_type: BlockType) -> Talk[BlockSchema]:
    version = cls.get_block_schema_version()
    found = yield from look_for(calls.read_block_schema_by_checksum(cls._calculate_schema_checksum(), version))
    if found is not None:
        return found
    body = BlockSchemaCreate(
        fields=cls.model_json_schema(),
        block_type_id=block_type.id,
        capabilities=sorted(cls.get_block_capabilities()),
        version=version,
    )
    try:
        return (yield from ask(calls.create_block_schema(body)))
    except AccessDenied:  # the server keeps the schemas of this type to itself: documents use its own
        of_type = BlockSchemaFilter(block_type_id=BlockSchemaFilterBlockTypeId(any_=[block_type.id]))
        theirs = yield from ask(calls.read_block_schemas(BlockSchemasFilterBody(block_schemas=of_type, limit=1)))
        if not theirs:
            raise
        return theirs[0]


# -- documents


def save(
    self: "Block",
    name: str | None = None,
    overwrite: bool = False,
    client: Any = None,  # noqa: ARG001 - see above
) -> Talk[UUID]:
    """Save the block under a name, the one it was loaded by if none is given; gives the document's id.

    A name that is taken is a ValueError, unless `overwrite`.
    """
    return save_document(self, name, overwrite=overwrite)


def save_document(block: "Block", name: str | None, *, overwrite: bool, anonymous: bool = False) -> Talk[UUID]:
    """As `save`; an anonymous document has no name and is shown to nobody."""
    if not anonymous:
        name = name or block._block_document_name
        if name is None:
            raise ValueError("A block is saved under a name: call `save` with one, as in `save('my-block')`.")
    kind = type(block)
    yield from register(kind)
    assert kind._block_schema_id is not None
    assert kind._block_type_id is not None
    data = block._document_data()
    try:
        document = yield from ask(
            calls.create_block_document(
                BlockDocumentCreate(
                    name=None if anonymous else name,
                    data=data,
                    block_schema_id=kind._block_schema_id,
                    block_type_id=kind._block_type_id,
                    is_anonymous=anonymous,
                )
            )
        )
    except ObjectAlreadyExists as error:
        slug = kind.get_block_type_slug()
        if not overwrite:
            raise ValueError(
                f"There is a block '{slug}/{name}' already, its name is already in use. Save with `overwrite=True` to"
                " replace its values."
            ) from error
        assert name is not None
        document = yield from ask(calls.read_block_document_by_name(name, slug))
        body = BlockDocumentUpdate(block_schema_id=kind._block_schema_id, data=data, merge_existing_data=False)
        yield from ask(calls.update_block_document(document.id, body))
    block._remember(document.id, document.name, anonymous=anonymous)
    return document.id


def load(
    cls: "type[Block]",
    name: str,
    validate: bool = True,
    client: Any = None,  # noqa: ARG001 - see above
) -> Talk[Any]:
    """The block saved under a name: `Secret.load("name")`, or `Block.load("secret/name")` for any type.

    ValueError if there is none. If the class has got required fields since, loading fails with a RuntimeError, and with
    `validate=False` gives a block in which they are None, with a warning.
    """
    document = yield from _document(cls, name)
    return from_document(cls, document, validate=validate)


def load_from_ref(
    cls: "type[Block]",
    ref: str | UUID | dict[str, Any],
    validate: bool = True,
    client: Any = None,  # noqa: ARG001 - see above
) -> Talk[Any]:
    """As `load`, by a document's id, `{"block_document_id": id}` or `{"block_document_slug": "type/name"}`."""
    given = ref.get("block_document_id") if isinstance(ref, dict) else ref
    if given:
        document = yield from document_by_id(given)
    elif isinstance(ref, dict) and ref.get("block_document_slug"):
        document = yield from _document(cls, str(ref["block_document_slug"]))
    else:
        raise ValueError(f"Invalid reference format {ref!r}: give an id, 'block_document_id' or 'block_document_slug'.")
    return from_document(cls, document, validate=validate)


def delete(cls: "type[Block]", name: str, client: Any = None) -> Talk[None]:  # noqa: ARG001 - see above
    """Delete the block saved under a name; ValueError if there is none."""
    document = yield from _document(cls, name)
    yield from ask(calls.delete_block_document(document.id))


def _document(cls: "type[Block]", name: str) -> Talk[BlockDocument]:
    from riverrun.blocks.core import Block

    slug = cls.get_block_type_slug()
    if cls is Block:
        slug, separator, name = name.partition("/")
        if not separator:
            raise ValueError(f"A block is loaded by its type and name, as in 'secret/my-token'; {slug!r} has only one.")
    try:
        return (yield from ask(calls.read_block_document_by_name(name, slug)))
    except ObjectNotFound as error:
        raise ValueError(f"Unable to find block document named {name} for block type {slug}") from error


def document_by_id(given: str | UUID) -> Talk[BlockDocument]:
    """A document by its id; ValueError if there is none."""
    try:
        document_id = given if isinstance(given, UUID) else UUID(given)
    except ValueError:
        raise ValueError(f"Block document ID {given!r} is not a valid UUID") from None
    try:
        return (yield from ask(calls.read_block_document(document_id)))
    except ObjectNotFound as error:
        raise ValueError(f"Unable to find block document with ID {str(document_id)!r}") from error


def from_document(cls: "type[Block]", document: BlockDocument, *, validate: bool = True) -> Any:
    """A block of a document, see `load`."""
    try:
        return cls._from_block_document(document)
    except ValidationError as error:
        kind = f"{document.name!r} of block type {cls.get_block_type_slug()!r}"
        if validate:
            raise RuntimeError(
                f"Unable to load {kind} due to failed validation: {error}\nThe class has changed since the block was"
                " saved; `validate=False` loads it all the same."
            ) from error
        missing = {str(each["loc"][0]): None for each in error.errors() if each["loc"]}
        warnings.warn(
            f"Could not fully load {kind}: the class has fields that were not there when it was saved. Set"
            f" {', '.join(missing)}, save the block with `overwrite=True` and load it again.",
            stacklevel=2,
        )
        return cls.model_construct(**document.data, **missing)
