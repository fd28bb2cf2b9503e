"""What needs a server inside a harness gets one of the block's own."""

import asyncio

import pytest

from riverrun import flow, get_client, task
from riverrun.base.config import settings
from riverrun.client import location
from riverrun.testing import prefect_test_harness, riverrun_test_harness


@task
def double(number: int) -> int:
    return 2 * number


@flow
def doubled(upto: int = 3) -> list[int]:
    return [double(number) for number in range(upto)]


def test_a_harness_alone_starts_nothing() -> None:
    with riverrun_test_harness():
        doubled()
        assert location.api_url() is None
        assert not settings().home.exists()


@pytest.mark.slow
def test_a_client_sees_the_runs_of_the_block(monkeypatch: pytest.MonkeyPatch) -> None:
    """And only those: the database that the environment names is left alone."""
    monkeypatch.setenv("RIVERRUN_API_DATABASE_CONNECTION_URL", "postgresql://nobody@127.0.0.1:1/not-to-be-touched")
    with prefect_test_harness():
        home = settings().home
        state = doubled(return_state=True)
        run_id = state.state_details.flow_run_id
        with get_client(sync_client=True) as client:
            run = client.read_flow_run(run_id)
            assert run.state_name == "Completed"
            assert run.run_count == 1
            assert len(client.read_task_runs(task_run_filter={"flow_run_id": {"any_": [run_id]}})) == 3
            doubled()
            assert client.count_flow_runs() == 2

        async def count() -> int:
            async with get_client() as awaited:
                return await awaited.count_flow_runs()

        doubled()
        assert asyncio.run(count()) == 3
        assert location.running_server(home) is not None
    assert location.running_server(home) is None
    assert not home.exists()
