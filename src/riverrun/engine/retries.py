"""Whether a failed task run is tried again, and when. The arithmetic is `rules.retry`'s; asking the user's condition waits."""

from collections.abc import Generator
from typing import TYPE_CHECKING

from riverrun.engine.effects import Effect, Hook
from riverrun.engine.hooks import hook_name
from riverrun.rules.retry import retry_delay

if TYPE_CHECKING:
    from riverrun.engine.task_run import TaskRunLife


def next_delay(life: "TaskRunLife") -> Generator[Effect, None, float | None]:
    """Seconds until the next attempt, or None if there is none."""
    task, run = life.task, life.run
    if run.run_count > task.retries:
        return None
    condition = task.retry_condition_fn
    if condition is not None:
        hook = Hook(condition, task, run, life.state)
        yield hook
        if hook.error is not None:
            if not isinstance(hook.error, Exception):
                raise hook.error
            life.logger.error(
                "An error was encountered while running the retry condition %r; the run is not retried",
                hook_name(condition),
                exc_info=hook.error,
            )
            return None
        if not hook.value:
            return None
    return retry_delay(task.retry_delay_seconds, task.retry_jitter_factor, run.run_count)
