"""What a flow writes arrives at the server: at once, completely, exactly once, whoever dies meanwhile."""

import os
import signal
import time

from tests.with_server.conftest import Place, until

MANY = """
    import os, sys, time
    from riverrun import flow, get_run_logger, task
    from riverrun.runtime import flow_run

    @task
    def unit(i, pause):
        get_run_logger().info("unit %s", i)
        time.sleep(pause)
        return i

    @flow
    def many(n, pause):
        print(flow_run.id)
        total = 0
        for i in range(n):
            total += unit(i, pause)
            print("done", i)
        return total

    many(int(sys.argv[1]), float(sys.argv[2]))
    print("ended")
"""


def test_a_run_is_seen_while_it_runs(place: Place) -> None:
    script = place.start(MANY, "2000", "0.01")
    run_id = script.said()
    started = time.monotonic()
    until(lambda: place.state(run_id) == "Running")
    assert time.monotonic() - started < 1
    while script.said() != "done 20":
        pass
    finished = until(lambda: [run for run in place.task_runs(run_id) if run["state_type"] == "COMPLETED"], 1)
    assert finished


def test_everything_arrives_when_the_process_ends(own_place: Place) -> None:
    script = own_place.start(MANY, "300", "0")
    run_id = script.said()
    assert script.ended() == 0
    assert own_place.states(run_id) == ["Pending", "Running", "Completed"]
    runs = own_place.task_runs(run_id)
    assert len(runs) == 300
    assert {run["state_name"] for run in runs} == {"Completed"}
    assert not list((own_place.home / "journal").iterdir()), "the server has it, so the disk does not keep it"


def test_the_server_dies_and_comes_back_while_a_flow_runs(own_place: Place) -> None:
    script = own_place.start(MANY, "150", "0.01")
    run_id = script.said()
    while script.said() != "done 40":
        pass
    assert own_place.server is not None
    own_place.server.close()  # SIGKILL
    while script.said() != "done 80":
        pass
    own_place.serve()
    assert script.ended() == 0
    assert script.lines[-1] == "ended"
    until(lambda: own_place.state(run_id) == "Completed")
    runs = own_place.task_runs(run_id)
    assert len(runs) == len({run["dynamic_key"] for run in runs}) == 150
    assert {run["state_name"] for run in runs} == {"Completed"}
    assert own_place.states(run_id) == ["Pending", "Running", "Completed"]


def test_a_flow_neither_waits_nor_fails_without_its_server(bare: Place) -> None:
    """An address where nobody answers: the flow goes on at its own speed, and the exit waits as long as it is told to."""
    script = bare.start(
        MANY, "100", "0", RIVERRUN_API_URL="http://127.0.0.1:9/api", RIVERRUN_JOURNAL_EXIT_SECONDS="0.3"
    )
    run_id = script.said()
    started = time.monotonic()
    while script.said() != "ended":
        pass
    assert time.monotonic() - started < 1
    assert script.ended() == 0
    # whoever serves this home next takes in what was left
    bare.serve()
    until(lambda: bare.state(run_id) == "Completed")
    assert len(bare.task_runs(run_id)) == 100


def test_the_next_process_ships_what_was_left_for_a_remote_server(place: Place) -> None:
    """The server of another home is a remote one: it cannot read this home's journals itself."""
    assert place.server is not None
    elsewhere = Place(place.path / "elsewhere", f"{place.server.url}/api")
    elsewhere.path.mkdir()
    try:
        gone = elsewhere.start(
            MANY, "20", "0", RIVERRUN_API_URL="http://127.0.0.1:9/api", RIVERRUN_JOURNAL_EXIT_SECONDS="0"
        )
        left = gone.said()
        assert gone.ended() == 0
        assert place.state(left) is None
        following = elsewhere.start(MANY, "50", "0.02")
        following.said()
        until(lambda: place.state(left) == "Completed")
        assert len(place.task_runs(left)) == 20
        assert following.ended() == 0
    finally:
        elsewhere.close()


