"""The command line's nouns for variables, blocks, artifacts, limits and events, against a server."""

import io
import json
import signal
import subprocess
import sys
import threading
from uuid import UUID

import pytest

from riverrun import artifacts
from riverrun.blocks.system import Secret


def test_variables(cli, server):
    assert cli("variable", "set", "cli-json", '{"a": [1]}', "--tag", "x") == (0, "", "Set variable 'cli-json'.\n")
    assert cli("variable", "set", "cli-text", "just text")[0] == 0
    code, _out, err = cli("variable", "set", "cli-json", "2")
    assert (code, "--overwrite" in err) == (2, True)
    assert cli("variable", "set", "cli-json", "2", "--overwrite")[0] == 0
    assert cli("variable", "get", "cli-json")[1] == "2\n"
    assert cli("variable", "get", "cli-text")[1] == "just text\n"
    listed = json.loads(cli("variable", "ls", "--json")[1])
    assert {each["name"]: each["value"] for each in listed} == {"cli-json": 2, "cli-text": "just text"}
    assert cli("variables", "ls")[1].splitlines()[0].split() == ["NAME", "VALUE", "TAGS", "CREATED", "UPDATED"]
    assert json.loads(cli("variable", "inspect", "cli-text", "-o", "json")[1])["value"] == "just text"
    assert "just text" in cli("variable", "inspect", "cli-text")[1]
    assert cli("variable", "unset", "cli-json")[0] == 0
    assert cli("variable", "delete", "cli-text")[0] == 0
    for command in ("get", "inspect", "unset"):
        code, _out, err = cli("variable", command, "cli-text")
        assert (code, "cli-text" in err) == (1, True), command
    assert cli("variable", "ls")[2] == "No variables.\n"
    assert cli("variable", "set", "BAD NAME", "1")[0] == 2


def test_blocks(cli, server, tmp_path):
    module = tmp_path / "own_blocks.py"
    module.write_text(
        "from abc import ABC\nfrom riverrun.blocks.core import Block\n"
        "class Interface(Block, ABC):\n    pass\n"
        'class Inner(Block):\n    """Kept inside."""\n    n: int = 1\n'
        "class Outer(Interface):\n    inner: Inner\n"
    )
    code, _out, err = cli("block", "register", "--file", module)
    assert (code, err.splitlines()) == (0, ["Registered Inner (inner).", "Registered Outer (outer)."])
    slugs = [each["slug"] for each in json.loads(cli("block", "type", "ls", "--json")[1])]
    assert {"inner", "outer"} <= set(slugs)
    assert "Kept inside." in cli("block", "types", "inspect", "inner")[1]
    assert "Inner.load" in cli("block", "create", "inner")[2]
    assert cli("block", "type", "delete", "outer")[0] == 0
    assert cli("block", "type", "inspect", "outer")[0] == 1
    assert cli("block", "register", "--module", "riverrun.blocks.system")[0] == 0

    saved = Secret(value="hush").save("of-cli")
    (listed,) = [each for each in json.loads(cli("block", "ls", "--json")[1]) if each["id"] == str(saved)]
    assert listed["name"] == "of-cli"
    assert "secret/of-cli" in cli("block", "ls")[1]
    for arguments in (("secret/of-cli",), ("--id", saved), ("secret/of-cli", "--json")):
        code, out, _err = cli("block", "inspect", *arguments)
        assert (code, "hush" in out, "of-cli" in out) == (0, False, True)
    assert cli("block", "delete", "secret/of-cli")[0] == 0
    assert cli("block", "inspect", "secret/of-cli")[0] == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ("block", "inspect", "no-slash"),
        ("block", "inspect"),
        ("block", "delete", "a/b", "--id", "00000000-0000-4000-8000-000000000000"),
        ("block", "register"),
        ("block", "register", "--module", "no.such.module"),
        ("block", "register", "--module", "riverrun.base.clock"),
        ("artifact", "delete"),
        ("gcl", "update", "x"),
        ("gcl", "update", "x", "--enable", "--disable"),
        ("gcl", "create", "x"),
        ("event", "emit", "x"),
        ("event", "emit", "x", "-r", "nonsense"),
        ("event", "emit", "x", "--resource-id", "y", "-p", "[1]"),
        ("event", "emit", "x", "--resource-id", "y", "-p", "{"),
    ],
    ids=" ".join,
)
def test_wrong_use_is_told(cli, arguments):
    code, out, err = cli(*arguments)
    assert (code, out) == (2, "")
    assert err
    assert "Traceback" not in err
    assert "This should not have happened" not in err


