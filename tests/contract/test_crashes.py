"""Real processes that are interrupted, terminated or exit: exit codes, hooks and what is on record afterwards."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from .sdk import ON_PEER, child_environment, read_states, run_script, script

pytestmark = pytest.mark.timeout(120)

PRELUDE = """
import asyncio, os, signal, sys, time
from SDK import flow, task

# a shell that starts the tests in the background has its children ignore Ctrl-C
signal.signal(signal.SIGINT, signal.default_int_handler)

def note(text):
    print(text, flush=True)

def hook(kind):
    def called(thing, run, state):
        note(f"hook {kind} {state.name}")
    return called

HOOKS = {"on_crashed": [hook("crashed")], "on_failure": [hook("failure")], "on_cancellation": [hook("cancellation")],
         "on_completion": [hook("completion")]}
"""

BODIES = {
    "sync flow": """
@flow(flow_run_name="the flow run", **HOOKS)
def main():
    note("ready")
    time.sleep(30)
main()
""",
    "async flow": """
@flow(flow_run_name="the flow run", **HOOKS)
async def main():
    note("ready")
    await asyncio.sleep(30)
asyncio.run(main())
""",
    "task in a flow": """
@task(task_run_name="the task run")
def work():
    note("ready")
    time.sleep(30)
@flow(flow_run_name="the flow run", **HOOKS)
def main():
    work()
main()
""",
    "submitted task": """
@task(task_run_name="the task run")
def work():
    note("ready")
    time.sleep(3)
@flow(flow_run_name="the flow run", **HOOKS)
def main():
    work.submit().result()
main()
""",
    "task alone": """
@task(task_run_name="the task run")
def work():
    note("ready")
    time.sleep(30)
work()
""",
}


def recorded(home: Path) -> dict[str, list[str]]:
    """State types per run name, from the journals under `home`."""
    from riverrun.wire import spool

    found: dict[str, list[str]] = {}
    for one in spool.spools(home / "journal"):
        payloads = [bytes(payload) for _, payload in one.records()]
        for run, _, kind in read_states(payloads):
            found.setdefault(run, []).append(kind)
    return found


def environment(home: Path) -> dict[str, str]:
    return child_environment(RIVERRUN_HOME=str(home), RIVERRUN_LOGGING_LEVEL="CRITICAL")


def interrupt(tmp_path: Path, body: str, number: signal.Signals) -> tuple[int, list[str]]:
    """Run the body, send the signal once it says it is ready; its exit code and what it printed."""
    process = subprocess.Popen(
        script(tmp_path, PRELUDE + body),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(tmp_path / "home"),
    )
    try:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line.strip())
            if "ready" in line:
                break
        process.send_signal(number)
        out, _ = process.communicate(timeout=60)
        return process.returncode, [*lines, *out.split("\n")]
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


@pytest.mark.parametrize("case", BODIES)
def test_control_c(tmp_path: Path, case: str) -> None:
    code, printed = interrupt(tmp_path, BODIES[case], signal.SIGINT)
    assert code in {1, 130, -signal.SIGINT}
    if "flow" in BODIES[case].split("def main")[0] and case != "task alone":
        assert "hook crashed Crashed" in printed
        assert "hook completion Completed" not in printed
    if not ON_PEER:
        states = recorded(tmp_path / "home")
        assert set(states) <= {"the flow run", "the task run"}
        # a submitted task that cannot be stopped runs to its end in its thread, and says so
        ends = {"CRASHED", "CANCELLED", "COMPLETED"} if case == "submitted task" else {"CRASHED", "CANCELLED"}
        assert all(kinds[-1] in ends for kinds in states.values()), states
        assert states.get("the flow run", ["CRASHED"])[-1] == "CRASHED"


@pytest.mark.parametrize("case", BODIES)
def test_termination(tmp_path: Path, case: str) -> None:
    code, printed = interrupt(tmp_path, BODIES[case], signal.SIGTERM)
    assert code in ({-signal.SIGTERM, 143, 1} if ON_PEER else {-signal.SIGTERM, 143})
    if not ON_PEER:
        if case != "task alone":
            assert "hook crashed Crashed" in printed
        states = recorded(tmp_path / "home")
        assert states
        ends = {"CRASHED", "CANCELLED", "COMPLETED"} if case == "submitted task" else {"CRASHED", "CANCELLED"}
        assert all(kinds[-1] in ends for kinds in states.values()), states
        assert states.get("the flow run", ["CRASHED"])[-1] == "CRASHED"


@pytest.mark.skipif(ON_PEER, reason="the journal is riverrun's")
def test_a_kill_loses_nothing_that_was_written(tmp_path: Path) -> None:
    code, _ = interrupt(tmp_path, BODIES["task in a flow"], signal.SIGKILL)
    assert code == -signal.SIGKILL
    states = recorded(tmp_path / "home")
    assert states["the flow run"][-1] == states["the task run"][-1] == "RUNNING"


EXITS = {
    "exit in a flow": ('@flow(flow_run_name="the flow run", **HOOKS)\ndef main():\n    sys.exit(3)\nmain()\n', 3),
    "exit in a task": (
        """
