"""Who is let in: other origins and hosts never, strangers not when credentials are asked for, and nothing by being forgotten."""

import base64
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from riverrun.base.errors import InputError
from riverrun.server.app import all_routes, check_permissions
from riverrun.server.http import auth
from riverrun.server.http.table import PUBLIC, Call, Routes
from riverrun.server.process import Plan, check_exposure, hosts_of, is_loopback
from riverrun.server.serve import Options, in_thread
from tests.server.processes import command, server

KEY = auth.make_key("svc")
HASHED = auth.make_key("wkr")
AUTH_STRING = "admin:pa:ss wörd"
CREDENTIALS = auth.credentials_of(AUTH_STRING, [KEY, f"sha256:{auth.digest(HASHED)}"])

#: what a page of another site, or a name that is made to point at this machine, may send: all of them must be refused
FORGED = {
    "rebound name": {"Host": "evil.example"},
    "rebound name and port": {"Host": "evil.example:4200"},
    "name that begins like ours": {"Host": "localhost.evil.example"},
    "name that ends like ours": {"Host": "evil.localhost"},
    "address of the network": {"Host": "192.168.1.10:4200"},
    "no name": {"Host": ""},
    "origin of another site": {"Origin": "https://evil.example"},
    "origin of nobody": {"Origin": "null"},
    "origin on another port": {"Origin": "http://127.0.0.1:1"},
    "marked cross-site": {"Sec-Fetch-Site": "cross-site"},
    "form": {"Content-Type": "application/x-www-form-urlencoded"},
    "plain text": {"Content-Type": "text/plain;charset=UTF-8"},
    "multipart": {"Content-Type": "multipart/form-data; boundary=x"},
    "a browser's blob without a type": {"Content-Type": "", "Sec-Fetch-Site": "same-origin"},
}


@pytest.mark.parametrize("headers", FORGED.values(), ids=FORGED)
def test_forged_requests_are_refused(api: httpx.Client, headers: dict[str, str]) -> None:
    name = f"forged-{abs(hash(str(headers)))}"
    given = {"Content-Type": "application/json", **headers}
    if not given["Content-Type"]:
        del given["Content-Type"]
    answer = api.post("/flows/", content=f'{{"name": "{name}"}}', headers=given)
    assert answer.status_code in {403, 415, 421}, answer.text
    assert api.get(f"/flows/name/{name}").status_code == 404


@pytest.mark.parametrize("headers", [headers for headers in FORGED.values() if "Host" in headers], ids=str)
def test_other_names_do_not_even_read(api: httpx.Client, headers: dict[str, str]) -> None:
    assert api.get("/admin/version", headers=headers).status_code == 421


def test_own_pages_and_plain_clients_are_served(api: httpx.Client) -> None:
    own = str(api.base_url).removesuffix("/api/").removesuffix("/api")
    for number, headers in enumerate(
        [
            {},
            {"Origin": own},
            {"Sec-Fetch-Site": "same-origin"},
            {"Host": "localhost:4200"},
            {"Host": "[::1]:9"},
            {"Host": "LocalHost"},
        ]
    ):
        answer = api.post("/flows/", json={"name": f"own-{number}"}, headers=headers)
        assert answer.status_code == 201, (headers, answer.text)


def test_no_other_origin_may_read(api: httpx.Client) -> None:
    asked = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    answer = api.options("/flows/", headers=asked)
    assert answer.status_code == 405
    got = api.get("/admin/version", headers={"Origin": "https://evil.example"})
    for response in (answer, got, api.get("/nothing"), api.post("/flows/", content=b"{")):
        assert not [name for name in response.headers if name.startswith("access-control-")]
        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.headers["x-frame-options"] == "DENY"
        assert response.headers["cache-control"] == "no-store"
        assert "frame-ancestors 'none'" in response.headers["content-security-policy"]
        assert response.headers["x-request-id"]


# -- permissions -------------------------------------------------------------------------------------------------------------


def test_every_route_declares_a_permission() -> None:
    routes = all_routes()
    check_permissions(routes)
    public = {f"{route.method} {route.path}" for route in routes if route.permission == PUBLIC}
    assert public == {
        "GET /api/admin/version", "GET /api/csrf-token", "GET /api/health", "GET /api/hello", "GET /api/openapi.json",
        "GET /api/ready", "GET /api/version",
    }  # fmt: skip


def test_a_route_without_a_permission_is_not_served() -> None:
    async def handler(call: Call) -> None: ...

    with pytest.raises(ValueError, match="declares no permission"):
        Routes("", "x").get("/x", permission="")(handler)
    careless = Routes("", "x")
    careless.get("/x", permission="everything")(handler)
    with pytest.raises(ValueError, match=r"GET /x declares no permission"):
        check_permissions(careless.all)


# -- credentials -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server that asks for credentials."""
    path = tmp_path_factory.mktemp("guarded") / "riverrun.db"
    with in_thread(f"sqlite:///{path}", options=Options(services=False, credentials=CREDENTIALS)) as base:
        yield base


def basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


