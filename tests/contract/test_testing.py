"""What users' own tests lean on: `fn`, the harness, run-free calls."""

import asyncio

import pytest

from .sdk import ON_PEER, flow, get_run_logger, import_module, riverrun_only, task

runtime = import_module("runtime")


@task
def add(x, y=1):
    return x + y


@flow
def total(items):
    return sum(add.map(items).result())


def test_fn_needs_no_run() -> None:
    assert add.fn(1) == 2
    assert add.fn(1, y=5) == 6


def test_fn_of_async_functions() -> None:
    @task
    async def one():
        return 1

    assert asyncio.run(one.fn()) == 1


def test_fn_inside_fn_has_no_run() -> None:
    @task
    def who():
        return runtime.task_run.id

    assert who.fn() is None


def test_loggers_in_fn_can_be_silenced() -> None:
    @task
    def logs():
        get_run_logger().info("x")
        return 1

    with import_module("logging").disable_run_logger():
        assert logs.fn() == 1


@pytest.mark.skipif(ON_PEER, reason="the whole suite already runs inside the peer's harness")
def test_harness(tmp_path, monkeypatch) -> None:
    """Under the harness nothing is written to the user's home."""
    utilities = import_module("testing.utilities")
    monkeypatch.setenv("RIVERRUN_HOME", str(tmp_path / "home"))
    harness = getattr(utilities, "riverrun_test_harness", None) or utilities.prefect_test_harness
    with harness():
        assert total([1, 2]) == 5
    assert not [path for path in (tmp_path / "home").rglob("*") if path.is_file()]


@riverrun_only("a harness of the house's own, under both names")
def test_harness_has_both_names() -> None:
    utilities = import_module("testing.utilities")
    assert utilities.prefect_test_harness
    assert utilities.riverrun_test_harness


def test_temporary_settings() -> None:
    settings = import_module("settings")
    prefix = settings.__name__.split(".")[0].upper()
    setting = getattr(settings, f"{prefix}_LOGGING_LOG_PRINTS")
    before = setting.value()
    with settings.temporary_settings({setting: True}):
        assert setting.value() is True
    assert setting.value() is before


def test_visualize_names_need_no_run() -> None:
    """`visualize` exists on flows; what it draws belongs to its own tests."""
    assert callable(total.visualize)


def test_a_flow_can_be_called_with_tasks_replaced(monkeypatch) -> None:
    monkeypatch.setattr(add, "fn", lambda x, y=1: 100)
    assert add(1) == 100
