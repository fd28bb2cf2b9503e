"""Runs and contexts made by hand, and journals in memory, for the tests of logging."""

import logging
from types import SimpleNamespace

import pytest

from riverrun.client import journal
from riverrun.logging import ensure_logging_setup
from riverrun.wire.runs import FlowRun, TaskRun


@pytest.fixture
def owner():
    """Makes what stands for a flow or a task: something with a name."""
    return lambda name: SimpleNamespace(name=name)


@pytest.fixture
def flow_run():
    return FlowRun(name="brave-otter")


@pytest.fixture
def task_run(flow_run):
    return TaskRun(name="t-0", flow_run_id=flow_run.id)


@pytest.fixture
def journaled():
    """The records that go to the journal during the test."""
    ensure_logging_setup()
    with journal.use(journal.MemoryJournal()) as memory:
        yield memory.records


@pytest.fixture
def fresh_logger():
    """Makes a logger of its own with the handlers given, which does not reach riverrun's."""
    made = []

    def make(*handlers):
        logger = logging.getLogger(f"test.logging.{len(made)}.{id(made)}")
        logger.setLevel(logging.DEBUG)
        logger.propagate = False
        logger.handlers = list(handlers)
        made.append(logger)
        return logger

    yield make
    for logger in made:
        logger.handlers = []
