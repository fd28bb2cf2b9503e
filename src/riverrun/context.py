"""The run context: which flow run and task run the current code belongs to.

Contexts live in `contextvars`, so they follow `await`, and the runners copy them into their threads. Each is a plain object
with slots: making one is on the path of every task call. This module must not wait, record or decide anything.
"""

from _thread import allocate_lock
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar, Self
from uuid import UUID

from riverrun.base.clock import now
from riverrun.base.config import Settings, settings, temporary_settings
from riverrun.base.errors import MissingContextError

if TYPE_CHECKING:
    from riverrun.flows import Flow
    from riverrun.results import ResultStore
    from riverrun.task_runners import TaskRunner
    from riverrun.tasks import Task
    from riverrun.wire.runs import FlowRun, TaskRun


class ContextModel:
    """Base of the contexts: `get()` gives the current one, `with` makes one current."""

    __slots__ = ("_before",)

    var: ClassVar[ContextVar[Any]]

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        # contexts of users' own name their variable as the peer does
        if "__var__" in cls.__dict__:
            cls.var = cls.__dict__["__var__"]
        elif "var" in cls.__dict__:
            cls.__var__ = cls.var  # type: ignore[attr-defined]

    def __init__(self, **fields: Any) -> None:
        for name, value in fields.items():
            setattr(self, name, value)

    @classmethod
    def get(cls) -> Self | None:
        """The current context of this kind, or None."""
        current: Self | None = cls.var.get(None)
        return current

    def __enter__(self) -> Self:
        """Make this the current context; raises RuntimeError if it has been entered already (a copy can be)."""
        if hasattr(self, "_before"):
            raise RuntimeError(
                f"Context already entered: a {type(self).__name__} can be used by one `with` at a time; enter a copy of"
                " it (`model_copy()`) instead."
            )
        # The earlier value is kept instead of a token: a token can't be reset from another context, and generators
        # that are finalised by the garbage collector end up in one.
        self._before = self.var.get(None)
        self.var.set(self)
        return self

    def __exit__(self, *_exc: object) -> None:
        if not hasattr(self, "_before"):
            raise RuntimeError(
                f"Asymmetric use of context: this {type(self).__name__} is left more often than entered."
            )
        self.var.set(self._before)
        del self._before

    @classmethod
    def model_construct(cls, **fields: Any) -> Self:
        """A context of which only these fields are known; the others are None."""
        made = object.__new__(cls)
        for kind in cls.__mro__:
            for slot in getattr(kind, "__slots__", ()):
                if slot != "_before":
                    setattr(made, slot, None)
        for name, value in fields.items():
            setattr(made, name, value)
        return made

    def model_copy(self, *, update: dict[str, Any] | None = None) -> Self:
        """A copy with some fields replaced."""
        twin = object.__new__(type(self))
        for kind in type(self).__mro__:
            for slot in getattr(kind, "__slots__", ()):
                if slot != "_before" and hasattr(self, slot):
                    setattr(twin, slot, getattr(self, slot))
        for name, value in (update or {}).items():
            setattr(twin, name, value)
        return twin

    copy = model_copy


RunContext = ContextModel


class FlowRunContext(ContextModel):
    """The flow run that the current code belongs to."""

    __slots__ = (
        "_keys",
        "_counts",
        "_counts_lock",
        "_pauses",
        "_results",
        "_subflows",
        "detached",
        "flow",
        "flow_run",
        "_store",
        "log_prints",
        "parameters",
        "parent",
        "persist_result",
        "start_time",
        "task_runner",
    )
    var: ClassVar[ContextVar["FlowRunContext | None"]] = ContextVar("flow_run", default=None)

    def __init__(
        self,
        *,
        flow: "Flow[..., Any] | None" = None,
        flow_run: "FlowRun | None" = None,
        parameters: dict[str, Any] | None = None,
        task_runner: "TaskRunner[Any] | None" = None,
        result_store: "ResultStore | None" = None,
        persist_result: bool = False,
        log_prints: bool = False,
        start_time: datetime | None = None,
        detached: bool = False,
        parent: "FlowRunContext | None" = None,
        **_ignored: Any,
    ) -> None:
        self.flow = flow
        self.flow_run = flow_run
        self.parameters = parameters
        self.task_runner = task_runner
        self._store = result_store
        self.persist_result = persist_result
        self.log_prints = log_prints
        self.start_time = start_time or now()
        #: the context of the flow run that called this one as a subflow
        self.parent = parent
        #: True where the context was carried to another process
        self.detached = detached
        #: counts the calls of each task in this run (engine.record)
        self._keys: dict[str, Any] = {}
        #: which run produced a value (engine.inputs)
        self._results: Any = None
        #: what is remembered from one attempt to the next (engine.subflows)
        self._subflows: Any = None
        #: how many pauses the flow has come to
        self._pauses = 0
        self._counts: dict[str, int] = {}
        self._counts_lock = allocate_lock()

    def count(self, state_name: str) -> None:
        """Note that a task run of this flow run ended in a state of this name."""
        with self._counts_lock:
            self._counts[state_name] = self._counts.get(state_name, 0) + 1

    def counted(self) -> dict[str, int]:
        """How many task runs ended in which state, the most frequent first."""
        with self._counts_lock:
            return dict(sorted(self._counts.items(), key=lambda item: -item[1]))

    @property
    def result_store(self) -> "ResultStore":
        """Where the results of this flow run go; made on first use, since most runs keep none."""
        if self._store is None:
            from riverrun.results import ResultStore

            store = ResultStore() if self.parent is None else self.parent.result_store
            self._store = store if self.flow is None else store.for_flow(self.flow)
        return self._store

    def serialize(self) -> dict[str, Any]:
        """What another process needs to continue in this flow run."""
        return {
            "flow": self.flow,
            "flow_run": self.flow_run,
            "parameters": self.parameters,
            "persist_result": self.persist_result,
            "log_prints": self.log_prints,
            "start_time": self.start_time,
        }


