"""Blocks over HTTP: types, schemas, documents."""

from typing import Any
from uuid import uuid4

import httpx
import pytest

from riverrun.base.errors import DeniedError
from riverrun.server.blocks import documents, schemas, system
from riverrun.server.db.engine import open_database
from riverrun.server.db.schema import upgrade
from riverrun.server.db.tables import block_document
from riverrun.server.db.units import Caller
from riverrun.server.store import Store
from riverrun.server.vault import Vault
from riverrun.wire.blocks import BlockDocumentCreate

MASK = "********"


def make_type(api: httpx.Client, **fields: Any) -> dict[str, Any]:
    slug = f"t-{uuid4().hex}"
    answer = api.post("/block_types/", json={"name": slug, "slug": slug, **fields})
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


def make_schema(api: httpx.Client, of: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    block_type = of or make_type(api)
    more = {key: fields.pop(key) for key in ("capabilities", "version") if key in fields}
    content = {"title": block_type["slug"], "type": "object", "block_type_slug": block_type["slug"], **fields}
    answer = api.post("/block_schemas/", json={"fields": content, "block_type_id": block_type["id"], **more})
    assert answer.status_code in (200, 201), answer.text
    made: dict[str, Any] = answer.json()
    return made


def make(api: httpx.Client, schema: dict[str, Any], data: dict[str, Any], **fields: Any) -> dict[str, Any]:
    body = {"name": f"d-{uuid4().hex}", "data": data, "block_schema_id": schema["id"]}
    answer = api.post("/block_documents/", json={**body, "block_type_id": schema["block_type_id"], **fields})
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


def reference(document: dict[str, Any]) -> dict[str, Any]:
    return {"$ref": {"block_document_id": document["id"]}}


def data_of(api: httpx.Client, document: dict[str, Any], *, secrets: bool = False) -> Any:
    return api.get(f"/block_documents/{document['id']}", params={"include_secrets": secrets}).json()["data"]


# -- types ------------------------------------------------------------------------------------------------------------------


def test_a_type_lives_by_id_and_slug(api: httpx.Client) -> None:
    made = make_type(api, description="<b>", code_example="x = 1", logo_url="https://example.com/a.png")
    assert made["is_protected"] is False
    assert api.get(f"/block_types/{made['id']}").json() == made == api.get(f"/block_types/slug/{made['slug']}").json()
    body = {"description": "new", "logo_url": None}
    assert api.patch(f"/block_types/{made['id']}", json=body).status_code == 204
    changed = api.get(f"/block_types/{made['id']}").json()
    assert (changed["description"], changed["logo_url"], changed["code_example"]) == ("new", None, "x = 1")
    assert api.patch(f"/block_types/{made['id']}", json=body).status_code == 204
    assert api.get(f"/block_types/{made['id']}").json()["updated"] == changed["updated"]
    document = make(api, make_schema(api, made), {})
    assert api.delete(f"/block_types/{made['id']}").status_code == 204
    assert api.get(f"/block_documents/{document['id']}").status_code == 404
    assert {
        api.get(f"/block_types/{made['id']}").status_code,
        api.patch(f"/block_types/{made['id']}", json={}).status_code,
        api.delete(f"/block_types/{made['id']}").status_code,
        api.get(f"/block_types/slug/{made['slug']}/block_documents").status_code,
    } == {404}


def test_names_of_types(api: httpx.Client) -> None:
    made = make_type(api)

    def status(name: str, slug: str) -> int:
        return api.post("/block_types/", json={"name": name, "slug": slug}).status_code

    assert status("other", made["slug"]) == 409
    assert {status(name, f"p-{uuid4().hex}") for name in ("Prefect", "prefect_type", "pReFeCt!")} == {403}
    assert {status("fine", slug) for slug in ("a b", "A", "", "s" * 501)} == {422}
    assert {status(name, "fine") for name in ("a/b", "a%b", "")} == {422}
    assert status("my👍block|type", f"s-{uuid4().hex}") == 201


def test_types_are_found(fresh_api: httpx.Client) -> None:
    api = fresh_api
    duck, bird, cat = (make_type(api, name=name) for name in ("Duck", "bird", "Cat"))
    make_schema(api, duck, capabilities=["fly", "swim"])
    make_schema(api, bird, capabilities=["fly"])

    def found(**body: Any) -> set[str]:
        return {one["name"] for one in api.post("/block_types/filter", json=body).json()}

    assert found() == {"Duck", "bird", "Cat"}
    assert found(block_types={"name": {"like_": "C"}}) == {"Duck", "Cat"}
    assert found(block_types={"slug": {"any_": [cat["slug"]]}}) == {"Cat"}
    assert found(block_schemas={"block_capabilities": {"all_": ["fly"]}}) == {"Duck", "bird"}
    assert found(block_schemas={"block_capabilities": {"all_": ["fly", "swim"]}}) == {"Duck"}
    assert len(api.post("/block_types/filter", json={"limit": 2}).json()) == 2
    assert api.get("/block_capabilities/").json() == ["fly", "swim"]


def test_the_system_brings_types(fresh_api: httpx.Client) -> None:
    for _ in range(2):
        assert fresh_api.post("/block_types/install_system_block_types").status_code == 200
    types = fresh_api.post("/block_types/filter").json()
    assert {(one["slug"], one["is_protected"]) for one in types} == {
        ("secret", True),
        ("webhook", True),
        ("local-file-system", True),
    }
    schemas = fresh_api.post("/block_schemas/filter").json()
    assert len(schemas) == 3
    assert fresh_api.delete(f"/block_types/{types[0]['id']}").status_code == 403
    assert fresh_api.delete(f"/block_schemas/{schemas[0]['id']}").status_code == 403
    secret = next(one for one in schemas if one["block_type"]["slug"] == "secret")
    assert make(fresh_api, secret, {"value": {"user": "me"}})["data"] == {"value": MASK}


# -- schemas ----------------------------------------------------------------------------------------------------------------


def test_a_schema_is_kept_once(api: httpx.Client) -> None:
    block_type = make_type(api)
    body = {"fields": {"x": {"type": uuid4().hex}}, "block_type_id": block_type["id"], "capabilities": ["b", "a", "b"]}
    first, again = api.post("/block_schemas/", json=body), api.post("/block_schemas/", json=body)
    assert (first.status_code, again.status_code) == (201, 200)
    made = first.json()
    assert again.json() == made
    assert (made["capabilities"], made["version"], made["block_type"]["id"]) == (
        ["b", "a"],
        "non-versioned",
        block_type["id"],
    )
    later = api.post("/block_schemas/", json={**body, "version": "2"}).json()
    assert later["checksum"] == made["checksum"]
    assert later["id"] != made["id"]
    path = f"/block_schemas/checksum/{made['checksum']}"
    assert api.get(path).json() == later
    assert api.get(path, params={"version": "non-versioned"}).json() == made
    assert api.get(path, params={"version": "3"}).status_code == 404
    mine = {"block_schemas": {"block_type_id": {"any_": [block_type["id"]]}}}
    assert [one["id"] for one in api.post("/block_schemas/filter", json=mine).json()] == [later["id"], made["id"]]
    assert api.delete(f"/block_schemas/{made['id']}").status_code == 204
    assert {api.get(f"/block_schemas/{made['id']}").status_code} == {404}
    assert api.post("/block_schemas/", json={**body, "block_type_id": str(uuid4())}).status_code == 404


_I = {"title": "I", "block_type_slug": "i", "properties": {"d": {"$ref": "#/definitions/M"}}}
_DEFINED = {"I": _I, "N": {"title": "N"}, "M": {"title": "ü"}, "U": {"title": "unused"}}
_PROPERTIES = {"b": {"$ref": "#/definitions/I"}, "c": {"$ref": "#/definitions/N"}}


@pytest.mark.parametrize(
    ("fields", "checksum"),
    [
        ({}, "f8e6e96abbc38504d4e9c99fc57281fa0026bede1fa42db79f22f984501710f4"),
        (
            {"title": "x", "secret_fields": ["a"], "properties": _PROPERTIES, "definitions": _DEFINED},
            "db163d044bee4c821fa2ba1de124e0ea9c5726f812a0d3740c9aac7b9c996670",
        ),
    ],
)
def test_a_schema_has_the_checksum_that_the_peers_client_computes(
    api: httpx.Client, fields: dict[str, Any], checksum: str
) -> None:
    made = api.post("/block_schemas/", json={"fields": fields, "block_type_id": make_type(api)["id"]})
    assert made.json()["checksum"] == f"sha256:{checksum}"


def test_blocks_inside_a_schema_are_known(api: httpx.Client) -> None:
    inner = make_type(api)
    definition = {"title": "Inner", "type": "object", "properties": {"a": {}}, "block_type_slug": inner["slug"]}
    fields = {
        "properties": {"b": {"$ref": "#/definitions/Inner"}},
        "definitions": {"Inner": definition},
        "block_schema_references": {
            "b": {"block_type_slug": inner["slug"], "block_schema_checksum": "sha256:not there"},
        },
    }
    outer = make_schema(api, **fields)
    assert outer["fields"]["definitions"] == {"Inner": definition}
    mine = {"block_schemas": {"block_type_id": {"any_": [inner["id"]]}}}
    [nested] = api.post("/block_schemas/filter", json=mine).json()
    assert nested["fields"]["title"] == "Inner"
    fields["block_schema_references"]["b"]["block_type_slug"] = f"none-{uuid4().hex}"  # type: ignore[index]
    body = {"fields": fields, "block_type_id": inner["id"]}
    assert api.post("/block_schemas/", json=body).status_code == 409
    for strange in ([], {"b": 3}, {"b": {"block_type_slug": 1}}):
        body = {"fields": {"block_schema_references": strange, "x": uuid4().hex}, "block_type_id": inner["id"]}
        assert api.post("/block_schemas/", json=body).status_code == (422 if strange else 201)
    for strange in ([], 3, {"Inner": 3}, {"Inner": []}):
        body = {"fields": {**fields, "definitions": strange, "x": uuid4().hex}, "block_type_id": inner["id"]}
        assert api.post("/block_schemas/", json=body).status_code == 409


# -- documents --------------------------------------------------------------------------------------------------------------


def test_a_document_lives_by_id_and_by_name(api: httpx.Client) -> None:
    schema = make_schema(api, capabilities=["fly"])
    made = make(api, schema, {"x": 1, "y": [{"z": None}]})
    assert made["data"] == {"x": 1, "y": [{"z": None}]}
    assert made["block_schema"] == schema
    assert made["block_type"]["name"] == made["block_type_name"]
    slug = made["block_type"]["slug"]
    assert api.get(f"/block_documents/{made['id']}").json() == made
    assert api.get(f"/block_types/slug/{slug}/block_documents/name/{made['name']}").json() == made
    assert api.get(f"/block_types/slug/{slug}/block_documents").json() == [made]
    assert api.delete(f"/block_documents/{made['id']}").status_code == 204
    assert {
        api.get(f"/block_documents/{made['id']}").status_code,
        api.delete(f"/block_documents/{made['id']}").status_code,
        api.patch(f"/block_documents/{made['id']}", json={}).status_code,
        api.get(f"/block_types/slug/{slug}/block_documents/name/{made['name']}").status_code,
    } == {404}


def test_names_of_documents(api: httpx.Client) -> None:
    schema, other = make_schema(api), make_schema(api)
    made = make(api, schema, {})
    assert make(api, other, {}, name=made["name"])
    body = {"data": {}, "block_schema_id": schema["id"], "block_type_id": schema["block_type_id"]}
    assert api.post("/block_documents/", json={**body, "name": made["name"]}).status_code == 409
    for name in ("my block", "my%block", "my/block", "my👍block", "UP", "n" * 501, None, ""):
        answer = api.post("/block_documents/", json={**body, "name": name})
        assert answer.status_code == 422
        assert answer.json()["exception_detail"][0]["loc"] == ["body", "name"]
    for key, status in (("block_schema_id", 409), ("block_type_id", 404)):
        assert api.post("/block_documents/", json={**body, "name": "x", key: str(uuid4())}).status_code == status
    body["block_type_id"] = other["block_type_id"]
    assert api.post("/block_documents/", json={**body, "name": "x"}).status_code == 400


def test_anonymous_documents_are_shown_when_asked_for(api: httpx.Client) -> None:
    schema = make_schema(api)
    named = make(api, schema, {})
    hidden = [make(api, schema, {}, name=None, is_anonymous=True) for _ in range(2)]
    assert all(one["name"].startswith("anonymous-") for one in hidden)

    def found(is_anonymous: Any) -> set[str]:
        mine = {"block_type_id": {"any_": [schema["block_type_id"]]}, "is_anonymous": is_anonymous}
        if is_anonymous is ...:
            del mine["is_anonymous"]
        ids = {one["id"] for one in api.post("/block_documents/filter", json={"block_documents": mine}).json()}
        assert api.post("/block_documents/count", json={"block_documents": mine}).json() == len(ids)
        return ids

    everything = {named["id"], *(one["id"] for one in hidden)}
    assert found(...) == {named["id"]} == found({"eq_": False})
    assert found({"eq_": True}) == everything - {named["id"]}
    assert found(None) == everything == found({"eq_": None})


def test_documents_are_found(fresh_api: httpx.Client) -> None:
    api = fresh_api
    zebra, ant = (make_schema(api, make_type(api, name=name), capabilities=[name]) for name in ("zebra", "ant"))
    for name, schema in (("b-1", zebra), ("a-1", zebra), ("c-2", ant)):
        make(api, schema, {}, name=name)

    def found(**body: Any) -> list[str]:
        return [one["name"] for one in api.post("/block_documents/filter", json=body).json()]

    assert found() == ["a-1", "b-1", "c-2"]
    assert found(sort="NAME_DESC", limit=2) == ["c-2", "b-1"]
    assert found(sort="BLOCK_TYPE_AND_NAME_ASC") == ["c-2", "a-1", "b-1"]
    assert found(offset=1, limit=1) == ["b-1"]
    assert found(block_documents={"name": {"like_": "-1"}}) == ["a-1", "b-1"]
    assert found(block_documents={"name": {"like_": "_-2"}}) == ["c-2"]
    assert found(block_types={"slug": {"any_": [ant["block_type"]["slug"]]}}) == ["c-2"]
    assert found(block_schemas={"block_capabilities": {"all_": ["zebra"]}}) == ["a-1", "b-1"]
    assert api.post("/block_documents/count").json() == 3
    assert api.post("/block_documents/filter", json={"limit": 201}).status_code == 422


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"data": {"y": 99}}, {"x": 1, "y": 99}),
        ({"data": {"x": 4}, "merge_existing_data": False}, {"x": 4}),
        ({"data": {}, "merge_existing_data": False}, {}),
        ({}, {"x": 1, "y": 2}),
    ],
)
def test_data_is_merged_unless_told_otherwise(api: httpx.Client, body: dict[str, Any], expected: Any) -> None:
    made = make(api, make_schema(api), {"x": 1, "y": 2})
    assert api.patch(f"/block_documents/{made['id']}", json=body).status_code == 204
    assert data_of(api, made) == expected


