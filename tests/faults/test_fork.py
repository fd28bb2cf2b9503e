"""Children that a run forks or spawns: what they run is recorded once, and the run stays their parent's."""

import pytest

from tests.faults.home import Home, home

__all__ = ["home"]


@pytest.mark.timeout(60)
@pytest.mark.parametrize("where", ["flow", "task"])
@pytest.mark.parametrize("how", ["_exit", "sys.exit", "fork", "spawn"])
def test_children_of_a_run(home: Home, how: str, where: str) -> None:  # noqa: F811
    done = home.run("-m", "tests.faults.forks", how, where)
    assert done.returncode == 0, done.stderr
    assert "Crash" not in done.stderr
    with home.store() as store:
        (run,) = store.flow_runs()
        runs = store.task_runs(flow_run_id=run.id, limit=1000)
        alone = [task_run for task_run in store.task_runs(limit=1000) if task_run.flow_run_id is None]
        own = 1 + (where == "task") + 20 + 3
        children = 3 * (25 if how in {"_exit", "sys.exit"} else 20)
        assert len(runs) == own + (0 if how == "spawn" else children)
        assert len(alone) == (children if how == "spawn" else 0)
        assert len({(task_run.task_key, task_run.dynamic_key) for task_run in runs}) == len(runs)
        for each in [*runs, *alone, run]:
            states = store.flow_run_states(each.id) if each is run else store.task_run_states(each.id)
            assert [state.type.value for state in states] == ["PENDING", "RUNNING", "COMPLETED"], each.name
