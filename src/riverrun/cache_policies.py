"""Cache policies: what decides whether a task's result may be used again, as the key it is stored under.

A policy computes a key from the task run's context, its inputs and the flow's parameters; None means "not cached". Policies
are added and subtracted. They must not read or write results: `riverrun.results` and the engine do.
"""

import inspect
from collections.abc import Callable
from copy import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, Union
from weakref import WeakKeyDictionary

from riverrun.base.errors import HashError
from riverrun.utilities.hashing import feed_code, hash_objects, stable_hash

if TYPE_CHECKING:
    from riverrun.context import TaskRunContext
    from riverrun.locking.protocol import LockManager
    from riverrun.storages import WritableFileSystem
    from riverrun.transactions import IsolationLevel

_KeyStorage = Union["WritableFileSystem", str, Path]
_Isolation = Union[Literal["READ_COMMITTED", "SERIALIZABLE"], "IsolationLevel"]

#: {type: function}: an input of exactly this type is hashed as what the function makes of it. Users may add to it.
STABLE_TRANSFORMS: dict[type, Callable[[Any], Any]] = {}


class CachePolicy:
    """Base of all policies. A subclass gives `compute_key`.

    `key_storage` keeps the records of what is cached apart from the results, `lock_manager` and `isolation_level`
    ("READ_COMMITTED" or "SERIALIZABLE") say how competing runs exclude each other.
    """

    # Class-level defaults, so that users' subclasses need not call __init__ (dataclasses do not).
    key_storage: Any = None
    isolation_level: Any = None
    lock_manager: Any = None

    def __init__(
        self,
        key_storage: _KeyStorage | None = None,
        isolation_level: _Isolation | None = None,
        lock_manager: "LockManager | None" = None,
    ) -> None:
        self.key_storage = key_storage
        self.isolation_level = isolation_level
        self.lock_manager = lock_manager

    @classmethod
    def from_cache_key_fn(
        cls, cache_key_fn: "Callable[[TaskRunContext, dict[str, Any]], str | None]"
    ) -> "CacheKeyFnPolicy":
        """A policy whose key is what `cache_key_fn(task_run_context, inputs)` returns."""
        return CacheKeyFnPolicy(cache_key_fn=cache_key_fn)

    def configure(
        self,
        key_storage: _KeyStorage | None = None,
        lock_manager: "LockManager | None" = None,
        isolation_level: _Isolation | None = None,
    ) -> Self:
        """The same policy with other storage, locks or isolation; what is not given stays."""
        new = copy(self)
        if key_storage is not None:
            new.key_storage = key_storage
        if lock_manager is not None:
            new.lock_manager = lock_manager
        if isolation_level is not None:
            new.isolation_level = isolation_level
        return new

    def compute_key(
        self,
        task_ctx: "TaskRunContext",
        inputs: dict[str, Any],
        flow_parameters: dict[str, Any],
        **kwargs: Any,
    ) -> str | None:
        """The key of a task run's result, or None for "do not cache"."""
        raise NotImplementedError(f"The cache policy {type(self).__name__} does not define `compute_key`.")

    def __sub__(self, other: str) -> "CachePolicy":
        if not isinstance(other, str):
            raise TypeError("Can only subtract strings from key policies: the name of an input to leave out.")
        return self

    def __add__(self, other: "CachePolicy") -> "CachePolicy":
        _check_compatible(self, other)
        if isinstance(other, _None):
            return self
        return CompoundCachePolicy(policies=[self, other], **_merged_configuration([self, other]))

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment] # as all values that compare by content and may change

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in vars(self).items())})"


def _check_compatible(one: CachePolicy, other: CachePolicy) -> None:
    """Raise ValueError where two policies are configured to contradict each other."""
    if not isinstance(other, CachePolicy):
        raise TypeError(f"Only a cache policy can be added to a cache policy, not {other!r}.")
    for name, what in (
        ("lock_manager", "lock implementations"),
        ("key_storage", "storage locations"),
        ("isolation_level", "isolation levels"),
    ):
        mine, theirs = getattr(one, name), getattr(other, name)
        if mine is not None and theirs is not None and mine != theirs:
            raise ValueError(
                f"Cannot add CachePolicies with different {what}. One has {mine!r}, the other {theirs!r}; give both the"
                f" same `{name}` or configure the sum."
            )