def test_a_document_moves_to_a_schema_of_its_type(api: httpx.Client) -> None:
    old = make_schema(api)
    new = make_schema(api, old["block_type"], properties={"n": {"type": "integer"}})
    made = make(api, old, {"x": 1})
    path = f"/block_documents/{made['id']}"
    assert api.patch(path, json={"block_schema_id": new["id"], "data": {}}).status_code == 204
    assert api.get(path).json()["block_schema_id"] == new["id"]
    assert api.patch(path, json={"block_schema_id": make_schema(api)["id"]}).status_code == 400
    assert api.patch(path, json={"block_schema_id": str(uuid4())}).status_code == 404


# -- documents inside documents ---------------------------------------------------------------------------------------------


def test_the_inner_document_is_read_in_its_place(api: httpx.Client) -> None:
    schema = make_schema(api)
    innermost = make(api, schema, {"n": 1})
    inner = make(api, schema, {"deep": reference(innermost)})
    outer = make(api, schema, {"b": reference(inner), "z": "z"})
    assert outer["data"] == {"b": {"deep": {"n": 1}}, "z": "z"}
    told = outer["block_document_references"]["b"]["block_document"]
    assert (told["id"], told["name"], told["is_anonymous"]) == (inner["id"], inner["name"], False)
    assert told["block_document_references"]["deep"]["block_document"]["id"] == innermost["id"]
    api.patch(f"/block_documents/{innermost['id']}", json={"data": {"n": 2}})
    assert data_of(api, outer) == {"b": {"deep": {"n": 2}}, "z": "z"}
    other = make(api, schema, {"n": 3})
    api.patch(f"/block_documents/{outer['id']}", json={"data": {"b": reference(other)}})
    assert data_of(api, outer) == {"b": {"n": 3}, "z": "z"}
    api.delete(f"/block_documents/{other['id']}")
    assert data_of(api, outer) == {"z": "z"}
    api.patch(f"/block_documents/{outer['id']}", json={"data": {"b": {}, "z": "z"}, "merge_existing_data": False})
    whole = api.get(f"/block_documents/{outer['id']}").json()
    assert (whole["data"], whole["block_document_references"]) == ({"b": {}, "z": "z"}, {})


