"""Scripts in surroundings that are not friendly: broken homes, own timers, threads that never end, odd environments."""

from pathlib import Path

import pytest

from .sdk import ON_PEER, riverrun_only, run_script

pytestmark = pytest.mark.timeout(120)

SCRIPT = """
    from SDK import flow, get_run_logger, task

    @task(retries=1)
    def work(x):
        return x + 1

    @flow(log_prints=True)
    def main():
        get_run_logger().info("a line")
        print("printed")
        return work(1), work.submit(2).result(), work.map([3]).result()

    if __name__ == "__main__":
        assert main() == (2, 3, [4])
        print("end")
"""


def test_plain_script(tmp_path: Path) -> None:
    done = run_script(tmp_path, SCRIPT, RIVERRUN_HOME=str(tmp_path / "home"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "end"


@riverrun_only("a home that cannot be written leaves the flow's own work alone, with a clear message")
@pytest.mark.parametrize("home", ["under a file", "in proc", "empty", "with a blank", "unicode"])
def test_homes(tmp_path: Path, home: str) -> None:
    (tmp_path / "file").write_text("")
    where = {
        "under a file": tmp_path / "file" / "home",
        "in proc": Path("/proc/no-such-place/home"),
        "empty": tmp_path / "new" / "deep" / "home",
        "with a blank": tmp_path / "a home",
        "unicode": tmp_path / "хоме 🐟",
    }[home]
    done = run_script(tmp_path, SCRIPT, RIVERRUN_HOME=str(where))
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "end"
    if home in {"under a file", "in proc"}:
        assert str(where) in done.stderr, done.stderr
        assert "Traceback" not in done.stderr, done.stderr
    else:
        assert (where / "journal").is_dir()


@riverrun_only("journals hold parameters and logs: they are for their owner only (SDK-NOTES 16)")
def test_the_journal_is_private(tmp_path: Path) -> None:
    run_script(tmp_path, SCRIPT, RIVERRUN_HOME=str(tmp_path / "home"))
    for path in (tmp_path / "home" / "journal").rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path


@pytest.mark.skipif(ON_PEER, reason="the peer's time-outs use the same timer")
def test_a_timer_of_the_users_own_and_time_outs(tmp_path: Path) -> None:
    source = """
        import signal, time
        from SDK import flow, task

        rung = []
        def ring(*args):
            rung.append(1)
        signal.signal(signal.SIGALRM, ring)

        @task(timeout_seconds=0.2)
        def slow():
            deadline = time.monotonic() + 10
            while time.monotonic() < deadline:
                time.sleep(0.01)

        state = slow(return_state=True)
        assert state.name == "TimedOut", state
        assert signal.getsignal(signal.SIGALRM) is ring
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        time.sleep(0.2)
        assert rung
        print("end")
    """
    done = run_script(tmp_path, source, RIVERRUN_HOME=str(tmp_path / "home"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "end"


@riverrun_only("a thread that cannot be stopped does not keep the process from ending (SDK-NOTES 17)")
def test_a_stuck_thread_does_not_hold_up_the_exit(tmp_path: Path) -> None:
    source = """
        import threading
        from SDK import flow, task

        @task(timeout_seconds=0.2)
        def stuck():
            threading.Event().wait(300)

        @flow
        def main():
            future = stuck.submit()
            future.wait(5)
            return future.state.name

        print(main(return_state=True).result())
    """
    done = run_script(tmp_path, source, timeout=30, RIVERRUN_HOME=str(tmp_path / "home"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "TimedOut"


def test_without_a_terminal_and_with_closed_streams(tmp_path: Path) -> None:
    source = """
        import os, sys
        from SDK import flow, task
        sys.stdin.close()

        @flow
        def main():
            return 1

        assert main() == 1
        os.write(1, b"end")
    """
    done = run_script(tmp_path, source, RIVERRUN_HOME=str(tmp_path / "home"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("end")


@riverrun_only("a flow runs even where nothing can be printed")
def test_stderr_that_is_gone(tmp_path: Path) -> None:
    source = """
        import os, sys
        from SDK import flow, get_run_logger
        sys.stderr = None
        os.close(2)

        @flow
        def main():
            get_run_logger().error("to nobody")
            return 1

        assert main() == 1
        os.write(1, b"end")
    """
    done = run_script(tmp_path, source, RIVERRUN_HOME=str(tmp_path / "home"))
    assert done.returncode == 0
    assert done.stdout.endswith("end")


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_flows_in_child_processes_of_the_users_own(tmp_path: Path, start: str) -> None:
    if ON_PEER and start == "fork":
        pytest.skip("the peer's threads and locks do not survive a fork")
    source = f"""
        import multiprocessing
        from SDK import flow, task

        @task
        def work(x):
            return x * 2

        @flow
        def main(x):
            return sum(work.map([x, x]).result()) + work(x)

        def call(x):
            return main(x)

        if __name__ == "__main__":
            assert main(1) == 6
            with multiprocessing.get_context({start!r}).Pool(2) as pool:
                assert pool.map(call, [1, 2, 3]) == [6, 12, 18]
            assert main(2) == 12
            print("end")
    """
    done = run_script(tmp_path, source, RIVERRUN_HOME=str(tmp_path / "home"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "end"


@riverrun_only("importing is light: nothing heavy comes along")
def test_a_flow_without_pydantic_or_asyncio(tmp_path: Path) -> None:
    source = """
        import sys
        from SDK import flow, task

        @task
        def work(x: int) -> int:
            return x

        @flow
        def main(x: int, name: str = "n") -> int:
            return work(x)

        assert main(1) == 1
        heavy = {"asyncio", "concurrent.futures", "pydantic", "httpx", "ssl", "cloudpickle", "fsspec", "rich", "sqlalchemy"}
        print(sorted(heavy & set(sys.modules)))
    """
    done = run_script(tmp_path, source, RIVERRUN_HOME=str(tmp_path / "home"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"


def test_optimised_and_isolated_interpreters(tmp_path: Path) -> None:
    done = run_script(tmp_path, SCRIPT, RIVERRUN_HOME=str(tmp_path / "home"), PYTHONOPTIMIZE="2", PYTHONDEVMODE="1")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "end"


def test_a_small_recursion_limit_and_stack(tmp_path: Path) -> None:
    source = """
        import threading
        from SDK import flow, task

        @task
        def work(x):
            return x

        @flow
        def main():
            return work.map(list(range(10))).result()

        threading.stack_size(256 * 1024)
        assert main() == list(range(10))
        print("end")
    """
    done = run_script(tmp_path, source, RIVERRUN_HOME=str(tmp_path / "home"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "end"
