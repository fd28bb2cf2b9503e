"""The process worker: what a run finds, what is kept apart, how it ends."""

import signal
import socket
import sys
import time
import urllib.error
import urllib.request

from tests.with_server.conftest import until
from tests.workers.conftest import Yard

PLAIN = """
    import os, sys
    from riverrun import flow
    from riverrun.runtime import flow_run

    @flow
    def main(x: int = 0):
        print("out", x, os.environ.get("GIVEN"), os.getcwd())
        print("err", os.environ["RIVERRUN__FLOW_RUN_ID"] == str(flow_run.id) == os.environ["PREFECT__FLOW_RUN_ID"], file=sys.stderr)
        return x

    @flow
    def fails():
        raise ValueError("on purpose")
"""


def test_a_run_finds_its_environment_and_its_output_is_kept(yard: Yard) -> None:
    yard.write(PLAIN)
    worker = yard.start()
    deployment = yard.deploy("main", job_variables={"env": {"GIVEN": "a"}})
    run_id = yard.trigger(deployment, x=3)
    assert yard.end(run_id)["name"] == "Completed"
    assert yard.told(run_id, "out ") == f"3 a {yard.place.path}"
    assert yard.told(run_id, "err ") == "True"
    assert sum(line.startswith("Finished in state") for line in yard.lines(run_id)) == 1, (
        "console lines are in the log once"
    )
    until(lambda: any(line.startswith("out 3") for line in worker.lines))
    failed = yard.run("fails")
    assert yard.end(failed)["name"] == "Failed"
    settings = {"stream_output": False, "working_dir": "/"}
    elsewhere = yard.deploy("main", file=str(yard.place.path / "flows.py"), path=None, job_variables=settings)
    quiet = yard.trigger(elsewhere, x=4)
    assert yard.end(quiet)["name"] == "Completed"
    assert yard.told(quiet, "out ") == "4 None /"
    assert not any(line.startswith("out 4") for line in worker.lines)
    worker.signal()
    assert worker.ended() == 0


ISOLATED = """
    import os, sys
    from riverrun import flow

    seen = []
    imported_in = os.getpid()

    @flow
    def main():
        print("seen", seen, os.environ.get("LEFT"), os.path.basename(os.getcwd()), "wave" in sys.modules, imported_in == os.getpid())
        seen.append(1)
        os.environ["LEFT"] = "behind"
        os.chdir("/")
        import wave
        sys.modules["wave"] = wave
"""


def test_what_a_run_does_is_not_seen_by_the_next(yard: Yard) -> None:
    yard.write(ISOLATED)
    yard.start()
    deployment = yard.deploy("main")
    for _ in range(3):
        run_id = yard.trigger(deployment)
        assert yard.end(run_id)["name"] == "Completed"
        assert yard.told(run_id, "seen ") == f"[] None {yard.place.path.name} False False"


def test_code_that_changed_on_disk_is_not_served_stale(yard: Yard) -> None:
    flows = "from riverrun import flow\nimport helper\n\n@flow\ndef main():\n    print('says', helper.WORD, {})\n"
    yard.write("WORD = 'a'\n", "helper.py")
    yard.write(flows.format(0))
    yard.start()
    deployment = yard.deploy("main")
    expected = "a 0"
    for number in range(5):
        run_id = yard.trigger(deployment)
        assert yard.end(run_id)["name"] == "Completed"
        assert yard.told(run_id, "says ") == expected
        # of the same length, and within the same second
        if number % 2:
            yard.write(flows.format(number))
        else:
            yard.write(f"WORD = '{'bcdef'[number]}'\n", "helper.py")
        word = (yard.place.path / "helper.py").read_text().split("'")[1]
        expected = f"{word} {number if number % 2 else expected.split()[1]}"


def test_a_cold_run_and_one_that_cannot_be_forked(yard: Yard) -> None:
    yard.write(
        """
        import threading, time
        from riverrun import flow
        threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()
        @flow
        def main():
            print("threads", threading.active_count() >= 2)
        """
    )
    yard.start()
    deployment = yard.deploy("main")
    for run_id in [yard.trigger(deployment) for _ in range(3)]:
        assert yard.end(run_id)["name"] == "Completed"
        assert yard.told(run_id, "threads ") == "True"
    cold = yard.trigger(yard.deploy("main", job_variables={"cold": True}))
    assert yard.end(cold)["name"] == "Completed"