def test_references_that_lead_nowhere_are_refused(api: httpx.Client) -> None:
    schema = make_schema(api)
    inner = make(api, schema, {})
    outer = make(api, schema, {"b": reference(inner)})

    def status(document: dict[str, Any], value: Any) -> int:
        return api.patch(f"/block_documents/{document['id']}", json={"data": {"b": value}}).status_code

    assert status(outer, {"$ref": {"block_document_id": str(uuid4())}}) == 409
    assert {status(outer, {"$ref": value}) for value in ({}, {"block_document_id": "x"}, "x", None)} == {400}
    assert status(outer, reference(outer)) == 400
    assert status(inner, reference(outer)) == 400
    assert data_of(api, outer) == {"b": {}}


# -- secrets ----------------------------------------------------------------------------------------------------------------

SECRETS = ["password", "headers.*", "child.token", "list.token"]
DATA = {
    "password": "pass",
    "headers": {"a": "one", "b": {"c": "two"}},
    "child": {"token": "three", "open": 1},
    "list": [{"token": "four"}, {"open": 2}],
    "open": "five",
}
COVERED = {
    "password": MASK,
    "headers": {"a": MASK, "b": {"c": MASK}},
    "child": {"token": MASK, "open": 1},
    "list": [{"token": MASK}, {"open": 2}],
    "open": "five",
}


