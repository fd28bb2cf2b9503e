"""The document of the interface is valid, true to what is served, and holds the operations that clients of the peer know."""

import csv
import re
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from riverrun.server.app import all_routes
from riverrun.server.http.openapi import document

EXPECTED = list(csv.DictReader(Path(__file__).with_name("operations.csv").read_text().splitlines()))
#: riverrun's own
OWN = {
    "GET /metrics", "GET /openapi.json", "POST /journal", "POST /presence", "POST /flow_runs/{}/begin",
    "GET /deployments/{}/next", "GET /deployments/{}/versions", "POST /deployments/{}/rollback",
    "POST /work_pools/{}/claim", "POST /deployments/claim", "POST /workers/presence", "GET /flow_runs/{}/why",
    "GET /find/counts", "GET /find/flow_run", "GET /find/lost", "GET /find/task_run",
}  # fmt: skip
#: the peer's that riverrun does not have
LEFT_OUT = {"POST /templates/validate"}


def plain(path: str) -> str:
    return re.sub(r"\{[^}]*\}", "{}", path.removeprefix("/api"))


@pytest.fixture(scope="module")
def made() -> dict[str, Any]:
    return msgspec.json.decode(msgspec.json.encode(document(all_routes())))


@pytest.fixture(scope="module")
def operations(made: dict[str, Any]) -> dict[str, Any]:
    return {
        f"{method.upper()} {plain(path)}": operation
        for path, methods in made["paths"].items()
        for method, operation in methods.items()
    }


def test_the_document_is_valid_and_served(made: dict[str, Any], api: httpx.Client) -> None:
    assert made["openapi"] == "3.1.0"
    OpenAPIV31SpecValidator(made).validate()
    assert api.get("/openapi.json").json() == made
    root = str(api.base_url).removesuffix("/api/").removesuffix("/api")
    assert httpx.get(f"{root}/openapi.json").json() == made


def test_every_operation_is_there(operations: dict[str, Any]) -> None:
    expected = {f"{row['method']} {row['path']}" for row in EXPECTED}
    assert sorted(expected - set(operations) - LEFT_OUT) == []
    assert sorted(set(operations) - expected) == sorted(OWN)


@pytest.mark.parametrize("row", EXPECTED, ids=[f"{row['method']} {row['path']}" for row in EXPECTED])
def test_operations_agree(operations: dict[str, Any], row: dict[str, str]) -> None:
    operation = operations.get(f"{row['method']} {row['path']}")
    if operation is None:
        return  # told of by the test above
    successes = {status for status in operation["responses"] if status < "3"}
    assert set(row["statuses"].split()) <= successes
    query = {parameter["name"] for parameter in operation.get("parameters", ()) if parameter["in"] == "query"}
    assert query == set(row["query"].split())
    body = operation.get("requestBody")
    assert (body is not None) == bool(row["body"])
    if row["body"] == "body?":
        assert not body["required"]


def test_identifiers_are_unique_and_references_resolve(made: dict[str, Any], operations: dict[str, Any]) -> None:
    identifiers = [operation["operationId"] for operation in operations.values()]
    assert len(set(identifiers)) == len(identifiers)
    text = msgspec.json.encode(made).decode()
    for name in set(re.findall(r'"#/components/schemas/([^"]+)"', text)):
        assert name in made["components"]["schemas"]


def test_slashes_and_extras_are_as_served(made: dict[str, Any], operations: dict[str, Any]) -> None:
    assert "/api/flows/" in made["paths"]
    assert "/api/flows/filter" in made["paths"]
    schemas = made["components"]["schemas"]
    assert schemas["FlowCreate"]["additionalProperties"] is False
    assert "additionalProperties" not in schemas["StateDetails"]
    refused = {"400", "401", "403", "413", "415", "421", "422", "503"}
    assert refused <= set(operations["POST /flows/"]["responses"])
    assert operations["POST /flows/"]["x-permission"] == "flows:write"
