"""The types that a server brings along, protected, so that people find them before a client has registered any."""

from typing import Any

from riverrun.base.errors import ObjectNotFound
from riverrun.server.blocks import schemas, types
from riverrun.server.db.units import Transaction
from riverrun.wire.blocks import BlockSchemaCreate, BlockTypeCreate

_TEXT: dict[str, Any] = {"type": "string"}
_SECRET: dict[str, Any] = {**_TEXT, "format": "password", "writeOnly": True}

#: slug: name, what it is for, capabilities, secret fields, properties, those that are required
_TYPES: dict[str, tuple[str, str, list[str], list[str], dict[str, dict[str, Any]], list[str]]] = {
    "secret": (
        "Secret",
        "Keeps a secret text or JSON value.",
        [],
        ["value"],
        {"value": {**_SECRET, "title": "Value", "description": "What to keep secret."}},
        ["value"],
    ),
    "webhook": (
        "Webhook",
        "Calls a URL.",
        [],
        ["url", "headers.*"],
        {
            "method": {
                **_TEXT,
                "title": "Method",
                "default": "POST",
                "enum": ["GET", "POST", "PUT", "PATCH", "DELETE"],
                "description": "The method of the request.",
            },
            "url": {**_SECRET, "title": "Webhook URL", "description": "Where to call."},
            "headers": {"type": "object", "title": "Webhook Headers", "description": "Headers of the request."},
            "allow_private_urls": {
                "type": "boolean",
                "title": "Allow Private Urls",
                "default": True,
                "description": "Whether addresses that are not on the public internet may be called.",
            },
            "verify": {
                "type": "boolean",
                "title": "Verify",
                "default": True,
                "description": "Whether the certificate of the other side must be valid.",
            },
        },
        ["url"],
    ),
    "local-file-system": (
        "Local File System",
        "Keeps files below a directory of the machine that uses it.",
        ["get-directory", "put-directory", "read-path", "write-path"],
        [],
        {"basepath": {**_TEXT, "title": "Basepath", "description": "The directory; relative paths start here."}},
        [],
    ),
}


def install(transaction: Transaction) -> None:
    """Let the system's types and their schemas be there. What is there already stays as it is."""
    for slug, (name, doc, capabilities, secret_fields, properties, required) in _TYPES.items():
        try:
            type_id = types.find(transaction, slug).id
        except ObjectNotFound:
            body = BlockTypeCreate(name=name, slug=slug, description=doc)
            type_id = types.create(transaction, body, protected=True).id
        fields = {
            "title": name.replace(" ", ""),
            "description": doc,
            "type": "object",
            "properties": {key: {**value, "position": at} for at, (key, value) in enumerate(properties.items())},
            "required": required,
            "block_type_slug": slug,
            "secret_fields": secret_fields,
            "block_schema_references": {},
        }
        schemas.create(transaction, BlockSchemaCreate(fields=fields, block_type_id=type_id, capabilities=capabilities))
