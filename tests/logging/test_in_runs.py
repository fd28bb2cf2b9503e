"""Logging and printing inside real runs."""

import asyncio
import logging
import uuid

import pytest

from riverrun import flow, get_run_logger, task
from riverrun.base.config import temporary_settings
from riverrun.logging import setup_logging
from riverrun.testing import riverrun_test_harness


@pytest.fixture
def harness():
    with riverrun_test_harness() as harness:
        yield harness


def test_lines_are_kept_with_their_run(harness, caplog):
    @task
    def load(x):
        get_run_logger().warning("loading %s", x)

    @flow
    def etl():
        get_run_logger().info("begins")
        load(1)
        load.submit(2).wait()

    etl()
    run = harness.run("etl")
    for text in ("begins", "loading 1", "loading 2"):
        harness.assert_logged(text, run=run)
    harness.assert_logged("loading 2", run="load-1", level="WARNING")
    assert [line.message for line in harness.logs("load-0", level="WARNING")] == ["loading 1"]
    record = next(record for record in caplog.records if record.getMessage() == "loading 1")
    assert record.flow_run_name == run.name
    assert record.task_run_name == "load-0"
    assert record.flow_name == "etl"


def test_async_runs(harness):
    @task
    async def load(x):
        get_run_logger().info("loading %s", x)

    @flow
    async def etl():
        await asyncio.gather(*(load(x) for x in range(3)))
        load.submit(3).wait()

    asyncio.run(etl())
    said = sorted(line.message for line in harness.logs() if line.message.startswith("loading"))
    assert said == [f"loading {x}" for x in range(4)]
    assert len({line.task_run_id for line in harness.logs() if line.message.startswith("loading")}) == 4


def test_exceptions_of_user_code_are_in_the_log(harness):
    @flow
    def fails():
        raise LookupError("no such thing")

    assert fails(return_state=True).is_failed()
    harness.assert_logged("LookupError: no such thing", run="fails", level="ERROR")


def test_extra_loggers_inside_runs(harness):
    name = f"library.{uuid.uuid4().hex}"
    with temporary_settings({"logging_extra_loggers": [name]}):
        setup_logging()

    @task
    def uses_a_library():
        logging.getLogger(name).info("from the library")

    @flow
    def etl():
        uses_a_library()
        uses_a_library.submit().wait()

    etl()
    assert len([line for line in harness.logs() if line.message == "from the library" and line.task_run_id]) == 2


def test_the_level_is_respected(harness):
    @flow
    def etl():
        get_run_logger().debug("too quiet")

    etl()
    assert "too quiet" not in [line.message for line in harness.logs()]


@pytest.mark.parametrize("asked", [True, False])
def test_prints_of_runs_that_ask_for_it(harness, capsys, asked):
    @task
    def inherits():
        print("of the task")

    @task(log_prints=not asked)
    def differs():
        print("of the other task")

    @flow(log_prints=asked)
    def etl():
        print("of the", "flow")
        inherits()
        inherits.submit().wait()
        differs()

    etl()
    logged = sorted(line.message for line in harness.logs() if line.message.startswith("of the"))
    printed = sorted(capsys.readouterr().out.splitlines())
    flow_side = ["of the flow", "of the task", "of the task"]
    assert (logged, printed) == ((flow_side, ["of the other task"]) if asked else (["of the other task"], flow_side))
    print("after")
    assert capsys.readouterr().out == "after\n"
