"""Several processes at once: they compute a cached value once, and children write their own records."""

import signal
import subprocess
from pathlib import Path

import pytest

from .sdk import ON_PEER, child_environment, run_script, script

pytestmark = pytest.mark.timeout(120)


@pytest.mark.skipif(ON_PEER, reason="the peer's reader trips over a lock file that is being written")
def test_two_processes_compute_once(tmp_path: Path) -> None:
    source = f"""
        import os, pathlib, sys
        from SDK import task
        from SDK.cache_policies import INPUTS
        from SDK.locking.filesystem import FileSystemLockManager
        from SDK.transactions import IsolationLevel

        here = pathlib.Path({str(tmp_path)!r})
        policy = INPUTS.configure(
            key_storage=here / "keys",
            lock_manager=FileSystemLockManager(here / "locks"),
            isolation_level=IsolationLevel.SERIALIZABLE,
        )

        @task(cache_policy=policy, result_storage=here / "results", persist_result=True)
        def work(x):
            with (here / "computed").open("a") as out:
                out.write(f"{{os.getpid()}}\\n")
            return x * 2

        sys.stdout.write("ready\\n")
        sys.stdout.flush()
        sys.stdin.readline()
        assert work(21) == 42
    """
    command = script(tmp_path, source)
    children = [
        subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=child_environment(RIVERRUN_HOME=str(tmp_path / "home")),
        )
        for _ in range(4)
    ]
    try:
        for child in children:
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n"
        for child in children:
            assert child.stdin is not None
            child.stdin.write("go\n")
            child.stdin.flush()
        assert [child.wait(60) for child in children] == [0] * 4
    finally:
        for child in children:
            child.kill()
            child.communicate()  # closes the pipes too
    assert len((tmp_path / "computed").read_text().splitlines()) == 1


PROCESS_FLOW = """
    import os
    from SDK import flow, get_run_logger, tags, task
    from SDK.task_runners import ProcessPoolTaskRunner

    @task(task_run_name="elsewhere", log_prints=True, retries=1)
    def work(x, parent):
        assert os.getpid() != parent
        get_run_logger().warning("logged elsewhere")
        print("printed elsewhere")
        return x + 1

    @task(task_run_name="fails elsewhere")
    def fails():
        raise ValueError("elsewhere")

    @task(task_run_name="exits")
    def exits():
        os._exit(3)

    @flow(flow_run_name="main", task_runner=ProcessPoolTaskRunner(max_workers=2))
    def main():
        good, bad = work.submit(1, os.getpid()), fails.submit()
        bad.wait()
        return good.result(), bad.state.name

    if __name__ == "__main__":
        print(main())
"""


