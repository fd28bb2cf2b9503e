"""`riverrun block`: configuration that is kept on the server under a name."""

from typing import TYPE_CHECKING, Any
from uuid import UUID

import click

from riverrun.cli.groups import Group, confirm, json_option
from riverrun.cli.output import exactly_when, print_fields, print_json, say, when
from riverrun.cli.things import as_text, either, show_list, show_one

if TYPE_CHECKING:
    from riverrun.wire.blocks import BlockDocument, BlockType


@click.group(cls=Group)
def block() -> None:
    """Look at blocks, register their types, delete them."""


@block.command()
@click.option("--limit", type=click.IntRange(1, 200), default=200, show_default=True, help="At most this many.")
@json_option
def ls(limit: int, as_json: bool) -> None:
    """List the saved blocks."""
    from riverrun.client.calls.blocks import read_block_documents
    from riverrun.client.http import send
    from riverrun.wire.requests import BlockDocumentsFilterBody

    found = send(read_block_documents(BlockDocumentsFilterBody(limit=limit)))
    show_list(
        found,
        ("ID", "Type", "Name", "Slug", "Updated"),
        lambda each: (str(each.id), _type_name(each), each.name or "-", _slug(each), when(each.updated)),
        as_json=as_json,
        nothing="No blocks.",
    )


def _type_name(document: "BlockDocument") -> str:
    return document.block_type.name if document.block_type is not None else document.block_type_name or "-"


def _slug(document: "BlockDocument") -> str:
    return f"{document.block_type.slug if document.block_type is not None else '?'}/{document.name or '-'}"


@block.command()
@click.argument("slug", required=False)
@click.option("--id", "block_id", type=click.UUID, help="The id of the block.")
@json_option
def inspect(slug: str | None, block_id: UUID | None, as_json: bool) -> None:
    """Show a block by its SLUG (TYPE/NAME); its secrets stay hidden."""
    found = _read(slug, block_id)
    if as_json:
        print_json(found.model_dump(mode="json"))
        return
    fields = [("ID", str(found.id)), ("Slug", _slug(found)), ("Type", _type_name(found))]
    fields += [("Created", exactly_when(found.created)), ("Updated", exactly_when(found.updated))]
    print_fields([*fields, *((name, as_text(value)) for name, value in found.data.items())])


@block.command()
@click.argument("slug", required=False)
@click.option("--id", "block_id", type=click.UUID, help="The id of the block.")
def delete(slug: str | None, block_id: UUID | None) -> None:
    """Delete a block by its SLUG (TYPE/NAME)."""
    from riverrun.client.calls.blocks import delete_block_document
    from riverrun.client.http import send

    found = _read(slug, block_id)
    confirm(f"Delete the block {_slug(found)!r}?")
    send(delete_block_document(found.id))
    say(f"Deleted the block {_slug(found)!r}.")


@block.command()
@click.argument("type_slug")
def create(type_slug: str) -> None:
    """Tell how to make a block of a type."""
    from riverrun.client.location import ensure_api_url

    found = _type(type_slug)
    say(f"In a script:\n\n{found.code_example or ''}\n")
    say(f"Or in a browser: {ensure_api_url().removesuffix('/api')}/blocks/catalog/{found.slug}/create")


@block.command()
@click.option("-m", "--module", "module", metavar="NAME", help="A module that defines blocks.")
@click.option("-f", "--file", "file", type=click.Path(exists=True, dir_okay=False), help="A file that defines blocks.")
def register(module: str | None, file: str | None) -> None:
    """Register the types of blocks that a module or a file defines, with the types that they use."""
    from abc import ABC
    from importlib import import_module

    from riverrun.base.errors import InputError, ScriptError
    from riverrun.blocks.core import Block
    from riverrun.blocks.documents import register as registering
    from riverrun.client.talk import hold
    from riverrun.utilities.importtools import load_script_as_module

    either(module, file, "--module or --file")
    try:
        loaded = import_module(module) if module is not None else load_script_as_module(str(file))
    except ModuleNotFoundError as error:
        raise InputError(f"There is no module {module!r}: {error}") from error
    except ScriptError:
        raise
    kinds = [
        kind
        for kind in vars(loaded).values()
        if Block.is_block_class(kind) and kind is not Block and ABC not in kind.__bases__
    ]
    if not kinds:
        raise InputError(f"{module or file} defines no types of blocks.")
    for kind in dict.fromkeys(kinds):
        hold(registering(kind))
        say(f"Registered {kind.get_block_type_name()} ({kind.get_block_type_slug()}).")


@block.group(cls=Group, name="type")
def type_() -> None:
    """Look at types of blocks, delete them."""


@type_.command(name="ls")
@json_option
def type_ls(as_json: bool) -> None:
    """List the types of blocks."""
    from riverrun.client.calls.blocks import read_block_types
    from riverrun.client.http import send

    show_list(
        send(read_block_types()),
        ("ID", "Slug", "Name", "Description"),
        lambda each: (str(each.id), each.slug, each.name, (each.description or "-").partition("\n")[0]),
        as_json=as_json,
        nothing="No types of blocks.",
    )


@type_.command(name="inspect")
@click.argument("slug")
@json_option
def type_inspect(slug: str, as_json: bool) -> None:
    """Show a type of blocks."""
    show_one(
        _type(slug),
        lambda found: [
            ("ID", str(found.id)),
            ("Slug", found.slug),
            ("Name", found.name),
            ("Description", found.description or "-"),
            ("Documentation", found.documentation_url or "-"),
            ("Protected", "yes" if found.is_protected else "no"),
            ("Created", exactly_when(found.created)),
            ("Updated", exactly_when(found.updated)),
        ],
        as_json=as_json,
    )


@type_.command(name="delete")
@click.argument("slug")
def type_delete(slug: str) -> None:
    """Delete a type of blocks with all blocks of it."""
    from riverrun.client.calls.blocks import delete_block_type
    from riverrun.client.http import send

    found = _type(slug)
    confirm(f"Delete the type {slug!r} and all blocks of it?")
    send(delete_block_type(found.id))
    say(f"Deleted the type {slug!r}.")


block.add_command(type_, "types")


def _type(slug: str) -> "BlockType":
    from riverrun.client.calls.blocks import read_block_type_by_slug
    from riverrun.client.http import send

    found: Any = send(read_block_type_by_slug(slug))
    return found  # type: ignore[no-any-return]


def _read(slug: str | None, block_id: UUID | None) -> "BlockDocument":
    from riverrun.base.errors import InputError
    from riverrun.client.calls.blocks import read_block_document, read_block_document_by_name
    from riverrun.client.http import send

    either(slug, block_id, "a SLUG (TYPE/NAME) or --id")
    if block_id is not None:
        return send(read_block_document(block_id, include_secrets=False))
    assert slug is not None
    kind, separator, name = slug.partition("/")
    if not separator:
        raise InputError(f"{slug!r} is no slug of a block: it has the form TYPE/NAME, as in secret/my-token.")
    return send(read_block_document_by_name(name, kind, include_secrets=False))