def _merged_configuration(policies: list[CachePolicy]) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for name in ("key_storage", "isolation_level", "lock_manager"):
        merged[name] = next((value for policy in policies if (value := getattr(policy, name)) is not None), None)
    return merged


class CacheKeyFnPolicy(CachePolicy):
    """The key is what a user's function returns."""

    def __init__(
        self,
        key_storage: _KeyStorage | None = None,
        isolation_level: _Isolation | None = None,
        lock_manager: "LockManager | None" = None,
        cache_key_fn: "Callable[[TaskRunContext, dict[str, Any]], str | None] | None" = None,
    ) -> None:
        super().__init__(key_storage, isolation_level, lock_manager)
        self.cache_key_fn = cache_key_fn

    def compute_key(
        self,
        task_ctx: "TaskRunContext",
        inputs: dict[str, Any],
        flow_parameters: dict[str, Any],
        **kwargs: Any,
    ) -> str | None:
        return self.cache_key_fn(task_ctx, inputs) if self.cache_key_fn else None


class CompoundCachePolicy(CachePolicy):
    """The sum of policies: its key changes when the key of any part changes. Parts without a key do not count."""

    def __init__(
        self,
        key_storage: _KeyStorage | None = None,
        isolation_level: _Isolation | None = None,
        lock_manager: "LockManager | None" = None,
        policies: list[CachePolicy] | None = None,
    ) -> None:
        super().__init__(key_storage, isolation_level, lock_manager)
        flat: list[CachePolicy] = []
        for policy in policies or ():
            flat.extend(policy.policies if isinstance(policy, CompoundCachePolicy) else [policy])
        excludes = [policy.exclude for policy in flat if isinstance(policy, Inputs)]
        self.policies: list[CachePolicy] = [policy for policy in flat if not isinstance(policy, Inputs | _None)]
        if excludes:
            self.policies.append(Inputs(exclude=list(dict.fromkeys(name for names in excludes for name in names))))

    def compute_key(
        self,
        task_ctx: "TaskRunContext",
        inputs: dict[str, Any],
        flow_parameters: dict[str, Any],
        **kwargs: Any,
    ) -> str | None:
        keys = [
            key
            for policy in self.policies
            if (key := policy.compute_key(task_ctx, inputs=inputs, flow_parameters=flow_parameters, **kwargs))
            is not None
        ]
        return hash_objects(*keys, raise_on_failure=True) if keys else None

    def __add__(self, other: CachePolicy) -> CachePolicy:
        _check_compatible(self, other)
        if isinstance(other, _None):
            return self
        return CompoundCachePolicy(policies=[*self.policies, other], **_merged_configuration([self, other]))

    def __sub__(self, other: str) -> CachePolicy:
        super().__sub__(other)
        if not any(isinstance(policy, Inputs) for policy in self.policies):
            return self
        return CompoundCachePolicy(
            policies=[policy - other for policy in self.policies], **_merged_configuration([self])
        )


class _None(CachePolicy):
    """Never cached."""

    def compute_key(
        self,
        task_ctx: "TaskRunContext",
        inputs: dict[str, Any],
        flow_parameters: dict[str, Any],
        **kwargs: Any,
    ) -> str | None:
        return None

    def __add__(self, other: CachePolicy) -> CachePolicy:
        _check_compatible(self, other)
        return other.configure(**_merged_configuration([self, other])) if vars(self) != vars(NO_CACHE) else other


class TaskSource(CachePolicy):
    """The key changes with the source code of the task's function (not of the functions it calls)."""

    def compute_key(
        self,
        task_ctx: "TaskRunContext | None",
        inputs: dict[str, Any] | None,
        flow_parameters: dict[str, Any] | None,
        **kwargs: Any,
    ) -> str | None:
        return _source_key(task_ctx.task) if task_ctx else None


#: {task function: key}; reading source is slow and it doesn't change while the function lives
_source_keys: "WeakKeyDictionary[Any, str]" = WeakKeyDictionary()