def test_what_cannot_be_imported_has_crashed_with_the_reason(yard: Yard) -> None:
    yard.write("from riverrun import flow\nraise OSError('no such luck')\n")
    yard.start()
    state = yard.end(yard.run("main"))
    assert (state["name"], "no such luck" in state["message"]) == ("Crashed", True)
    state = yard.end(yard.run("other", file="nowhere.py"))
    assert (state["name"], "nowhere.py" in state["message"]) == ("Crashed", True)
    state = yard.end(yard.run("third", job_variables={"working_dir": "/there/is/none"}))
    assert (state["name"], "/there/is/none" in state["message"]) == ("Crashed", True)
    state = yard.end(yard.run("fourth", job_variables={"command": "/there/is/none"}))
    assert (state["name"], "/there/is/none" in state["message"]) == ("Crashed", True)


def test_a_command_of_ones_own(yard: Yard) -> None:
    yard.write(PLAIN)
    yard.start()
    run_id = yard.run("main", job_variables={"command": f"{sys.executable} -m riverrun.engine"})
    assert yard.end(run_id)["name"] == "Completed"
    state = yard.end(yard.run("fails", job_variables={"command": "false"}))
    assert (state["name"], "exit status 1" in state["message"]) == ("Crashed", True)


def test_limits_of_resources(yard: Yard) -> None:
    yard.write(
        """
        import resource
        from riverrun import flow
        @flow
        def main():
            print("files", resource.getrlimit(resource.RLIMIT_NOFILE)[0])
        """
    )
    yard.start()
    run_id = yard.run("main", job_variables={"open_files": 99})
    assert yard.end(run_id)["name"] == "Completed"
    assert yard.told(run_id, "files ") == "99"


NAPS = """
    import time
    from riverrun import flow

    @flow
    def nap(seconds: float):
        print("napping", flush=True)
        time.sleep(seconds)
"""


def test_no_more_runs_at_once_than_the_limit_says(yard: Yard) -> None:
    yard.write(NAPS)
    yard.make_pool()
    deployment = yard.deploy("nap")
    runs = [yard.trigger(deployment, seconds=0.5) for _ in range(4)]
    yard.start("--limit", "2")
    for run_id in runs:
        assert yard.end(run_id)["name"] == "Completed"
    instants = []
    for run in (yard.place.run(run_id) for run_id in runs):
        instants += [(run["start_time"], 1), (run["end_time"], -1)]
    level = highest = 0
    for _, change in sorted(instants):
        level += change
        highest = max(highest, level)
    assert highest <= 2


def test_run_once_runs_what_is_due_and_ends(yard: Yard) -> None:
    yard.write(NAPS)
    yard.make_pool()
    deployment = yard.deploy("nap")
    runs = [yard.trigger(deployment, seconds=0.1) for _ in range(3)]
    worker = yard.start("--run-once")
    assert worker.ended() == 0
    assert [yard.place.state(run_id) for run_id in runs] == ["Completed"] * 3


def test_it_drains_on_sigterm(yard: Yard) -> None:
    yard.write(NAPS)
    worker = yard.start()
    deployment = yard.deploy("nap")
    run_id = yard.trigger(deployment, seconds=1.5)
    yard.told(run_id, "napping")
    worker.signal()
    until(lambda: worker.process.poll() is not None or yard.place.state(run_id) == "Completed")
    assert worker.ended() == 0
    assert yard.place.state(run_id) == "Completed"
    late = yard.trigger(deployment, seconds=0)
    assert yard.place.state(late) == "Scheduled"
    # whoever comes next takes what came meanwhile, and at once: the former one left nothing behind
    began = time.monotonic()
    yard.start()
    assert yard.end(late)["name"] == "Completed"
    assert time.monotonic() - began < 20


def test_a_second_signal_ends_the_runs(yard: Yard) -> None:
    yard.write(NAPS)
    worker = yard.start()
    run_id = yard.run("nap", parameters={"seconds": 1000})
    yard.told(run_id, "napping")
    worker.signal(signal.SIGINT)
    until(lambda: worker.process.poll() is None)
    time.sleep(0.3)  # two of one signal at once are one
    worker.signal(signal.SIGINT)
    assert worker.ended() == 0
    assert yard.place.state(run_id) == "Crashed"


def test_health(yard: Yard) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    yard.start("--with-healthcheck", str(port))

    def status() -> int:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code

    assert until(status) == 200


def test_a_worker_of_the_wrong_type_or_name(yard: Yard) -> None:
    yard.make_pool(type="docker")
    refused = yard.place.command("riverrun", "worker", "start", "--pool", yard.pool, "--type", "process")
    assert (refused.returncode, "docker" in refused.stderr) == (2, True)
    unknown = yard.place.command("riverrun", "worker", "start", "--pool", yard.pool)
    assert (unknown.returncode, "process" in unknown.stderr) == (2, True)
    missing = yard.place.command("riverrun", "worker", "start", "--pool", "none", "--no-create-pool-if-not-found")
    assert (missing.returncode, "none" in missing.stderr) == (2, True)
