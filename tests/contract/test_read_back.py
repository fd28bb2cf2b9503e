"""What the store remembers of runs, read back the way the command line does."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from .sdk import ON_PEER

pytestmark = pytest.mark.skipif(ON_PEER, reason="the store is riverrun's")

SCRIPT = """
import datetime
from riverrun import flow, task
from riverrun.cache_policies import INPUTS

@task(cache_policy=INPUTS, cache_expiration=datetime.timedelta(days=1))
def kept(x):
    return x

@task(persist_result=True, task_run_name="named-{x}")
def stored(x):
    return {"x": x}

@task(persist_result=True)
def unstorable():
    return lambda: (_ for _ in ())

@flow(persist_result=True, flow_run_name="the run")
def main(where=__import__("pathlib").Path("/some/where")):
    kept(1), kept(1), stored(2), stored.submit(3).result()
    return 4

main()
"""


def test_persisted_results_leave_whole_records(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    environment = {**os.environ, "RIVERRUN_HOME": str(tmp_path / "home")}
    subprocess.run([sys.executable, "script.py"], cwd=tmp_path, env=environment, check=True, timeout=60)
    # in this process, but on that home
    from riverrun.base.config import temporary_settings
    from riverrun.client.local import open_store

    with temporary_settings({"home": tmp_path / "home"}), open_store() as store:
        run = store.flow_run("the run")
        assert run.state_name == "Completed"
        assert run.parameters == {"where": "/some/where"}
        assert run.state is not None
        assert run.state.data["storage_key"]
        runs = {each.name: each for each in store.task_runs(flow_run_id=run.id)}
        assert {name: each.state_name for name, each in runs.items()} == {
            "kept-0": "Completed",
            "kept-1": "Cached",
            "named-2": "Completed",
            "named-3": "Completed",
        }
        assert runs["kept-0"].cache_key == runs["kept-1"].cache_key
        assert runs["kept-0"].cache_key
        assert store.lost() == []