def test_a_killed_flow_has_told_everything_and_is_found_to_be_dead(place: Place) -> None:
    script = place.start(MANY, "100000", "0")
    run_id = script.said()
    while script.said() != "done 50":
        pass
    os.kill(script.process.pid, signal.SIGKILL)
    script.process.wait(5)
    script._reader.join(5)
    done = sum(line.startswith("done") for line in script.lines)
    # the journal is on this machine, so its server reads the rest, and sees that nobody writes it any more
    until(lambda: place.state(run_id) == "Crashed", 15)
    completed = [run for run in place.task_runs(run_id) if run["state_type"] == "COMPLETED"]
    assert len(completed) >= done


def test_a_server_that_comes_while_a_flow_runs_is_found(bare: Place) -> None:
    script = bare.start(MANY, "100000", "0.01")
    run_id = script.said()
    bare.serve()
    until(lambda: bare.state(run_id) == "Running", 10)
    script.kill()


def test_forked_children_ship_their_own(place: Place) -> None:
    script = place.start(
        """
        import os
        from riverrun import flow, task
        from riverrun.runtime import flow_run
        from riverrun.client import journal

        @task
        def unit(i):
            return i

        @flow
        def forks():
            print(flow_run.id)
            unit(0)
            assert journal.settle(10)  # the shipper runs when the fork comes
            children = []
            for i in range(1, 4):
                child = os.fork()
                if child == 0:
                    unit(i)
                    journal.close()
                    os._exit(0)
                children.append(child)
            codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
            assert codes == [0, 0, 0], codes
            unit(4)

        forks()
        """
    )
    run_id = script.said()
    assert script.ended() == 0, "\n".join(script.lines)
    until(lambda: len(place.task_runs(run_id)) == 5)
    until(lambda: {run["state_name"] for run in place.task_runs(run_id)} == {"Completed"})


def test_a_process_that_is_told_to_end_tells_its_server_first(place: Place) -> None:
    """A remote server: it cannot read what lies on this machine's disk."""
    assert place.server is not None
    elsewhere = Place(place.path / "elsewhere", f"{place.server.url}/api")
    elsewhere.path.mkdir()
    try:
        script = elsewhere.start(MANY, "100000", "0.01")
        run_id = script.said()
        while script.said() != "done 5":
            pass
        script.process.terminate()
        assert script.ended() == -signal.SIGTERM
        assert place.states(run_id) == ["Pending", "Running", "Crashed"]
        assert not list((elsewhere.home / "journal").iterdir())
    finally:
        elsewhere.close()


def test_a_store_that_was_emptied_meanwhile(own_place: Place) -> None:
    """What it had acknowledged is gone; it is told so, and gets the rest."""
    script = own_place.start(MANY, "400", "0.01")
    run_id = script.said()
    while script.said() != "done 150":  # long enough for what was acknowledged to be noted
        pass
    assert own_place.server is not None
    own_place.server.close()
    for file in own_place.home.glob("riverrun.db*"):
        file.unlink()
    own_place.serve()
    assert script.ended() == 0
    until(lambda: own_place.state(run_id) == "Completed")
    completed = [run for run in own_place.task_runs(run_id) if run["state_type"] == "COMPLETED"]
    assert 200 < len(completed) < 400
    lost = own_place.api.get("/find/lost").json()
    assert lost[0]["first"] == 1
    assert "store" in lost[0]["why"]


def test_what_children_of_a_process_runner_leave_behind(place: Place) -> None:
    assert place.server is not None
    elsewhere = Place(place.path / "elsewhere", f"{place.server.url}/api")
    elsewhere.path.mkdir()
    try:
        script = elsewhere.start(
            """
            from riverrun import flow, task
            from riverrun.runtime import flow_run
            from riverrun.task_runners import ProcessPoolTaskRunner

            @task
            def unit(i):
                return i

            @flow(task_runner=ProcessPoolTaskRunner(max_workers=2))
            def spread():
                print(flow_run.id)
                print(sum(unit.map(range(10)).result()))

            if __name__ == "__main__":
                spread()
            """
        )
        run_id = script.said()
        assert script.said() == "45"
        assert script.ended() == 0
        assert {run["state_name"] for run in place.task_runs(run_id)} == {"Completed"}
        assert len(place.task_runs(run_id)) == 10
    finally:
        elsewhere.close()
