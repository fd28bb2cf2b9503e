"""`riverrun run`: finding the flow, giving it parameters, telling how it ended."""

import signal
import subprocess
import sys

import pytest

from tests.cli.conftest import environment, started

FLOWS = """
from riverrun import flow, task

@task
def double(n):
    return 2 * n

@flow(log_prints=False)
def main(n: int = 1, name: str = "x", sizes: list[int] = []):
    print("printed", n, repr(name), sizes)
    return {"n": double(n), "name": name, "sizes": sizes}

@flow
def bad():
    raise ValueError("no such luck")

@flow
async def later(n: int):
    return n + 1

@flow(name="its own name")
def odd():
    return object()

@flow
def steps(n: int = 3):
    for number in range(n):
        yield number
    if n > 3:
        raise ValueError("too many")

def helper():
    pass

class Holder:
    @flow
    @staticmethod
    def inner():
        return "inner"
"""


@pytest.fixture
def script(place):
    """A file of several flows in the working directory."""
    path = place / "etl.py"
    path.write_text(FLOWS)
    return path


@pytest.fixture(autouse=True)
def fresh(place):
    """Modules of one test are not those of the next."""
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if getattr(sys.modules[name], "__file__", None) and str(place) in str(sys.modules[name].__file__):
            del sys.modules[name]


@pytest.mark.parametrize("entrypoint", ["etl.py:main", "./etl.py:main", "etl:main", "etl.main"])
def test_ways_to_name_a_flow(cli, script, entrypoint):
    result = cli("run", entrypoint)
    assert result.code == 0, result.err
    assert "printed 1 'x' []" in result.out
    assert "Completed" in result.err


def test_a_flow_may_be_named_by_its_name_or_path(cli, script):
    assert cli("run", "etl.py:its own name").code == 0
    assert cli("run", "etl.py:Holder.inner", "--json").document["result"] == "inner"


def test_a_file_with_one_flow_needs_no_name(cli, place):
    (place / "other.py").write_text("from riverrun import flow\n@flow\ndef imported(): return 1\n")
    (place / "single.py").write_text(
        "from riverrun import flow\nfrom other import imported\n@flow\ndef only(): return 2\n"
    )
    for entrypoint in ("single.py", "single"):
        assert cli("run", entrypoint, "--json").document["result"] == 2


@pytest.mark.parametrize(
    ("entrypoint", "says"),
    [
        ("none.py:main", ["no file 'none.py'", "none.py"]),
        ("dir/none:main", ["no file 'dir/none'"]),
        ("nowhere:main", ["no module 'nowhere'"]),
        ("nowhere", ["no module 'nowhere'"]),
        ("etl.nothing", ["'etl'", "bad, later, main", "nothing"]),
        ("etl.py:mian", ["no flow 'mian'", "bad, later, main", "Did you mean 'main'"]),
        ("etl.py:helper", ["function, not a flow", "@flow"]),
        ("etl.py:double", ["Task, not a flow"]),
        ("etl.py", ["bad, later, main", "etl.py:NAME"]),
        (":main", ["no file or module"]),
        ("empty.py", ["no flow in 'empty.py'"]),
        ("etl.py:", ["bad, later, main"]),
    ],
)
def test_an_entrypoint_that_names_no_flow(cli, script, place, entrypoint, says):
    (place / "empty.py").write_text("x = 1\n")
    result = cli("run", entrypoint)
    assert (result.code, result.out) == (2, "")
    assert all(text in result.err for text in says), result.err
    assert "Traceback" not in result.err


def test_a_file_that_raises_shows_its_own_traceback(cli, place):
    (place / "broken.py").write_text("def inner():\n    raise ValueError('at import')\ninner()\n")
    for entrypoint in ("broken.py:main", "broken:main", "broken.main"):
        result = cli("run", entrypoint)
        assert result.code == 1
        assert "ValueError: at import" in result.err
        assert 'broken.py", line 2, in inner' in result.err
        assert "importlib" not in result.err
        assert "riverrun/cli" not in result.err


@pytest.mark.parametrize("line", ["def broken(:", "import module_that_is_not_there", "import sys; sys.exit(3)"])
def test_a_file_that_cannot_be_loaded(cli, place, line):
    (place / "broken.py").write_text(f"{line}\n")
    result = cli("run", "broken.py:main")
    assert result.code == 1
    assert "could not be loaded" in result.err


def test_a_file_named_like_a_module_in_use(cli, place):
    (place / "json.py").write_text("from riverrun import flow\n@flow\ndef main(): return 'mine'\n")
    assert cli("run", "json.py:main", "--json").document["result"] == "mine"