def test_secrets_are_covered_unless_asked_for(api: httpx.Client) -> None:
    schema = make_schema(api, secret_fields=SECRETS)
    made = make(api, schema, DATA)
    assert made["data"] == COVERED == data_of(api, made)
    assert data_of(api, made, secrets=True) == DATA
    outer = make(api, make_schema(api), {"b": reference(made)})
    assert data_of(api, outer) == {"b": COVERED}
    assert data_of(api, outer, secrets=True) == {"b": DATA}
    mine = {"block_documents": {"id": {"any_": [made["id"]]}}}
    assert api.post("/block_documents/filter", json=mine).json()[0]["data"] == COVERED
    assert api.post("/block_documents/filter", json={**mine, "include_secrets": True}).json()[0]["data"] == DATA


def test_covered_secrets_that_come_back_change_nothing(api: httpx.Client) -> None:
    made = make(api, make_schema(api, secret_fields=SECRETS), DATA)
    path = f"/block_documents/{made['id']}"
    for merge in (True, False):
        body = {"data": {**COVERED, "open": "new"}, "merge_existing_data": merge}
        assert api.patch(path, json=body).status_code == 204
        assert data_of(api, made, secrets=True) == {**DATA, "open": "new"}
    api.patch(path, json={"data": {"password": "changed"}})
    assert data_of(api, made, secrets=True)["password"] == "changed"