@task(task_run_name="the task run")
def work():
    sys.exit(4)
@flow(flow_run_name="the flow run", **HOOKS)
def main():
    work()
main()
""",
        4,
    ),
    "exit in an async flow": (
        '@flow(flow_run_name="the flow run", **HOOKS)\nasync def main():\n    sys.exit(5)\nasyncio.run(main())\n',
        5,
    ),
    "exit with a text": ('@flow(flow_run_name="the flow run", **HOOKS)\ndef main():\n    sys.exit("bye")\nmain()\n', 1),
}


@pytest.mark.parametrize("case", EXITS)
def test_exits(tmp_path: Path, case: str) -> None:
    body, code = EXITS[case]
    done = run_script(tmp_path, PRELUDE + body, **environment(tmp_path / "home"))
    assert done.returncode == code, done.stderr
    assert "hook crashed Crashed" in done.stdout
    if not ON_PEER:
        states = recorded(tmp_path / "home")
        assert states["the flow run"] == ["PENDING", "RUNNING", "CRASHED"]
        assert all(kinds[-1] == "CRASHED" for kinds in states.values()), states


def test_a_failed_flow_ends_the_script_with_its_traceback(tmp_path: Path) -> None:
    body = '@flow(flow_run_name="the flow run")\ndef main():\n    raise ValueError("the reason")\nmain()\n'
    done = run_script(tmp_path, PRELUDE + body, **environment(tmp_path / "home"))
    assert done.returncode == 1
    assert "ValueError: the reason" in done.stderr
    if not ON_PEER:
        assert recorded(tmp_path / "home")["the flow run"] == ["PENDING", "RUNNING", "FAILED"]
        assert "riverrun/engine/drive.py" not in done.stderr


def test_a_script_that_ends_well(tmp_path: Path) -> None:
    body = """
@task(task_run_name="the task run")
def work(x):
    return x + 1
@flow(flow_run_name="the flow run", **HOOKS)
def main():
    return [future.result() for future in work.map([1, 2])]
note(main())
"""
    done = run_script(tmp_path, PRELUDE + body, **environment(tmp_path / "home"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["hook completion Completed", "[2, 3]"]
    if not ON_PEER:
        states = recorded(tmp_path / "home")
        assert states["the flow run"] == ["PENDING", "RUNNING", "COMPLETED"]


@pytest.mark.skipif(ON_PEER, reason="the journal is riverrun's")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_writes_its_own_records(tmp_path: Path) -> None:
    body = """
@task(task_run_name="{who} {i}")
def work(who, i):
    return i
def many(who):
    for i in range(20):
        work(who, i)
many("before")
child = os.fork()
if child == 0:
    many("child")
    sys.exit(0)
many("parent")
_, status = os.waitpid(child, 0)
assert status == 0, status
"""
    done = run_script(tmp_path, PRELUDE + body, **environment(tmp_path / "home"))
    assert done.returncode == 0, done.stderr
    states = recorded(tmp_path / "home")
    assert len(states) == 60
    assert all(kinds[-1] == "COMPLETED" for kinds in states.values())


def test_an_own_signal_handler_is_left_alone(tmp_path: Path) -> None:
    body = """
signal.signal(signal.SIGUSR1, lambda *a: note("usr1"))
@task(timeout_seconds=20)
def work():
    os.kill(os.getpid(), signal.SIGUSR1)
    time.sleep(0.05)
@flow
def main():
    work()
main()
note(signal.getsignal(signal.SIGUSR1) is not signal.SIG_DFL)
note(signal.getsignal(signal.SIGINT) is signal.default_int_handler)
note(signal.getsignal(signal.SIGTERM) == signal.SIG_DFL)
"""
    done = run_script(tmp_path, PRELUDE + body, **environment(tmp_path / "home"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["usr1", "True", "True", "True"]


def test_interrupting_a_nested_flow(tmp_path: Path) -> None:
    body = """
@flow(flow_run_name="the inner run", on_crashed=[hook("inner")])
def inner():
    note("ready")
    time.sleep(30)
@flow(flow_run_name="the flow run", on_crashed=[hook("outer")])
def main():
    inner()
main()
"""
    code, printed = interrupt(tmp_path, body, signal.SIGINT)
    assert code in {1, 130, -signal.SIGINT}
    assert [line for line in printed if line.startswith("hook")] == ["hook inner Crashed", "hook outer Crashed"]


def test_catching_the_interrupt_lets_the_flow_go_on(tmp_path: Path) -> None:
    body = """
@flow(flow_run_name="the flow run", **HOOKS)
def main():
    try:
        note("ready")
        time.sleep(30)
    except KeyboardInterrupt:
        note("caught")
    return 5
note(main())
"""
    code, printed = interrupt(tmp_path, body, signal.SIGINT)
    assert code == 0
    assert printed[1:4] == ["caught", "hook completion Completed", "5"]
