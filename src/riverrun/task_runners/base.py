"""The protocol of task runners."""

import abc
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

if TYPE_CHECKING:
    from riverrun.futures import PrefectFutureList
    from riverrun.tasks import Task

F = TypeVar("F")

NOT_STARTED = (
    "Task runner is not started: submit inside of its `with` block, or in a flow that has it as its `task_runner`."
)


class TaskRunner(abc.ABC, Generic[F]):
    """Runs submitted tasks. A flow run enters a duplicate of its flow's runner and leaves it at its end."""

    def __init__(self) -> None:
        self._started = False

    @property
    def name(self) -> str:
        """The runner's name for messages, e.g. `threadpool`."""
        return type(self).__name__.lower().replace("taskrunner", "")

    @abc.abstractmethod
    def duplicate(self) -> Self:
        """A new runner with the same options, not started."""

    @abc.abstractmethod
    def submit(
        self,
        task: "Task[Any, Any]",
        parameters: dict[str, Any],
        wait_for: Iterable[Any] | None = None,
        dependencies: dict[str, set[Any]] | None = None,
    ) -> F:
        """Start a run of `task` as soon as what it waits for is done; a future of it at once.

        `dependencies` names runs (`wire.runs.RunInput`) that parameters came from where the parameters do not tell.
        """

    def map(
        self,
        task: "Task[Any, Any]",
        parameters: dict[str, Any],
        wait_for: Iterable[Any] | None = None,
    ) -> "PrefectFutureList[Any]":
        """Submit one run per item of the iterable parameters."""
        from riverrun.engine.inputs import expand_for_map, mapped_origins
        from riverrun.futures import PrefectFutureList

        if not self._started:
            raise RuntimeError(NOT_STARTED)
        origins = mapped_origins(parameters) or None
        return PrefectFutureList(
            self.submit(task, task.signature.complete(item), wait_for=wait_for, dependencies=origins)
            for item in expand_for_map(task, parameters)
        )

    def __enter__(self) -> Self:
        if self._started:
            raise RuntimeError("This task runner is already started")
        self._started = True
        return self

    def __exit__(self, *_exc: object) -> None:
        self._started = False

    def finish(self, error: BaseException | None) -> None:
        """Called by the flow run's life before its final state: let all that was submitted come to its end.

        With an `error` what has not begun is given up. May block.
        """

    def __reduce__(self) -> tuple[Any, ...]:
        # what runs does not travel: a copy in another process begins with nothing, like a duplicate
        return _make, (type(self), self._options())

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self._options() == other._options()

    def __hash__(self) -> int:
        return hash((type(self), repr(self._options())))

    def _options(self) -> dict[str, Any]:
        """The options that make two runners alike."""
        return {}


def _make(kind: type[Any], options: dict[str, Any]) -> Any:
    return kind(**options)