EngineContext = FlowRunContext


class TaskRunContext(ContextModel):
    """The task run that the current code belongs to."""

    __slots__ = (
        "flow_run_id",
        "log_prints",
        "parameters",
        "_store",
        "own_transaction",
        "persist_result",
        "start_time",
        "task",
        "task_run",
    )
    var: ClassVar[ContextVar["TaskRunContext | None"]] = ContextVar("task_run", default=None)

    def __init__(
        self,
        *,
        task: "Task[..., Any]",
        task_run: "TaskRun",
        parameters: dict[str, Any] | None = None,
        result_store: "ResultStore | None" = None,
        persist_result: bool = False,
        log_prints: bool = False,
        start_time: datetime | None = None,
        **_ignored: Any,
    ) -> None:
        self.task = task
        self.task_run = task_run
        self.parameters = parameters or {}
        self._store = result_store
        self.persist_result = persist_result
        self.log_prints = log_prints
        self.start_time = start_time
        self.flow_run_id: UUID | None = task_run.flow_run_id
        #: the transaction of this run, where one was opened for it because user code asked (`transactions`)
        self.own_transaction: Any = None

    @property
    def result_store(self) -> "ResultStore":
        """Where the results of this task run go; made on first use, since most runs keep none."""
        if self._store is None:
            from riverrun.results import ResultStore

            flow_run = FlowRunContext.var.get()
            store = ResultStore() if flow_run is None or flow_run.flow is None else flow_run.result_store
            self._store = store.for_task(self.task)
        return self._store

    def serialize(self) -> dict[str, Any]:
        """What another process needs to continue in this task run."""
        return {
            "task": self.task,
            "task_run": self.task_run,
            "parameters": self.parameters,
            "persist_result": self.persist_result,
        }


class TagsContext(ContextModel):
    """The tags that runs created now receive."""

    __slots__ = ("current_tags",)
    var: ClassVar[ContextVar["TagsContext | None"]] = ContextVar("tags", default=None)

    def __init__(self, *, current_tags: set[str] | None = None) -> None:
        self.current_tags = current_tags or set()

    @classmethod
    def get(cls) -> "TagsContext":
        return cls.var.get() or cls()


class SettingsContext(ContextModel):
    """The settings in force, under the name that the peer's users read them by."""

    __slots__ = ("profile", "settings")
    var: ClassVar[ContextVar["SettingsContext | None"]] = ContextVar("settings", default=None)

    def __init__(self, *, settings: Settings, profile: Any = None) -> None:
        self.settings = settings
        self.profile = profile

    @classmethod
    def get(cls) -> "SettingsContext":
        return cls.var.get() or cls(settings=settings())


def get_settings_context() -> SettingsContext:
    """The settings in force."""
    return SettingsContext.get()


def get_run_context() -> FlowRunContext | TaskRunContext:
    """The context of the innermost run; raises MissingContextError outside of runs."""
    task_run_context = TaskRunContext.var.get()
    if task_run_context is not None:
        return task_run_context
    flow_run_context = FlowRunContext.var.get()
    if flow_run_context is not None:
        return flow_run_context
    raise MissingContextError(
        "No run context available: this code runs outside of a flow run or task run. Call it from a function decorated"
        " with @flow or @task."
    )


@contextmanager
def tags(*new_tags: str) -> Iterator[set[str]]:
    """Add tags to the flow runs and task runs created inside the `with` block.

    Tags nest: the block sees the union of its own and the outer ones.
    """
    union = TagsContext.get().current_tags | set(new_tags)
    with TagsContext(current_tags=union):
        yield union


@contextmanager
def run_contexts(flow_run: FlowRunContext | None, task_run: TaskRunContext | None) -> Iterator[None]:
    """Make exactly these two run contexts current, either may be None."""
    flow_before, task_before = FlowRunContext.var.get(), TaskRunContext.var.get()
    FlowRunContext.var.set(flow_run)
    TaskRunContext.var.set(task_run)
    try:
        yield
    finally:
        FlowRunContext.var.set(flow_before)
        TaskRunContext.var.set(task_before)


def serialize_context() -> dict[str, Any]:
    """What another process needs to continue in this context; picklable with cloudpickle.

    Task runners send it along; `hydrated_context` makes it current there.
    """
    flow_run, task_run = FlowRunContext.var.get(), TaskRunContext.var.get()
    return {
        "flow_run_context": {} if flow_run is None else flow_run.serialize(),
        "task_run_context": {} if task_run is None else task_run.serialize(),
        "tags_context": {} if TagsContext.var.get() is None else {"current_tags": set(TagsContext.get().current_tags)},
        "settings_context": settings().to_environment_variables(),
    }


@contextmanager
def hydrated_context(serialized: dict[str, Any] | None = None) -> Iterator[None]:
    """Make a context from `serialize_context` current; submitted tasks run in threads of this process."""
    if not serialized:
        yield
        return
    with ExitStack() as stack:
        if serialized.get("settings_context"):
            stack.enter_context(temporary_settings(serialized["settings_context"]))
        stack.enter_context(TagsContext(**serialized.get("tags_context") or {}))
        flow_fields = serialized.get("flow_run_context")
        if flow_fields:
            from riverrun.task_runners.threads import ThreadPoolTaskRunner

            runner = stack.enter_context(ThreadPoolTaskRunner())
            stack.enter_context(FlowRunContext(**flow_fields, task_runner=runner, detached=True))
        task_fields = serialized.get("task_run_context")
        if task_fields:
            stack.enter_context(TaskRunContext(**task_fields))
        yield
