"""`riverrun api`, against a server of riverrun's."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from riverrun.server.serve import in_thread
from tests.store.conftest import sqlite_template

__all__ = ["sqlite_template"]


@pytest.fixture(scope="module")
def server(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    home = tmp_path_factory.mktemp("server")
    shutil.copy(sqlite_template, home / "riverrun.db")
    with in_thread(f"sqlite:///{home / 'riverrun.db'}") as base:
        yield f"{base}/api"


@pytest.fixture
def api(cli, server, monkeypatch):
    monkeypatch.setenv("RIVERRUN_API_URL", server)
    return lambda *args: cli("api", *args)


def test_an_answer_is_printed(api) -> None:
    made = api("POST", "/flows/", "-d", '{"name": "etl"}')
    assert (made.code, json.loads(made.out)["name"], made.err) == (0, "etl", "")
    assert json.loads(api("get", "flows/name/etl").out) == json.loads(made.out)
    assert api("GET", "/api/health").out == "true\n"


def test_nothing_is_printed_where_nothing_is_answered(api) -> None:
    made = json.loads(api("POST", "/flows/", "-d", '{"name": "gone"}').out)
    done = api("DELETE", f"/flows/{made['id']}")
    assert (done.code, done.out) == (0, "")


def test_the_body_may_come_from_a_file_or_from_standard_input(api, tmp_path, monkeypatch) -> None:
    import io

    file = tmp_path / "body.json"
    file.write_text('{"name": "from-file"}', encoding="utf-8")
    assert json.loads(api("POST", "/flows/", "-d", f"@{file}").out)["name"] == "from-file"
    for dash in ("-", "@-"):
        monkeypatch.setattr("sys.stdin", io.StringIO('{"name": "from-stdin"}'))
        assert json.loads(api("POST", "/flows/", "--data", dash).out)["name"] == "from-stdin"


def test_the_query_stands_in_the_path_or_in_fields(api) -> None:
    run_id = "01a1f8e9-b77a-7149-a341-ec652ca057a8"
    for args in ([f"/flow_run_states/?flow_run_id={run_id}"], ["/flow_run_states/", "-f", f"flow_run_id={run_id}"]):
        assert (api("GET", *args).code, api("GET", *args).out) == (0, "[]\n")


def test_an_error_is_printed_and_ends_with_1(api) -> None:
    refused = api("POST", "/flows/", "-d", '{"nome": "x"}')
    assert refused.code == 1
    assert "exception_detail" in json.loads(refused.out)
    assert refused.err.startswith("Error: ")
    missing = api("GET", "/flows/name/nope")
    assert (missing.code, json.loads(missing.out).keys()) == (1, {"detail"})


def test_headers_are_shown_and_sent(api) -> None:
    told = api("GET", "/health", "-v", "-H", "X-PREFECT-API-VERSION: 0.8.4")
    assert told.out == "true\n"
    assert "GET http" in told.err
    assert "200 OK" in told.err
    assert api("GET", "/health", "-H", "X-PREFECT-API-VERSION: nonsense").code == 1


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["POST", "/flows/", "-d", "{a"], "this is no JSON"),
        (["POST", "/flows/", "-d", "@nowhere.json"], "cannot be read"),
        (["GET", "/flows/", "-f", "limit"], "NAME=VALUE"),
        (["GET", "/flows/", "-H", "limit"], "NAME:VALUE"),
        (["FETCH", "/flows/"], "is not one of"),
    ],
)
def test_a_wrong_command_says_what_is_wrong(api, args, said) -> None:
    refused = api(*args)
    assert refused.code == 2
    assert said in refused.err


def test_a_server_that_is_not_there(cli, monkeypatch) -> None:
    monkeypatch.setenv("RIVERRUN_API_URL", "http://127.0.0.1:1/api")
    refused = cli("api", "GET", "/health")
    assert (refused.code, refused.out) == (1, "")
    assert "cannot be reached" in refused.err