def _source_key(task: Any) -> str | None:
    stored = getattr(task, "source_code", None)
    if stored:
        return stable_hash(stored)
    function = getattr(task, "fn", task)
    try:
        known = _source_keys.get(function)
    except TypeError:  # a callable object that is not hashable or can't be referred to weakly
        known = None
    if known is not None:
        return known
    key = _read_source_key(function)
    if key is not None:
        try:
            _source_keys[function] = key
        except TypeError:
            return key
    return key


def _read_source_key(function: Any) -> str | None:
    """By the source text; by the compiled code where there is no text (a console, an `exec`)."""
    code = getattr(inspect.unwrap(function) if callable(function) else function, "__code__", None)
    # Many texts share this name, and since Python 3.13 `inspect` gives the one of `python -c` for all of them.
    is_nameless = getattr(code, "co_filename", None) == "<string>"
    for candidate in () if is_nameless else (function, type(function)):
        try:
            return stable_hash(inspect.getsource(candidate))
        except TypeError:  # not something that has source: an object with `__call__`
            continue
        except OSError:
            break
    if code is None or not hasattr(code, "co_consts") or _is_readable(code):
        return None
    out: list[bytes] = []
    feed_code(code, out, {})
    return stable_hash(*out)


def _is_readable(code: Any) -> bool:
    """Whether the file that a code object says it comes from is there: then its text was refused, not missing."""
    return Path(code.co_filename).is_file()


class FlowParameters(CachePolicy):
    """The key changes with the parameters of the flow run around the task."""

    def compute_key(
        self,
        task_ctx: "TaskRunContext",
        inputs: dict[str, Any],
        flow_parameters: dict[str, Any],
        **kwargs: Any,
    ) -> str | None:
        return hash_objects(flow_parameters, raise_on_failure=True) if flow_parameters else None


class RunId(CachePolicy):
    """The key changes with the flow run around the task, or with the task run where there is none."""

    def compute_key(
        self,
        task_ctx: "TaskRunContext | None",
        inputs: dict[str, Any],
        flow_parameters: dict[str, Any],
        **kwargs: Any,
    ) -> str | None:
        if not task_ctx:
            return None
        run = task_ctx.task_run
        return str(run.flow_run_id or run.id)


class Inputs(CachePolicy):
    """The key changes with the task's inputs, except those whose names are excluded."""

    def __init__(
        self,
        key_storage: _KeyStorage | None = None,
        isolation_level: _Isolation | None = None,
        lock_manager: "LockManager | None" = None,
        exclude: list[str] | None = None,
    ) -> None:
        super().__init__(key_storage, isolation_level, lock_manager)
        self.exclude = [] if exclude is None else exclude

    def compute_key(
        self,
        task_ctx: "TaskRunContext",
        inputs: dict[str, Any],
        flow_parameters: dict[str, Any],
        **kwargs: Any,
    ) -> str | None:
        """The hash of the inputs; raises ValueError naming the input that has no stable form."""
        if not inputs:
            return None
        if self.exclude:
            inputs = {name: value for name, value in inputs.items() if name not in self.exclude}
        if STABLE_TRANSFORMS:
            inputs = {
                name: transform(value) if (transform := STABLE_TRANSFORMS.get(type(value))) else value
                for name, value in inputs.items()
            }
        try:
            return hash_objects(inputs, raise_on_failure=True)
        except HashError as error:
            raise ValueError(_remedies(inputs, error)) from error

    def __sub__(self, other: str) -> CachePolicy:
        super().__sub__(other)
        return Inputs(exclude=[*self.exclude, other], **_merged_configuration([self]))


def _remedies(inputs: dict[str, Any], error: HashError) -> str:
    name = next((name for name, value in inputs.items() if hash_objects(value) is None), "?")
    return (
        f"No cache key can be computed: the input {name!r} cannot be hashed. {error}\n"
        "Locks, open files, connections and other system resources have no stable form. Either\n"
        f"  1. leave the input out of the key: `cache_policy=... - {name!r}`,\n"
        "  2. compute the key yourself: `cache_key_fn=lambda context, inputs: ...`, or\n"
        "  3. do not cache this task: `cache_policy=NO_CACHE`."
    )


INPUTS = Inputs()
NONE = _None()
NO_CACHE = _None()
TASK_SOURCE = TaskSource()
FLOW_PARAMETERS = FlowParameters()
RUN_ID = RunId()
DEFAULT = INPUTS + TASK_SOURCE + RUN_ID