def test_a_process_runner_in_a_script(tmp_path: Path) -> None:
    done = run_script(tmp_path, PROCESS_FLOW, timeout=100, RIVERRUN_HOME=str(tmp_path / "home"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "(2, 'Failed')"


@pytest.mark.skipif(ON_PEER, reason="the journal is riverrun's")
def test_records_of_a_process_runner_are_whole(tmp_path: Path) -> None:
    from riverrun.wire import journal, spool

    done = run_script(tmp_path, PROCESS_FLOW, RIVERRUN_HOME=str(tmp_path / "home"))
    assert done.returncode == 0, done.stderr
    records = [
        journal.decode(payload) for one in spool.spools(tmp_path / "home" / "journal") for _, payload in one.records()
    ]
    names = {record.id: record.name for record in records if isinstance(record, journal.TaskRunRecord)}
    names.update(
        {
            record.run_id: record.fields["name"]
            for record in records
            if isinstance(record, journal.RunUpdateRecord) and "name" in record.fields and record.run_id in names
        }
    )
    assert sorted(names.values()) == ["elsewhere", "fails elsewhere"]
    states = {
        name: [record.type for record in records if isinstance(record, journal.StateRecord) and record.run_id == run]
        for run, name in names.items()
    }
    assert {name: kinds[-1] for name, kinds in states.items()} == {"elsewhere": 4, "fails elsewhere": 5}
    logged = {
        record.message: names.get(record.task_run_id or b"")
        for record in records
        if isinstance(record, journal.LogRecord) and record.task_run_id
    }
    assert logged["logged elsewhere"] == "elsewhere"
    assert logged["printed elsewhere"] == "elsewhere"


@pytest.mark.skipif(ON_PEER, reason="the peer's pool breaks and takes its flow along")
def test_a_worker_process_that_dies_crashes_its_run(tmp_path: Path) -> None:
    source = PROCESS_FLOW.replace(
        "good, bad = work.submit(1, os.getpid()), fails.submit()",
        "good, bad = work.submit(1, os.getpid()), exits.submit()",
    ).replace("good.result(), bad.state.name", "bad.state.type.value")
    done = run_script(tmp_path, source, RIVERRUN_HOME=str(tmp_path / "home"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "CRASHED"


@pytest.mark.skipif(ON_PEER, reason="the peer's pool breaks, and what comes after it with it")
def test_outcomes_that_processes_can_not_send(tmp_path: Path) -> None:
    source = """
        import os, signal, sys, threading, time
        from SDK import task
        from SDK.exceptions import SerializationError
        from SDK.task_runners import ProcessPoolTaskRunner

        class TwoArguments(Exception):
            def __init__(self, first, second):
                super().__init__(f"{first} {second}")

        class Locked(Exception):
            def __init__(self, text):
                super().__init__(text)
                self.lock = threading.Lock()

        @task
        def two():
            raise TwoArguments("made", "once")

        @task
        def locked():
            raise Locked("held fast")

        @task
        def gives_lock():
            return threading.Lock()

        @task
        def takes(value):
            return value

        @task
        def dies():
            os.kill(os.getpid(), signal.SIGKILL)

        @task
        def leaves():
            sys.exit(3)

        def failure(future):
            future.wait(30)
            try:
                future.result(timeout=0)
            except BaseException as error:
                return f"{future.state.name} {type(error).__name__}: {error}"

        if __name__ == "__main__":
            with ProcessPoolTaskRunner(max_workers=1) as runner:
                for name, told in {"two": "made once", "locked": "held fast", "gives_lock": "'gives_lock'"}.items():
                    text = failure(runner.submit(globals()[name], {}))
                    assert text.startswith("Failed SerializationError") and told in text and name in text, text
                text = failure(runner.submit(takes, {"value": threading.Lock()}))
                assert text.startswith("Failed SerializationError") and "'takes'" in text, text
                assert failure(runner.submit(leaves, {})).startswith("Crashed")
                assert failure(runner.submit(dies, {})).startswith("Crashed")
                # a pool that broke is replaced
                assert runner.submit(takes, {"value": 5}).result(timeout=30) == 5
            with ProcessPoolTaskRunner(max_workers=1) as runner:
                waiting = [runner.submit(takes, {"value": n}) for n in range(3)]
                runner.cancel_all()
                assert all(future.state.is_final() for future in waiting)
    """
    done = run_script(tmp_path, source)
    assert done.returncode == 0, done.stderr


def test_a_script_without_a_main_guard_ends(tmp_path: Path) -> None:
    source = """
        from SDK import flow, task
        from SDK.task_runners import ProcessPoolTaskRunner

        @task
        def one():
            return 1

        @flow(task_runner=ProcessPoolTaskRunner(max_workers=1))
        def main():
            return one.submit().result()

        main()
    """
    done = run_script(tmp_path, source)
    assert done.returncode != 0
    assert "__main__" in done.stderr  # says what is missing


def test_a_flow_is_retried_with_its_process_runner(tmp_path: Path) -> None:
    source = """
        from SDK import flow, task
        from SDK.task_runners import ProcessPoolTaskRunner

        attempts = []

        @task
        def square(x):
            return x * x

        @flow(retries=1, task_runner=ProcessPoolTaskRunner(max_workers=1))
        def main():
            attempts.append(1)
            squared = square.submit(len(attempts) + 1)
            if len(attempts) == 1:
                raise ValueError("again")
            return squared.result()

        if __name__ == "__main__":
            assert main() == 9
    """
    done = run_script(tmp_path, source)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(ON_PEER, reason="the peer waits for its processes to finish their work")
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_ends_the_runs_in_processes_too(tmp_path: Path, name: str) -> None:
    source = """
        import pathlib, sys, time
        from SDK import flow, task
        from SDK.task_runners import ProcessPoolTaskRunner

        @task
        def works(place):
            try:
                print("at work", flush=True)
                time.sleep(600)
            finally:
                pathlib.Path(place).write_text("cleaned up")

        @flow(task_runner=ProcessPoolTaskRunner(max_workers=1))
        def main(place):
            works.submit(place)
            works.submit(place + "2").wait()  # never begins

        if __name__ == "__main__":
            main(sys.argv[1])
    """
    child = subprocess.Popen(
        script(tmp_path, source, str(tmp_path / "trace")),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=child_environment(RIVERRUN_HOME=str(tmp_path / "home")),
    )
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == "at work\n"
        child.send_signal(signal.Signals[name])
        _, told = child.communicate(timeout=60)
    finally:
        child.kill()
    assert child.returncode == -signal.Signals[name], told
    assert (tmp_path / "trace").read_text() == "cleaned up"
    assert not (tmp_path / "trace2").exists()
    assert "Crash detected" in told
