"""`Block`: a pydantic model whose instances can be kept on a server under a name, secrets encrypted.

Users subclass it. What its schema looks like stands in `blocks/schema.py`, the talks with the server in
`blocks/documents.py`.
"""

import re
import sys
from abc import ABC
from textwrap import dedent
from typing import Any, ClassVar, Literal, Self, TypeGuard
from uuid import UUID, uuid4

from pydantic import (
    BaseModel,
    ConfigDict,
    HttpUrl,
    PrivateAttr,
    SerializationInfo,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import to_jsonable_python

from riverrun.base.errors import RiverrunError
from riverrun.blocks import docstrings, documents, registry, schema
from riverrun.blocks.registry import UnknownBlockType
from riverrun.utilities.talks import awaiting, talking
from riverrun.wire.blocks import BlockDocument, BlockSchema, BlockType

__all__ = ["Block", "BlockNotSavedError", "InvalidBlockRegistration", "UnknownBlockType"]

#: what a dump tells beside the fields
_METADATA = ("_block_document_id", "_block_document_name", "_is_anonymous")
_UNVERSIONED = "non-versioned"
_VERSION = re.compile(
    r"\s*v?((?:\d+!)?\d+(?:\.\d+)*)(?:[-_.]?[a-z]+[-_.]?\d*|-\d+)*(?:\+[a-z\d.-]+)?\s*", re.IGNORECASE
)


class InvalidBlockRegistration(RiverrunError):
    """The base class of blocks and interfaces of blocks cannot be registered; register a subclass."""

    code = "block_registration"


class BlockNotSavedError(RiverrunError, RuntimeError):
    """The block has to be saved before this."""

    code = "block_unsaved"


def _describe(fields: dict[str, Any], model: type["Block"]) -> None:
    """Add to pydantic's schema what makes it one of a block."""
    fields["block_type_slug"] = model.get_block_type_slug()
    description = model.get_description()
    if description:
        fields["description"] = description
    else:
        fields.pop("description", None)  # it would be that of a base class
    fields["secret_fields"] = schema.secret_fields(model)
    fields["block_schema_references"] = schema.references(
        model, Block, lambda block: block._to_block_schema_reference_dict()
    )


class Block(BaseModel, ABC):
    """The base of blocks: fields are what is saved, methods are what can be done with it."""

    model_config = ConfigDict(extra="allow", json_schema_extra=_describe)

    # how the type looks to people; subclasses set them
    _block_type_name: ClassVar[str | None] = None
    _block_type_slug: ClassVar[str | None] = None
    _logo_url: ClassVar[HttpUrl | str | None] = None
    _documentation_url: ClassVar[HttpUrl | str | None] = None
    _description: ClassVar[str | None] = None
    _code_example: ClassVar[str | None] = None
    _block_schema_capabilities: ClassVar[list[str] | None] = None
    _block_schema_version: ClassVar[str | None] = None

    # set when the class is registered
    _block_type_id: ClassVar[UUID | None] = None
    _block_schema_id: ClassVar[UUID | None] = None

    # set when an instance is saved or loaded
    _block_document_id: UUID | None = PrivateAttr(None)
    _block_document_name: str | None = PrivateAttr(None)
    _is_anonymous: bool | None = PrivateAttr(None)

    @classmethod
    def __pydantic_init_subclass__(cls, **options: Any) -> None:
        super().__pydantic_init_subclass__(**options)
        if ABC not in cls.__bases__:
            registry.register(cls.get_block_type_slug(), cls)

    def __new__(cls, *_args: Any, **fields: Any) -> Self:
        """With `block_type_slug` among the fields, an instance of the subclass of that type."""
        slug = fields.get("block_type_slug")
        if slug:
            kind = cls.get_block_class_from_key(slug)
            if issubclass(kind, cls):
                return super().__new__(kind)
        return super().__new__(cls)

    def __init__(self, *args: Any, **fields: Any) -> None:
        super().__init__(*args, **fields)
        self.block_initialization()

    def block_initialization(self) -> None:
        """Called after the fields are set, for subclasses to do more; takes the place of `__init__`."""

    def __str__(self) -> str:
        return repr(self)

    def __repr_args__(self) -> Any:
        known = type(self).model_fields
        return [(name, value) for name, value in super().__repr_args__() if name is None or name in known]

    @model_validator(mode="before")
    @classmethod
    def _check_type(cls, values: Any) -> Any:
        """Refuse the data of another type of block, so that pydantic finds the right one among several."""
        if not isinstance(values, dict):
            return values
        slug = values.get("block_type_slug")
        expected = cls.get_block_type_slug()
        if slug and slug != expected:
            raise ValueError(f"Invalid block_type_slug: expected {expected!r}, got {slug!r}")
        return {name: value for name, value in values.items() if name != "block_type_slug" and name not in _METADATA}

    # -- what a block says of itself ---------------------------------------------------------------------------------

    @classmethod
    def get_block_type_name(cls) -> str:
        """The name of the type: `_block_type_name`, else the name of the class."""
        return cls._block_type_name or cls.__name__

    @classmethod
    def get_block_type_slug(cls) -> str:
        """The type's name in addresses: `_block_type_slug`, else made of the name."""
        return schema.slugify(cls._block_type_slug or cls.get_block_type_name())

    @classmethod
    def get_block_capabilities(cls) -> frozenset[str]:
        """What blocks of this type can do: their own capabilities and those of all base classes."""
        return frozenset(
            capability for base in cls.__mro__ for capability in getattr(base, "_block_schema_capabilities", None) or ()
        )

    @classmethod
    def get_block_schema_version(cls) -> str:
        """`_block_schema_version`, else the version of the package that the class is in."""
        return cls._block_schema_version or cls._get_current_package_version()

    @classmethod
    def _get_current_package_version(cls) -> str:
        package = sys.modules.get(cls.__module__.partition(".")[0] or "__main__")
        match = _VERSION.fullmatch(str(getattr(package, "__version__", "")))
        return _UNVERSIONED if match is None else match[1]

    @classmethod
    def get_description(cls) -> str | None:
        """`_description`, else the first text of the docstring."""
        return docstrings.description_of(cls.__doc__) if cls._description is None else cls._description

    @classmethod
    def get_code_example(cls) -> str:
        """`_code_example`, else the docstring's example, else one that loads a block."""
        if cls._code_example is not None:
            return dedent(cls._code_example)
        found = docstrings.example_of(cls.__doc__)
        if found is not None:
            return found
        name = (cls.__pydantic_generic_metadata__.get("origin") or cls).__name__
        module = f"{cls.__module__}.{cls.__qualname__}".rpartition(".")[0]
        variable = f"{cls.get_block_type_slug().replace('-', '_')}_block"
        return f'```python\nfrom {module} import {name}\n\n{variable} = {name}.load("BLOCK_NAME")\n```'

    def get_block_placeholder(self) -> str:
        """What stands for this block in templates, as in the job variables of a deployment."""
        if not self._block_document_name:
            raise BlockNotSavedError("Only a block that was saved or loaded has a placeholder: call save(name) first.")
        return f"prefect.blocks.{self.get_block_type_slug()}.{self._block_document_name}"

    @staticmethod
    def is_block_class(block: Any) -> TypeGuard[type["Block"]]:
        """Whether this is a class of blocks."""
        return schema.is_model(block, Block)

    @staticmethod
    def annotation_refers_to_block_class(annotation: Any) -> bool:
        """Whether a type is a class of blocks or holds one, as in `list[Secret] | None`."""
        return any(schema.classes_in(annotation, Block))

    @classmethod
    def get_block_class_from_key(cls, key: str) -> type[Any]:
        """The class of a type's slug; raises UnknownBlockType if nothing that is imported or installed has it."""
        return registry.lookup(key)

    @classmethod
    def get_block_class_from_schema(cls, schema: BlockSchema) -> type[Any]:
        """The class that a schema is of; raises UnknownBlockType."""
        if schema.block_type is None:
            raise ValueError("Block type is not set")
        return cls.get_block_class_from_key(schema.block_type.slug)

    # -- schema --------------------------------------------------------------------------------------------------------

    @classmethod
    def model_json_schema(  # type: ignore[override] # mode and by_alias are all that blocks have
        cls,
        by_alias: bool = True,
        ref_template: str = "#/definitions/{model}",
        schema_generator: type[GenerateJsonSchema] = GenerateJsonSchema,
        mode: Literal["validation", "serialization"] = "validation",
    ) -> dict[str, Any]:
        """The schema that the server keeps."""
        fields = super().model_json_schema(by_alias, ref_template, schema_generator, mode)
        return schema.shaped(fields, cls, Block, by_alias=by_alias)

    @classmethod
    def _calculate_schema_checksum(cls, block_schema_fields: dict[str, Any] | None = None) -> str:
        return schema.checksum(cls.model_json_schema() if block_schema_fields is None else block_schema_fields)

    @classmethod
    def _to_block_schema_reference_dict(cls) -> dict[str, str]:
        return {
            "block_type_slug": cls.get_block_type_slug(),
            "block_schema_checksum": cls._calculate_schema_checksum(),
        }

    @classmethod
    def _to_block_schema(cls, block_type_id: UUID | None = None) -> BlockSchema:
        return BlockSchema(
            id=cls._block_schema_id or uuid4(),
            created=None,
            updated=None,
            checksum=cls._calculate_schema_checksum(),
            fields=cls.model_json_schema(),
            block_type_id=block_type_id or cls._block_type_id,
            block_type=cls._to_block_type(),
            capabilities=sorted(cls.get_block_capabilities()),
            version=cls.get_block_schema_version(),
        )

    @classmethod
    def _to_block_type(cls) -> BlockType:
        return BlockType(
            id=cls._block_type_id or uuid4(),
            created=None,
            updated=None,
            name=cls.get_block_type_name(),
            slug=cls.get_block_type_slug(),
            logo_url=None if cls._logo_url is None else str(cls._logo_url),
            documentation_url=None if cls._documentation_url is None else str(cls._documentation_url),
            description=cls.get_description(),
            code_example=cls.get_code_example(),
        )

    # -- data ----------------------------------------------------------------------------------------------------------

    @model_serializer(mode="wrap")
    def _serialized(self, handler: SerializerFunctionWrapHandler, info: SerializationInfo) -> Any:
        context: Any = info.context or {}
        if context.get("serialize_blocks_as_references"):
            if self._block_document_id is None:
                raise BlockNotSavedError(
                    "Only a block that is saved can be a parameter of a deployment: save it first."
                )
            return {"$ref": {"block_document_id": str(self._block_document_id)}}
        dumped = handler(self)
        if context.get("include_secrets") is True:
            secrets = schema.secret_fields(type(self))
            for name, field in type(self).model_fields.items():
                key = (field.serialization_alias or field.alias or name) if info.by_alias else name
                if key in dumped and schema.is_secret_path(secrets, name):
                    dumped[key] = _revealed(getattr(self, name), info)
        dumped["block_type_slug"] = self.get_block_type_slug()
        for name in _METADATA:
            value = getattr(self, name)
            if value is not None:
                dumped[name] = str(value) if info.mode == "json" and name == "_block_document_id" else value
        return dumped

    def model_dump(self, *, include: Any = None, exclude: Any = None, **options: Any) -> dict[str, Any]:
        """As pydantic's, with the block's type and where it is saved. `context={"include_secrets": True}` shows secrets."""
        dumped = super().model_dump(include=include, exclude=exclude, **options)
        for name in ("block_type_slug", *_METADATA):
            if (include and name not in include) or (exclude and name in exclude):
                dumped.pop(name, None)
        return dumped

    def _document_data(self) -> dict[str, Any]:
        """The fields as the server keeps them: JSON, secrets included, saved blocks by reference."""
        kind = type(self)
        data = self.model_dump(
            mode="json", by_alias=True, include=set(kind.model_fields), context={"include_secrets": True}
        )
        for name, field in kind.model_fields.items():
            value = getattr(self, name)
            if isinstance(value, Block) and value._block_document_id is not None:
                reference = {"$ref": {"block_document_id": str(value._block_document_id)}}
                data[field.serialization_alias or field.alias or name] = reference
        return data

    @classmethod
    def _from_block_document(cls, block_document: BlockDocument) -> Self:
        """A block of a document; raises pydantic's ValidationError if its data do not fit the class."""
        if block_document.block_schema is None:
            raise ValueError("Unable to determine block schema for provided block document")
        kind = cls if cls is not Block else cls.get_block_class_from_schema(block_document.block_schema)
        block: Self = kind.model_validate(block_document.data)
        kind._block_schema_id = block_document.block_schema_id
        kind._block_type_id = block_document.block_type_id
        block._remember(block_document.id, block_document.name, anonymous=block_document.is_anonymous)
        block._remember_nested(block_document.block_document_references)
        return block

    def _remember(self, document_id: UUID | None, name: str | None, *, anonymous: bool | None) -> None:
        self._block_document_id = document_id
        self._block_document_name = name
        self._is_anonymous = anonymous

    def _remember_nested(self, references: dict[str, dict[str, Any]]) -> None:
        for field, reference in references.items():
            nested = getattr(self, field, None)
            if isinstance(nested, Block):
                told = reference.get("block_document") or {}
                given = told.get("id")
                nested._remember(
                    UUID(str(given)) if given else None, told.get("name"), anonymous=told.get("is_anonymous")
                )
                nested._remember_nested(told.get("block_document_references") or {})

    # -- on the server -------------------------------------------------------------------------------------------------

    register_type_and_schema = classmethod(talking(documents.register))
    aregister_type_and_schema = classmethod(awaiting(documents.register))
    save = talking(documents.save)
    asave = awaiting(documents.save)
    load = classmethod(talking(documents.load))
    aload = classmethod(awaiting(documents.load))
    load_from_ref = classmethod(talking(documents.load_from_ref))
    aload_from_ref = classmethod(awaiting(documents.load_from_ref))
    delete = classmethod(talking(documents.delete))
    adelete = classmethod(awaiting(documents.delete))


def _revealed(value: Any, info: SerializationInfo) -> Any:
    """A value with the secrets in it."""
    if hasattr(value, "get_secret_value"):
        value = value.get_secret_value()
        return to_jsonable_python(value) if info.mode == "json" else value
    if isinstance(value, Block):
        return value.model_dump(mode=info.mode, by_alias=info.by_alias, context=info.context)
    if isinstance(value, BaseModel):
        dumped = value.model_dump(mode=info.mode, by_alias=info.by_alias)
        for name, field in type(value).model_fields.items():
            key = (field.serialization_alias or field.alias or name) if info.by_alias else name
            dumped[key] = _revealed(getattr(value, name), info)
        return dumped
    if isinstance(value, dict):
        return {key: _revealed(part, info) for key, part in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return (
            [_revealed(part, info) for part in value]
            if info.mode == "json"
            else type(value)(_revealed(part, info) for part in value)
        )
    return to_jsonable_python(value) if info.mode == "json" else value
