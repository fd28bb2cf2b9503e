"""The exchange of one call: what is sent, what is tried again, and which error an answer becomes."""

import asyncio
import base64
import os
import pickle
import socket
import sys
from collections.abc import Callable
from typing import Any
from uuid import UUID

import httpx
import msgspec
import pytest

from riverrun import __version__
from riverrun.base import errors
from riverrun.base.config import temporary_settings
from riverrun.client import connections, http
from riverrun.client.call import MSGPACK, Call, Raw, at, get, patch, post
from riverrun.client.calls.variables import read_variable, update_variable
from riverrun.client.http import asend, send
from riverrun.wire.deployments import DeploymentUpdate
from riverrun.wire.filters import FlowFilter, FlowFilterName
from riverrun.wire.flow_runs import FlowCreate
from riverrun.wire.requests import FlowsFilterBody
from riverrun.wire.variables import VariableUpdate
from tests.client.conftest import Script


def ado(call: Call[Any], **options: Any) -> Any:
    return asyncio.run(asend(call, **options))


BOTH = pytest.mark.parametrize("do", [send, ado], ids=["sync", "async"])
Do = Callable[..., Any]
PLAIN = (False, False, None)


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "LONGEST_DELAY", 0.01)


def test_paths_are_quoted() -> None:
    assert at("variables", "name", "a/b c?") == "/variables/name/a%2Fb%20c%3F"
    assert at("flows", "") == "/flows/"


@BOTH
def test_an_answer_is_read_as_its_type(script: Script, do: Do) -> None:
    script.answers = [(200, {}, b'"01a1f8e9-b77a-7149-a341-ec652ca057a8"')]
    assert do(get(at("x"), UUID)) == UUID("01a1f8e9-b77a-7149-a341-ec652ca057a8")


def test_what_is_sent(script: Script) -> None:
    send(post(at("flows", ""), FlowCreate(name="etl"), query={"a": True, "b": None, "c": ["x", "y"]}))
    method, path, headers, body = script.requests[0]
    assert (method, path) == ("POST", "/api/flows/?a=true&c=x&c=y")
    assert headers["user-agent"] == f"riverrun/{__version__}"
    assert headers["content-type"] == "application/json"
    assert msgspec.json.decode(body) == {"name": "etl"}
    assert "authorization" not in headers


def test_fields_that_say_nothing_are_not_sent(script: Script) -> None:
    """A null where the server has another default would mean something; one that is set in a change does."""
    name = FlowFilterName(like_="etl")
    send(post(at("flows", "filter"), FlowsFilterBody(flows=FlowFilter(name=name), limit=3)))
    send(patch(at("deployments", "x"), DeploymentUpdate(paused=False, description=None)))
    assert msgspec.json.decode(script.requests[0][3]) == {"flows": {"name": {"like_": "etl"}}, "limit": 3}
    assert msgspec.json.decode(script.requests[1][3]) == {"paused": False, "description": None}


def test_bytes_go_as_they_are(script: Script) -> None:
    send(post(at("journal"), b"\x81", content_type=MSGPACK))
    assert script.requests[0][2]["content-type"] == MSGPACK
    assert script.requests[0][3] == b"\x81"


def test_what_has_no_json_form_is_refused_before_it_is_sent(script: Script) -> None:
    with pytest.raises(errors.InputError, match="cannot be sent as JSON: object"):
        send(post(at("x"), {"a": object()}))
    assert script.requests == []


@pytest.mark.parametrize(
    ("settings", "header"),
    [
        ({"api_key": "k1"}, "Bearer k1"),
        ({"api_auth_string": "ann:secret"}, "Basic " + base64.b64encode(b"ann:secret").decode()),
    ],
)
def test_who_asks(script: Script, settings: dict[str, str], header: str) -> None:
    with temporary_settings(settings):
        send(get(at("x"), None))
    assert script.requests[0][2]["authorization"] == header


# -- trying again -----------------------------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("status", [408, 429, 502, 503])
def test_a_busy_server_is_asked_again(script: Script, do: Do, status: int) -> None:
    script.answers = [(status, {}, b"{}"), (status, {}, b"{}"), (200, {}, b"7")]
    assert do(get(at("x"), int)) == 7
    assert len(script.requests) == 3


@BOTH
def test_a_broken_connection_is_made_again(script: Script, do: Do) -> None:
    script.answers = [None, (200, {}, b"7")]
    assert do(get(at("x"), int)) == 7


def test_the_server_may_say_when(script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "LONGEST_DELAY", 60.0)
    script.answers = [(429, {"retry-after": "0.01"}, b"{}"), (200, {}, b"7")]
    assert send(get(at("x"), int)) == 7


@BOTH
def test_headers_of_the_users_own(script: Script, do: Do) -> None:
    script.answers = [(200, {}, b"7")]
    with temporary_settings({"PREFECT_CLIENT_CUSTOM_HEADERS": '{"X-Proxy": "let me in"}'}):
        assert do(get(at("x"), int)) == 7
    assert script.requests[0][2]["x-proxy"] == "let me in"


@BOTH
def test_in_the_end_the_error_is_told(script: Script, do: Do) -> None:
    script.answers = [(503, {}, b'{"exception_message": "Service Unavailable"}')]
    with (
        temporary_settings({"client_max_retries": 2}),
        pytest.raises(errors.ServerFailure, match="Service Unavailable"),
    ):
        do(get(at("x"), int))
    assert len(script.requests) == 3


