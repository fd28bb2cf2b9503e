"""Settings, the storage of results, catalogues, and checks of forms over HTTP."""

from typing import Any

from riverrun.base.errors import ObjectNotFound
from riverrun.server.admin import storage, views
from riverrun.server.db.units import Reader, Transaction
from riverrun.server.http.errors import HTTPError
from riverrun.server.http.table import Call, Routes
from riverrun.server.templates import hydration
from riverrun.server.templates.settle import Request, settle
from riverrun.server.variables.logic import values_of
from riverrun.wire.admin import (
    SchemaValuesValidationResponse,
    ServerDefaultResultStorage,
    ServerDefaultResultStorageUpdate,
)
from riverrun.wire.requests import UiSchemasValidateBody

of_admin = Routes("/admin", "Admin")


@of_admin.get("/settings", permission="settings:read", returns=dict[str, Any])
async def read_settings(call: Call) -> dict[str, Any]:
    """The settings of the server, with secrets covered."""
    return views.settings_told()


@of_admin.get("/storage", permission="storage:read", returns=ServerDefaultResultStorage)
def read_server_default_result_storage(reader: Reader) -> ServerDefaultResultStorage:
    return storage.read(reader)


@of_admin.put("/storage", permission="storage:write", returns=ServerDefaultResultStorage, errors=(404,))
def update_server_default_result_storage(
    transaction: Transaction, body: ServerDefaultResultStorageUpdate
) -> ServerDefaultResultStorage:
    return storage.write(transaction, body.default_result_storage_block_id)


@of_admin.delete("/storage", permission="storage:write", status=204)
def clear_server_default_result_storage(transaction: Transaction) -> None:
    storage.clear(transaction)


of_collections = Routes("/collections", "Collections")


@of_collections.get("/views/{view}", permission="collections:read", returns=dict[str, Any], errors=(404,))
async def read_view_content(call: Call, view: str) -> dict[str, Any]:
    """What there is of a kind; `aggregate-worker-metadata` lists types of workers."""
    if view not in views.COLLECTIONS:
        raise ObjectNotFound(f"There is no view {view!r}; there are {', '.join(views.COLLECTIONS)}.")
    return views.COLLECTIONS[view]


of_schemas = Routes("/ui/schemas", "UI")


@of_schemas.post("/validate", permission="variables:read", returns=SchemaValuesValidationResponse)
async def validate_obj(call: Call, body: UiSchemasValidateBody) -> SchemaValuesValidationResponse:
    """What is wrong with the values of a form, by the place in it."""
    names = hydration.variable_names(body.values)
    known = await call.store.read(lambda reader: values_of(reader, names), call.caller) if names else {}
    outcome = await settle(Request(value=body.values, variables=known, schema=body.schema))
    errors = outcome.errors
    if outcome.form_error is not None:
        errors = await _errors_with_forms(body, known)
    elif outcome.schema_error is not None:
        raise HTTPError(422, outcome.schema_error)
    return SchemaValuesValidationResponse(errors=errors, valid=not errors)


async def _errors_with_forms(body: UiSchemasValidateBody, known: dict[str, Any]) -> list[Any]:
    """The errors where some values are forms that stand for nothing: those by themselves, the others by the schema."""
    broken = {}
    for name, value in body.values.items():
        outcome = await settle(Request(value=value, variables=known))
        if outcome.form_error is not None:
            broken[name] = {"property": name, "errors": [outcome.form_error]}
    rest = {name: value for name, value in body.values.items() if name not in broken}
    outcome = await settle(Request(value=rest, variables=known, schema=body.schema))
    if outcome.schema_error is not None:
        raise HTTPError(422, outcome.schema_error)
    others = [error for error in outcome.errors if not isinstance(error, dict) or error.get("property") not in broken]
    return [*broken.values(), *others]


routes = [*of_admin, *of_collections, *of_schemas]
