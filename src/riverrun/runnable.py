"""What flows and tasks share: a function that is bound, pickled and shown like a function, and whose calls are runs.

The options that differ and what a run is stand in `flows` and `tasks`.
"""

import inspect
import sys
from collections.abc import Callable, Coroutine
from functools import update_wrapper
from types import MethodType
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, ParamSpec, Self, TypeVar, cast, overload

from riverrun.base.config import settings
from riverrun.engine.options import Hook, colour
from riverrun.engine.parameters import BoundSignature, Signature

if TYPE_CHECKING:
    from riverrun.context import FlowRunContext
    from riverrun.states import State

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T", bound=Callable[..., Any])

RESERVED = ("return_state", "wait_for")


class Runnable(Generic[P, R]):
    """Base of Flow and Task."""

    #: "flow" or "task"
    kind: ClassVar[str]

    fn: Callable[P, R]
    name: str
    log_prints: bool | None
    on_completion_hooks: list[Hook]
    on_failure_hooks: list[Hook]
    on_running_hooks: list[Hook]

    def _wrap(self, fn: Any, description: str | None) -> None:
        """Take the function over: its metadata, its colour, its parameters."""
        self.isclassmethod = isinstance(fn, classmethod)
        self.isstaticmethod = isinstance(fn, staticmethod)
        if isinstance(fn, classmethod | staticmethod):
            fn = fn.__func__
        if not callable(fn):
            raise TypeError(f"'fn' must be callable, not {fn!r}; @{self.kind} decorates a function")
        self.fn = fn
        update_wrapper(cast("Callable[..., Any]", self), fn)
        self.isasync, self.isgenerator = colour(fn)
        self.description = description or inspect.getdoc(fn)
        self.signature = Signature(fn, reserved=RESERVED)

    # -- what a run is, told by flows and tasks ------------------------------------------------------------------------

    def _life(self, args: tuple[Any, ...], kwargs: dict[str, Any], parameters: dict[str, Any], wait_for: Any) -> Any:
        """The life of one call, recorded as far as it can be before it is driven."""
        raise TypeError(f"{type(self).__name__} does not say what its runs are")

    def _driver(self) -> Callable[[Any], None]:
        """What drives a life, blocking. A function to be called and not one that calls: nesting needs the stack's depth."""
        raise TypeError(f"{type(self).__name__} does not say how its runs are driven")

    def _adriver(self) -> Callable[[Any], Coroutine[Any, Any, None]]:
        """What drives a life on the running event loop."""
        raise TypeError(f"{type(self).__name__} does not say how its runs are driven")

    def _draw(self, picture: Any, parameters: dict[str, Any]) -> Any:
        """Leave a node in the picture that is being drawn instead of running."""
        return picture.track_viz_task(self.isasync, self.name, parameters)

    # -- calling -------------------------------------------------------------------------------------------------------

    @overload
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R: ...

    # a ParamSpec allows no keywords beside it, so calls with `return_state` or `wait_for` give up checking the arguments
    @overload
    def __call__(self, *args: Any, return_state: Literal[True], wait_for: Any = None, **kwargs: Any) -> "State[R]": ...

    @overload
    def __call__(self, *args: Any, return_state: Literal[False] = False, wait_for: Any = None, **kwargs: Any) -> R: ...

    def __call__(  # type: ignore[misc] # P can't have the reserved names: making the signature checks that
        self, *args: Any, return_state: bool = False, wait_for: Any = None, **kwargs: Any
    ) -> Any:
        """Run it here and now; a coroutine if the function is async.

        Gives the function's result (or raises its exception), or with `return_state=True` the run's final state.
        """
        parameters = self.signature.bind(args, kwargs)
        picture = being_drawn()
        if picture is not None:
            return self._draw(picture, parameters)
        if self.isgenerator:
            from riverrun.engine.streams import astream, refuse_return_state, stream

            if return_state:
                refuse_return_state(f"{self.kind.capitalize()} {self.name!r}")
            start = astream if self.isasync else stream
            return start(lambda: self._life(args, kwargs, parameters, wait_for))
        if self.isasync:
            return self._acall(args, kwargs, parameters, wait_for, return_state)
        life = self._life(args, kwargs, parameters, wait_for)
        self._driver()(life)
        error, value = life.verdict(return_state)
        if error is not None:
            raise error
        return value

    async def _acall(
        self,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        parameters: dict[str, Any],
        wait_for: Any,
        return_state: bool,
    ) -> Any:
        # the run comes into being when this is awaited
        life = self._life(args, kwargs, parameters, wait_for)
        await self._adriver()(life)
        error, value = life.verdict(return_state)
        if error is not None:
            raise error
        return value

    def prints_to_log(self, around: "FlowRunContext | None") -> bool:
        """Whether `print` goes to the run's log: the option, else as in the flow run around, else the setting."""
        if self.log_prints is not None:
            return self.log_prints
        return around.log_prints if around is not None else settings().logging_log_prints

    # -- hooks as decorators -------------------------------------------------------------------------------------------

    def on_completion(self, fn: T) -> T:
        """Add a hook `fn(task or flow, run, state)` for runs that complete."""
        self.on_completion_hooks.append(fn)
        return fn

    def on_failure(self, fn: T) -> T:
        """Add a hook `fn(task or flow, run, state)` for runs that fail."""
        self.on_failure_hooks.append(fn)
        return fn

    def on_running(self, fn: T) -> T:
        """Add a hook `fn(task or flow, run, state)` for runs that begin an attempt."""
        self.on_running_hooks.append(fn)
        return fn

    # -- being a method, a pickle, a picture ---------------------------------------------------------------------------

    @property
    def ismethod(self) -> bool:
        """Whether the function is a bound method."""
        return isinstance(self.fn, MethodType)

    def __get__(self, instance: Any, owner: Any) -> Self:
        """Bind to an instance or class, as functions do."""
        if self.isstaticmethod:
            return self
        target = owner if self.isclassmethod else instance
        return self if target is None else self._bound(target)

    def _bound(self, target: Any) -> Self:
        bound = object.__new__(type(self))
        bound.__dict__.update(self.__dict__)
        bound.fn = MethodType(self.fn, target)
        bound.signature = self._bound_signature(target, bound.fn)
        return bound

    def _bound_signature(self, target: Any, method: Callable[..., Any]) -> Signature:
        """The parameters of a method: the object is not one of them."""
        del target
        return Signature(method, reserved=RESERVED)

    def __getstate__(self) -> dict[str, Any]:
        state = {name: value for name, value in self.__dict__.items() if name not in {"signature", "__wrapped__"}}
        if isinstance(self.signature, BoundSignature):
            state["fn"], state["bound_to"] = cast("MethodType", self.fn).__func__, self.signature.target
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        fn, target = state["fn"], state.pop("bound_to", None)
        self.__dict__.update(state)
        self.__dict__["__wrapped__"] = fn
        self.signature = Signature(fn, reserved=RESERVED)
        if target is not None:
            self.fn, self.signature = MethodType(fn, target), BoundSignature(self.signature, target)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}>"


def being_drawn() -> Any:
    """The module `visualize` while a picture of the flow is drawn, else None: calls then leave nodes instead of runs."""
    # a picture can only be drawn where the module has been imported
    visualize = sys.modules.get("riverrun.visualize")
    return None if visualize is None or visualize.get_task_viz_tracker() is None else visualize