@pytest.mark.parametrize("status", [400, 404, 409, 422, 423, 500])
def test_a_decided_answer_is_not_asked_for_again(script: Script, status: int) -> None:
    script.answers = [(status, {}, b"{}")]
    with pytest.raises(errors.RiverrunError):
        send(get(at("x"), int))
    assert len(script.requests) == 1


# -- errors -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "kind", "family"),
    [
        (400, errors.RequestRefused, errors.InputError),
        (401, errors.AccessDenied, errors.DeniedError),
        (403, errors.AccessDenied, errors.DeniedError),
        (404, errors.ObjectNotFound, errors.NotFoundError),
        (409, errors.ObjectAlreadyExists, errors.ConflictError),
        (410, errors.ObjectGone, errors.NotFoundError),
        (422, errors.RequestRefused, errors.InputError),
        (423, errors.RequestConflict, errors.ConflictError),
        (500, errors.ServerFailure, errors.UnavailableError),
    ],
)
def test_statuses_become_errors_of_families(
    script: Script, status: int, kind: type[Exception], family: type[Exception]
) -> None:
    script.answers = [(status, {"retry-after": "3"}, b'{"detail": "It is so."}')]
    with pytest.raises(kind, match=rf"It is so. \({status} from GET {script.url}/x\)") as caught:
        send(get(at("x"), int))
    assert isinstance(caught.value, family)
    for error in (caught.value, pickle.loads(pickle.dumps(caught.value))):
        assert isinstance(error, kind)
        assert isinstance(error, errors.HTTPStatusError)
        assert isinstance(error, httpx.HTTPStatusError)
        assert (str(error), type(error).__name__) == (str(caught.value), kind.__name__)
        assert (error.response.status_code, error.request.method) == (status, "GET")
        assert error.response.headers["retry-after"] == "3"
        if hasattr(error, "http_exc"):
            assert error.http_exc.response.status_code == status


def test_wrong_fields_are_named(script: Script) -> None:
    problems = b'{"exception_detail": [{"loc": ["body", "limit"], "msg": "too large"}, {"loc": [], "msg": "odd"}]}'
    script.answers = [(422, {}, problems)]
    with pytest.raises(errors.RequestRefused, match=r"body\.limit: too large; odd"):
        send(get(at("x"), int))


def test_an_answer_that_is_no_json_is_told_as_it_is(script: Script) -> None:
    script.answers = [(500, {}, b"<html>oh no</html>")]
    with pytest.raises(errors.ServerFailure, match="<html>oh no"):
        send(get(at("x"), int))


def test_what_is_not_there_may_be_none(script: Script) -> None:
    script.answers = [(404, {}, b'{"detail": "Not Found"}')]
    assert send(read_variable("x")) is None
    with pytest.raises(errors.ObjectNotFound, match="Variable 'x': Not Found"):
        send(update_variable("x", VariableUpdate(value=1)))


@pytest.mark.parametrize("body", [b"<html>", b'{"a": 1}', b""])
def test_another_kind_of_server_is_told_apart(script: Script, body: bytes) -> None:
    script.answers = [(200, {}, body)]
    with pytest.raises(errors.UnavailableError, match="Is RIVERRUN_API_URL the address"):
        send(get(at("x"), int))


def test_the_response_itself_can_be_had(script: Script) -> None:
    script.answers = [(200, {"x-told": "yes"}, b"hello")]
    response = send(get(at("x"), Raw))
    assert (response.text, response.headers["x-told"]) == ("hello", "yes")


@BOTH
def test_no_server_at_all(do: Do) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with (
        temporary_settings({"api_url": f"http://127.0.0.1:{port}/api", "client_max_retries": 1}),
        pytest.raises(
            errors.UnavailableError, match=rf"cannot be reached: .*127.0.0.1:{port}/api/x.*riverrun server start"
        ),
    ):
        do(get(at("x"), int))


@pytest.mark.parametrize("url", ["nonsense", "http://[::bad/api", "ftp://x/api"])
def test_an_address_that_cannot_be(url: str) -> None:
    with pytest.raises(errors.ConfigurationError, match="RIVERRUN_API_URL"):
        send(get(at("x"), int), base_url=url)


def test_a_server_that_is_silent() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with (
            temporary_settings({"api_request_timeout": 0.05}),
            pytest.raises(
                errors.UnavailableError, match="did not answer GET .* in time .*RIVERRUN_API_REQUEST_TIMEOUT"
            ),
        ):
            send(get(at("x"), int), retries=0, base_url=url)


# -- clients ----------------------------------------------------------------------------------------------------------------


def test_connections_are_kept_and_closed_with_their_loop(script: Script) -> None:
    async def several() -> list[int]:
        return list(await asyncio.gather(*(asend(get(at("x"), int)) for _ in range(3)), asend(get(at("x"), int))))

    script.answers = [(200, {}, b"7")]
    assert asyncio.run(several()) == [7] * 4
    assert asyncio.run(several()) == [7] * 4
    assert len(connections._async_clients) == 0


def test_a_forked_child_makes_its_own_connections(script: Script) -> None:
    script.answers = [(200, {}, b"7")]
    send(get(at("x"), int))
    mine = connections._clients[PLAIN]
    child = os.fork()
    if child == 0:
        try:
            fine = send(get(at("x"), int)) == 7 and connections._clients[PLAIN] is not mine
            os._exit(0 if fine else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert send(get(at("x"), int)) == 7


def test_httpx_is_loaded_when_something_is_sent() -> None:
    import subprocess

    script = "import sys, riverrun.client.http, riverrun.client.calls.flow_runs; sys.exit('httpx' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
