"""Hostile requests to every operation: never a 5xx, and nothing is taken that makes a list unreadable afterwards.

The requests are made from the interface's own document: a body that fits, with one field after the other replaced by what
databases, decoders and renderers trip over. `make fuzz` runs schemathesis for longer.
"""

import itertools
import json
import random
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import httpx
import msgspec
import pytest

from riverrun.server.app import all_routes
from riverrun.server.http.openapi import document

pytestmark = [pytest.mark.timeout(180), pytest.mark.slow]

HOSTILE = (
    '"\\u0000"', '"a\\u0000b"', '"\\ud800"', '"\\udfff x"', '"\\u202e\\u0007\\u001b[31m"', '""', '" "', '"/"', '"../../etc/passwd"',
    '"%"', '"\' OR 1=1 --"', '"{{ 9**9**9 }}"', '"${HOME}"', '"\\ud83d\\ude00"', '"' + "x" * 1_000_000 + '"', '"' + "y" * 300 + '"',
    '"9999-12-31T23:59:59.999999Z"', '"0001-01-01T00:00:00Z"', '"2026-01-01"', '"9999-12-31T23:59:59-14:00"', '"24:00"', '"P1D"',
    "9" * 4299, "-" + "9" * 4299, str(2**63), str(-(2**63) - 1), str(2**63 - 1), str(-(2**63)), str(2**31), "-1", "0", "1e400", "-1e400",
    "1e308", "0.1", "1e-400", "NaN", "Infinity", "-Infinity", "null", "true", "[]", "{}", "[null]", '[""]', '{"": {}}',
    '{"\\u0000": 1}', '{"a": "\\ud800"}', "[" * 60 + "]" * 60, "[" * 5000 + "]" * 5000, '{"a":' * 100 + "1" + "}" * 100,
    '{"any_": null}', '{"any_": []}', '{"any_": ["\\u0000"]}', '{"is_null_": 7}', '{"$ref": "#"}', '{"__proto__": 1}',
    "[" + ",".join(f'"{uuid4()}"' for _ in range(40_000)) + "]", '"00000000-0000-0000-0000-000000000000"', "[1,[2,[3]]]",
    '{"type": "object", "properties": {"x": {"pattern": "(a+)+$"}}}', '{"any_": ["' + '","'.join(["x"] * 11_000) + '"]}',
)  # fmt: skip
PLACES = (
    "%00",
    "%ED%A0%80",
    "..%2f..",
    "x" * 2000,
    "9" * 400,
    "%E2%98%83",
    "-1",
    "%20",
    "%25",
    "NaN",
    "1e400",
    quote("a/b'\"<>", safe=""),
)
NUMBERS = (str(2**63), str(-(2**63) - 1), "-1", "9" * 400, "1e9", "NaN", "", "%00", "x", "0x10", "1_000")
#: they wait
LEFT_OUT = {"/api/presence"}
#: values tried for each field of a body
EACH = 7

DOCUMENT: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(document(all_routes())))
SCHEMAS = DOCUMENT["components"]["schemas"]
TAGS = sorted({operation["tags"][0] for methods in DOCUMENT["paths"].values() for operation in methods.values()})


def example(schema: dict[str, Any], depth: int = 0) -> Any:
    """A value that fits a schema, as small as it may be."""
    if "$ref" in schema:
        return example(SCHEMAS[schema["$ref"].rpartition("/")[2]], depth)
    if "default" in schema:
        return schema["default"]
    for choice in ("anyOf", "oneOf"):
        if choice in schema:
            return example(schema[choice][0], depth + 1)
    if "enum" in schema:
        return schema["enum"][0]
    kind = schema.get("type")
    if kind == "object":
        needed = schema.get("required", ())
        return {name: example(schema["properties"][name], depth + 1) for name in needed}
    if kind == "string":
        formats = {"uuid": str(uuid4()), "date-time": "2026-01-01T00:00:00Z"}
        return formats.get(schema.get("format", ""), f"n{uuid4().hex[:12]}")
    values = {"integer": max(1, schema.get("minimum", 1)), "number": 1.5, "boolean": True, "array": []}
    return values.get(kind, None)


def properties(schema: dict[str, Any]) -> list[str]:
    if "$ref" in schema:
        return properties(SCHEMAS[schema["$ref"].rpartition("/")[2]])
    found = list(schema.get("properties", ()))
    for choice in schema.get("anyOf", ()):
        found += properties(choice)
    return found


def bodies(schema: dict[str, Any], chosen: random.Random) -> Iterator[str]:
    """Bodies with one hostile value each, and bodies that are hostile as a whole."""
    plain = example(schema)
    yield json.dumps(plain)
    for name in properties(schema):
        for value in chosen.sample(HOSTILE, EACH):
            changed = {**plain, name: "@@"} if isinstance(plain, dict) else {name: "@@"}
            yield json.dumps(changed).replace('"@@"', value)
    for value in chosen.sample(HOSTILE, EACH):
        yield value