REFUSED = {
    "nothing": None,
    "another key": f"Bearer {auth.make_key('svc')}",
    "the digest": f"Bearer sha256:{auth.digest(HASHED)}",
    "the bare digest": f"Bearer {auth.digest(KEY)}",
    "the key as a scheme": KEY,
    "no credentials": "Bearer",
    "another password": basic("admin:guess"),
    "not base64": "Basic %%%",
    "not text": "Basic " + base64.b64encode(b"\xff\xfe").decode(),
    "another scheme": f"Digest {KEY}",
}


def test_strangers_are_refused_everywhere(guarded: str) -> None:
    with httpx.Client(base_url=guarded) as client:
        for route in all_routes():
            if route.method == "WEBSOCKET":
                continue
            path = re.sub(r"\{[^}]*\}", "0190a1b2-0000-7000-8000-000000000000", route.path)
            answer = client.request(route.method, path)
            assert (answer.status_code == 401) == (route.permission != PUBLIC), (route.method, path, answer.text)
        assert client.get("/metrics").status_code == 401


@pytest.mark.parametrize("given", REFUSED.values(), ids=REFUSED)
def test_wrong_credentials_are_refused(guarded: str, given: str | None) -> None:
    headers = {} if given is None else {"Authorization": given}
    answer = httpx.post(f"{guarded}/api/flows/", json={"name": "x"}, headers=headers)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(
    "given",
    [f"Bearer {KEY}", f"bearer  {HASHED}", basic(AUTH_STRING)],
    ids=["key", "hashed key", "auth string"],
)
def test_right_credentials_are_accepted(guarded: str, given: str) -> None:
    headers = {b"Authorization": given.encode()}
    assert httpx.post(f"{guarded}/api/flows/", json={"name": "x"}, headers=headers).status_code in {200, 201}


def test_keys_have_a_form_that_scanners_find() -> None:
    keys = {auth.make_key() for _ in range(200)}
    assert len(keys) == 200
    for key in keys:
        assert re.fullmatch(r"rr_svc_[0-9A-Za-z]{22}_[0-9A-Za-z]{6}", key)
        assert auth.is_key(key)
        changed = key[:10] + ("a" if key[10] != "a" else "b") + key[11:]
        assert not auth.is_key(changed)


@pytest.mark.parametrize(
    ("auth_string", "keys"),
    [("nocolon", []), (":x", []), ("x:", []), (None, ["secret"]), (None, [KEY[:-1] + "!"]), (None, ["sha256:12"])],
)
def test_credentials_that_cannot_be_are_refused_at_the_start(auth_string: str | None, keys: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        auth.credentials_of(auth_string, keys)
    assert all(key not in str(caught.value) for key in keys if key != "secret")


# -- addresses that others reach ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True), ("127.8.0.1", True), ("localhost", True), ("::1", True), ("[::1]", True),
        ("0.0.0.0", False), ("::", False), ("192.168.0.4", False), ("example.org", False), ("", False),
    ],
)  # fmt: skip
def test_an_open_address_needs_credentials(host: str, loopback: bool) -> None:
    assert is_loopback(host) == loopback
    check_exposure(Plan(host=host, port=0), frozenset({"x"}))
    check_exposure(Plan(host=host, port=0, insecure=True), frozenset())
    if loopback:
        check_exposure(Plan(host=host, port=0), frozenset())
    else:
        with pytest.raises(InputError, match="--insecure-i-know"):
            check_exposure(Plan(host=host, port=0), frozenset())


def test_names_under_which_a_server_is_reached() -> None:
    assert hosts_of("127.0.0.1", [], secured=False) == frozenset()
    assert hosts_of("127.0.0.1", ["Rr.Example"], secured=True) == {"rr.example"}
    assert hosts_of("0.0.0.0", [], secured=True) == {"*"}
    assert "*" not in hosts_of("0.0.0.0", [], secured=False)
    assert hosts_of("0.0.0.0", ["rr.example"], secured=True) >= {"rr.example"}
    assert "*" not in hosts_of("0.0.0.0", ["rr.example"], secured=True)


@pytest.mark.timeout(60)
def test_the_command_line_holds_it(tmp_path: Path) -> None:
    refused = command(tmp_path, "server", "start", "--host", "0.0.0.0", "--port", "0")
    assert refused.returncode == 2
    assert "nobody would be asked who they are" in refused.stderr
    assert not (tmp_path / "riverrun.db").exists()
    made = command(tmp_path, "server", "key").stdout
    key, digest = re.search(r"rr_svc_\w+", made)[0], re.search(r"sha256:\w+", made)[0]
    with server(tmp_path, "--host", "0.0.0.0", RIVERRUN_SERVER_API_KEYS=digest) as running:
        answers = [
            httpx.post(f"{running.url}/api/flows/", json={"name": "x"}, headers=headers).status_code
            for headers in (
                {},
                {"Authorization": f"Bearer {key}"},
                {"Authorization": f"Bearer {key}", "Host": "any.name"},
            )
        ]
        assert answers == [401, 201, 200]
        assert running.stop() == 0
        assert key not in "".join(running.lines)