@pytest.mark.filterwarnings("ignore:An artifact was made outside:FutureWarning")
def test_artifacts(cli, server):
    first = artifacts.create_markdown_artifact("one", key="cli-report")
    second = artifacts.create_markdown_artifact("two", key="cli-report", description="d")
    bare = artifacts.create_markdown_artifact("bare")
    (latest,) = json.loads(cli("artifact", "ls", "--json")[1])
    assert latest["latest_id"] == str(second)
    assert str(second) in cli("artifact", "ls")[1]
    every = json.loads(cli("artifact", "ls", "--all", "--json")[1])
    assert [each["id"] for each in every] == [str(bare), str(second), str(first)]
    versions = json.loads(cli("artifact", "inspect", "cli-report", "--json")[1])
    assert [each["data"] for each in versions] == ["two", "one"]
    assert cli("artifact", "inspect", "cli-report", "--limit", 1)[1].count("ID:") == 1
    assert cli("artifact", "delete", "--id", bare)[0] == 0
    assert cli("artifact", "delete", "cli-report") == (0, "", "Deleted 2 versions of the artifact 'cli-report'.\n")
    assert cli("artifact", "inspect", "cli-report")[0] == 1
    assert cli("artifact", "ls")[2] == "No artifacts.\n"


def test_limits_of_tags(cli, server):
    assert cli("concurrency-limit", "create", "cli-tag", 3)[0] == 0
    assert cli("concurrency-limit", "create", "cli-tag", 4)[0] == 0
    (listed,) = json.loads(cli("concurrency-limit", "ls", "--json")[1])
    assert (listed["tag"], listed["concurrency_limit"]) == ("cli-tag", 4)
    assert "cli-tag" in cli("concurrency-limit", "ls")[1]
    assert "Limit:" in cli("concurrency-limit", "inspect", "cli-tag")[1]
    assert cli("concurrency-limit", "reset", "cli-tag")[0] == 0
    assert cli("concurrency-limit", "delete", "cli-tag")[0] == 0
    assert cli("concurrency-limit", "inspect", "cli-tag")[0] == 1


def test_global_limits(cli, server):
    assert cli("gcl", "create", "cli-limit", "--limit", 2, "--slot-decay-per-second", 0.5, "--disable")[0] == 0
    code, _out, err = cli("global-concurrency-limit", "create", "cli-limit", "-l", 2)
    assert (code, "gcl update" in err) == (2, True)
    found = json.loads(cli("gcl", "inspect", "cli-limit", "--json")[1])
    assert (found["limit"], found["active"], found["slot_decay_per_second"]) == (2, False, 0.5)
    assert cli("gcl", "enable", "cli-limit")[0] == 0
    assert cli("gcl", "update", "cli-limit", "-l", 7, "--active-slots", 1)[0] == 0
    (found,) = [each for each in json.loads(cli("gcl", "ls", "--json")[1]) if each["name"] == "cli-limit"]
    assert (found["limit"], found["active"], found["active_slots"]) == (7, True, 1)
    assert cli("gcl", "disable", "cli-limit")[0] == 0
    assert "no" in cli("gcl", "ls")[1].split()
    assert cli("gcl", "delete", "cli-limit")[0] == 0
    assert cli("gcl", "inspect", "cli-limit")[0] == 1


def test_events(cli, server):
    code, out, err = cli(
        "event", "emit", "of.cli", "-r", "prefect.resource.id=x.1", "-r", '{"a": "b"}', "-p", '{"n": 1}'
    )
    assert (code, out) == (0, "")
    assert UUID(err.strip().rpartition(" ")[2].rstrip("."))


def test_events_are_watched(server):
    from riverrun.client.calls.events import create_events
    from riverrun.client.http import send
    from riverrun.events import Event

    seen = threading.Event()

    def emit():  # again and again: nobody tells when the stream stands
        while not seen.wait(0.1):
            send(
                create_events([Event(event="watched", resource={"prefect.resource.id": "x.1"})]),
                base_url=str(server.base_url).rstrip("/"),
            )

    emitting = threading.Thread(target=emit)
    command = [sys.executable, "-m", "riverrun", "event", "stream", "--format", "text"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as watching:
        emitting.start()
        try:
            line = next(line for line in watching.stdout if "watched" in line)
        finally:
            seen.set()
            emitting.join(5)
            watching.send_signal(signal.SIGINT)
        assert line.split()[1:] == ["watched", "x.1"]
        assert watching.wait(10) == 130


def test_questions_are_asked_where_somebody_sits(cli, server, monkeypatch):
    cli("variable", "set", "kept", "1")
    monkeypatch.setenv("RIVERRUN_CLI_PROMPT", "true")
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert cli("variable", "unset", "kept")[0] != 0
    monkeypatch.setenv("RIVERRUN_CLI_PROMPT", "false")
    assert cli("variable", "unset", "kept")[0] == 0


def test_help_loads_nothing_heavy():
    """pydantic and httpx are for those who do something."""
    code = (
        "import sys\nfrom riverrun.cli import main\n"
        "for noun in ('variable', 'block', 'artifact', 'concurrency-limit', 'gcl', 'event'): main([noun, '--help'])\n"
        "print(sorted({'pydantic', 'httpx', 'sqlalchemy', 'asyncio'} & sys.modules.keys()), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