def test_secrets_need_a_permission(fresh_store_url: str) -> None:
    with open_database(fresh_store_url) as database:
        upgrade(database)
        store = Store(database, vault=Vault([bytes(32)]))
        store.write_now(system.install)
        kept = store.read_now(lambda reader: schemas.page(reader, None, 10, 0))
        secret = next(one for one in kept if one.fields["block_type_slug"] == "secret")
        assert secret.block_type_id is not None
        body = BlockDocumentCreate(
            name="s", data={"value": "v"}, block_schema_id=secret.id, block_type_id=secret.block_type_id
        )
        made = store.write_now(lambda unit: documents.create(unit, body))

        def read(permissions: set[str], *, secrets: bool) -> Any:
            caller = Caller(name="reader", permissions=frozenset(permissions))
            found = store.read_now(
                lambda reader: documents.answers(reader, [documents.find(reader, made.id)], secrets=secrets), caller
            )
            return found[0].data["value"]

        try:
            assert read({"blocks:read"}, secrets=False) == MASK
            assert read({"blocks:read", "blocks:secrets"}, secrets=True) == "v"
            with pytest.raises(DeniedError, match="blocks:secrets"):
                read({"blocks:read"}, secrets=True)
        finally:
            store.close()


def test_documents_stand_sealed_in_the_store(fresh_api: httpx.Client, fresh_store_url: str) -> None:
    make(fresh_api, make_schema(fresh_api), {"open": "the plain words"})
    with open_database(fresh_store_url) as database, database.read() as connection:
        stored = connection.execute(block_document.select()).one().data
    assert b"plain" not in bytes(stored)


# -- where results are kept -------------------------------------------------------------------------------------------------


def test_a_block_is_the_default_storage_of_results(fresh_api: httpx.Client) -> None:
    api = fresh_api
    nothing = {"default_result_storage_block_id": None}
    assert api.get("/admin/storage").json() == nothing
    files = make(api, make_schema(api, capabilities=["write-path"]), {})
    other = make(api, make_schema(api), {})

    def put(block_id: str) -> httpx.Response:
        return api.put("/admin/storage", json={"default_result_storage_block_id": block_id})

    assert (
        put(files["id"]).json() == {"default_result_storage_block_id": files["id"]} == api.get("/admin/storage").json()
    )
    assert (put(other["id"]).status_code, put(str(uuid4())).status_code) == (422, 404)
    assert api.delete("/admin/storage").status_code == 204
    assert api.get("/admin/storage").json() == nothing
    for gone in ("block_documents/" + files["id"],):
        put(files["id"])
        api.delete(gone)
        assert api.get("/admin/storage").json() == nothing
    files = make(api, make_schema(api, capabilities=["write-path", "read-path"]), {})
    put(files["id"])
    api.delete(f"/block_types/{files['block_type_id']}")
    assert api.get("/admin/storage").json() == nothing
