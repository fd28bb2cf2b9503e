"""Task runners: where submitted tasks run. Threads by default, processes where the work is bound by the CPU.

A runner of one's own subclasses `TaskRunner` and gives `submit` and `duplicate`.
"""

from typing import TYPE_CHECKING, Any

from riverrun.task_runners.base import TaskRunner
from riverrun.task_runners.threads import ThreadPoolTaskRunner

if TYPE_CHECKING:
    from riverrun.task_runners.processes import ProcessPoolTaskRunner

#: the name this runner had in the peer's earlier versions
ConcurrentTaskRunner = ThreadPoolTaskRunner

__all__ = ["ConcurrentTaskRunner", "ProcessPoolTaskRunner", "TaskRunner", "ThreadPoolTaskRunner"]


def __getattr__(name: str) -> Any:
    if name == "ProcessPoolTaskRunner":
        from riverrun.task_runners.processes import ProcessPoolTaskRunner

        return ProcessPoolTaskRunner
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