def seed(api: httpx.Client) -> dict[str, str]:
    """One object of the nouns that others hang on: its id or name, by the place of its path."""

    def made(path: str, **body: Any) -> dict[str, Any]:
        answer = api.post(path, json=body)
        assert answer.status_code in {200, 201}, (path, answer.text)
        found: dict[str, Any] = answer.json()
        return found

    flow = made("/flows/", name=f"f-{uuid4().hex}")
    run = made("/flow_runs/", flow_id=flow["id"], state={"type": "SCHEDULED"})
    task = made("/task_runs/", flow_run_id=run["id"], task_key="t", dynamic_key=uuid4().hex, state={"type": "PENDING"})
    deployment = made("/deployments/", name=f"d-{uuid4().hex}", flow_id=flow["id"])
    pool = made("/work_pools/", name=f"p-{uuid4().hex}", type="process")
    ids = {
        "flows": flow["id"],
        "flow_runs": run["id"],
        "task_runs": task["id"],
        "deployments": deployment["id"],
        "work_pools": pool["name"],
    }
    ids["artifacts"] = made("/artifacts/", key="k", type="markdown", data="x")["id"]
    ids["variables"] = made("/variables/", name=f"v_{uuid4().hex}", value=1)["id"]
    ids["v2"] = made("/v2/concurrency_limits/", name=f"c-{uuid4().hex}", limit=1)["id"]
    return ids


def filled(path: str, operation: dict[str, Any], ids: dict[str, str]) -> str:
    """The path with values that are there, where there are some."""
    noun = path.split("/")[2]
    for parameter in operation.get("parameters", ()):
        if parameter["in"] == "path":
            value = ids.get(noun) if parameter["name"] in {"id", "work_pool_name", "name"} else None
            path = path.replace("{" + parameter["name"] + "}", value or str(example(parameter["schema"])))
    return path


def operations(tag: str) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in DOCUMENT["paths"].items():
        for method, operation in methods.items():
            if operation["tags"][0] == tag and path not in LEFT_OUT:
                yield path, method.upper(), operation


@pytest.mark.parametrize("tag", TAGS)
def test_hostile_requests_are_answered(api: httpx.Client, tag: str) -> None:
    base = str(api.base_url).removesuffix("/").removesuffix("/api")
    ids = seed(api)
    chosen = random.Random(tag)
    broken: list[str] = []

    def send(method: str, path: str, content: str | None = None) -> None:
        request = api.build_request(method, base + path, content=content, headers={"Content-Type": "application/json"})
        answer = api.send(request)
        if answer.status_code >= 500:
            broken.append(f"{method} {path[:200]} {str(content)[:300]} -> {answer.status_code} {answer.text[:200]}")

    for path, method, operation in operations(tag):
        there = filled(path, operation, ids)
        content = operation.get("requestBody", {}).get("content", {}).get("application/json")
        if content is None:
            send(method, there)
        else:
            for body in bodies(content["schema"], chosen):
                send(method, there, body)
        for parameter in operation.get("parameters", ()):
            if parameter["in"] == "path":
                for value in PLACES:
                    send(
                        method,
                        path.replace("{" + parameter["name"] + "}", value).replace("{", "").replace("}", ""),
                        "{}",
                    )
            else:
                for value in NUMBERS:
                    send(method, f"{there}?{parameter['name']}={value}", "{}")
    assert broken == []
    assert unreadable(api) == []


def unreadable(api: httpx.Client) -> list[str]:
    """The lists that are not answered with a document any more."""
    found = []
    for path, methods in DOCUMENT["paths"].items():
        operation = methods.get("post")
        if operation and "{" not in path and path.endswith(("/filter", "/paginate", "/count")):
            schema = operation["requestBody"]["content"]["application/json"]["schema"]
            answer = api.post(path.removeprefix("/api"), json=example(schema) or {})
            if answer.status_code != 200 or msgspec.json.decode(answer.content) is None:
                found.append(f"{path}: {answer.status_code} {answer.text[:200]}")
    return found


def test_bad_frames_on_the_wire(api: httpx.Client) -> None:
    """What is no HTTP at all is refused, and the server goes on."""
    import socket

    host, port = api.base_url.host, api.base_url.port
    frames = [
        b"\r\n\r\n", b"GET\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00", b"GET / HTTP/9.9\r\n\r\n", b"A" * 100_000,
        b"POST /api/flows/ HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: -1\r\n\r\n",
        b"POST /api/flows/ HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 99999999999999999999\r\n\r\n",
        b"POST /api/flows/ HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET /api/flows/\xff\xfe HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        b"GET /api/health HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"y" * 200_000 + b"\r\n\r\n",
    ]  # fmt: skip
    for frame in frames:
        with socket.create_connection((host, port), timeout=5) as connection:
            connection.sendall(frame)
            connection.shutdown(socket.SHUT_WR)
            parts = iter(lambda connection=connection: connection.recv(65536), b"")
            try:
                answer = b"".join(itertools.islice(parts, 10))
            except ConnectionError:
                answer = b""
            assert not answer.startswith(b"HTTP/1.1 5"), answer[:200]
    assert api.get("/health").json() is True