def test_parameters(cli, script):
    result = cli(
        "run", "etl.py:main", "--json", "--params", '{"n": 1, "name": "y"}', "--param", "n=3", "--param", "sizes=[1, 2]"
    )
    assert result.code == 0, result.err
    assert result.document["result"] == {"n": 6, "name": "y", "sizes": [1, 2]}
    assert "printed 3 'y' [1, 2]" in result.err, "what the flow prints goes to stderr beside --json"


@pytest.mark.parametrize(
    ("given", "received"), [("5", "5"), ("true", "true"), ("a=b", "a=b"), ('"5"', "5"), ("", ""), ("{x", "{x")]
)
def test_parameters_that_are_text_stay_text(cli, script, given, received):
    assert cli("run", "etl:main", "--json", "--param", f"name={given}").document["result"]["name"] == received


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--param", "m=3"], "'m'"),
        (["--param", "n"], "NAME=VALUE"),
        (["--param", "=3"], "NAME=VALUE"),
        (["--params", "3"], "JSON object"),
        (["--params", "{"], "JSON object"),
        (["--nonsense"], "--nonsense"),
    ],
)
def test_parameters_that_do_not_fit_are_usage_errors(cli, script, options, says):
    result = cli("run", "etl.py:main", *options)
    assert (result.code, result.out) == (2, "")
    assert says in result.err


def test_missing_parameters_are_named(cli, script):
    result = cli("run", "etl.py:later")
    assert result.code == 2
    assert "n: int" in result.err
    assert "'n'" in result.err


def test_a_value_of_the_wrong_type_fails_the_run(cli, script):
    result = cli("run", "etl.py:main", "--param", "n=many")
    assert result.code == 1
    assert "n" in result.err
    assert "Failed" in result.err


def test_a_flow_that_fails(cli, script):
    result = cli("run", "etl.py:bad", "--json")
    assert result.code == 1
    assert result.document["state"]["type"] == "FAILED"
    assert "no such luck" in result.document["state"]["message"]
    assert "result" not in result.document
    result = cli("run", "etl.py:bad")
    assert result.code == 1
    assert "no such luck" in result.err


def test_a_flow_that_is_async(cli, script):
    assert cli("run", "etl.py:later", "--param", "n=3", "--json").document["result"] == 4


def test_a_flow_that_is_a_generator(cli, script):
    assert cli("run", "etl.py:steps").code == 0
    result = cli("run", "etl.py:steps", "--param", "n=4")
    assert result.code == 1
    assert "too many" in result.err


def test_a_result_that_has_no_json_form(cli, script):
    document = cli("run", "etl.py:odd", "--json").document
    assert document["result_repr"].startswith("<object")


def test_the_run_can_be_named_and_read_back(cli, script):
    document = cli("run", "etl.py:main", "--run-name", "first light", "--json").document
    inspected = cli("flow-run", "inspect", "first light", "--json").document
    assert inspected["id"] == document["flow_run_id"]
    assert inspected["state_type"] == "COMPLETED"
    assert [state["name"] for state in inspected["states"]] == ["Pending", "Running", "Completed"]
    assert inspected["task_run_counts"] == {"COMPLETED": 1}
    assert inspected["parameters"]["name"] == "x"


def test_stdout_holds_the_document_alone_even_when_children_print(process, place):
    (place / "loud.py").write_text(
        "import os, subprocess, sys\nfrom riverrun import flow\n"
        "@flow\ndef main():\n    subprocess.run(['echo', 'child'], check=True)\n    os.write(1, b'raw')\n    print('text')\n"
    )
    result = process("run", "loud.py", "--json")
    assert result.code == 0, result.err
    assert result.document["state"]["type"] == "COMPLETED"
    assert {"child", "text"} <= set(result.err.replace("raw", "").split())


WAITING = """
import sys, threading
from riverrun import flow

@flow
def main():
    print("ready", flush=True)
    threading.Event().wait()
"""


@pytest.mark.timeout(60)
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals(process, place, number, code):
    (place / "waiting.py").write_text(WAITING)
    home = place.parent / "home"
    with started(
        ["run", "waiting.py"], environment(home), cwd=place, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout.readline() == "ready\n"
        child.send_signal(number)
        _out, error = child.communicate(timeout=60)
        # a process that a signal ends is ended by it once the run is recorded; shells report that as 128 + its number
        assert child.returncode in (code, 128 - code)
    assert "Traceback" not in error
    runs = process("flow-run", "ls", "--json").document
    assert [run["state_type"] for run in runs] == ["CRASHED"]
