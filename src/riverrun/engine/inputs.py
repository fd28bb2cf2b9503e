"""Where the arguments of a run come from: futures and states in them, and values that other runs returned.

Hot: every task call passes through `sources`, and most have nothing to be found, so plain arguments leave at once. What is
looked into: lists, tuples, sets, dictionaries, dataclasses, pydantic models and annotations, at any depth. This module never
waits: the engine waits for the futures that `sources` gives, then calls `resolve`.
"""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from riverrun.base.errors import MappingLengthMismatch, MappingMissingIterable, UpstreamTaskError
from riverrun.engine.nesting import ANNOTATION, FUTURE, ITEMS, LEAF, LEAVES, MAPPING, OBJECT, STATE, fields_of, kind_of
from riverrun.engine.origins import Origin, Origins, track
from riverrun.states import get_state_exception, get_state_result
from riverrun.utilities.annotations import allow_failure, flatten, opaque, quote, unmapped
from riverrun.utilities.collections import FutureBase, isiterable, rebuild
from riverrun.wire.runs import RunInput
from riverrun.wire.states import BaseState, StateType

if TYPE_CHECKING:
    from riverrun.context import FlowRunContext

Entries = list[tuple[str, bytes | None, str | None]]
Inputs = dict[str, Entries]

__all__ = [
    "Origins",
    "Upstream",
    "expand_for_map",
    "find_futures",
    "first_not_completed",
    "resolve",
    "resolve_value",
    "returned_futures",
    "sources",
    "track",
]


class Upstream(list[Any]):
    """The futures that a run waits for.

    True if anything has to be resolved, even where that is a state or an annotation and no future. `required` are the
    futures and states that must be completed: those not inside `allow_failure`.
    """

    __slots__ = ("required", "resolvable")

    def __init__(self) -> None:
        super().__init__()
        self.required: list[Any] = []
        self.resolvable = False

    def __bool__(self) -> bool:
        return self.resolvable or len(self) > 0


_NOTHING: Final = Upstream()


def _search(root: Any, found: Upstream, runs: list[Any] | None) -> None:
    """Note the futures, states and annotations in `root`; futures and states also in `runs`."""
    stack: list[tuple[Any, bool]] = [(root, False)]
    seen: set[int] = set()
    while stack:
        value, lenient = stack.pop()
        kind = kind_of(type(value))
        if kind == LEAF:
            continue
        if kind == FUTURE or kind == STATE:
            found.resolvable = True
            if kind == FUTURE:
                found.append(value)
            if runs is not None:
                runs.append(value)
            if not lenient:
                found.required.append(value)
            continue
        if id(value) in seen:
            continue
        seen.add(id(value))
        if kind == ANNOTATION:
            found.resolvable = True
            if isinstance(value, quote):
                continue
            inner = value.unwrap()
            if not isinstance(value, opaque):
                stack.append((inner, lenient or isinstance(value, allow_failure)))
            elif kind_of(type(inner)) in (FUTURE, STATE):
                stack.append((inner, lenient))
            continue
        if kind == ITEMS:
            parts: Iterable[Any] = value
        elif kind == MAPPING:
            if not LEAVES.issuperset(map(type, value)):
                stack.extend((key, lenient) for key in value)
            parts = value.values()
        else:
            parts = fields_of(value)
        if not LEAVES.issuperset(map(type, parts)):
            stack.extend((part, lenient) for part in parts)


def find_futures(args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
    """The futures in the arguments of a call, each once."""
    for value in (*args, *kwargs.values()):
        if type(value) not in LEAVES:
            found = Upstream()
            _search((args, kwargs), found, None)
            return _distinct(found)
    return []


def _distinct(items: Iterable[Any]) -> list[Any]:
    return list({id(item): item for item in items}.values())


def sources(
    parameters: dict[str, Any], wait_for: Any, context: "FlowRunContext | None", parent: UUID | None
) -> tuple[Upstream, Inputs]:
    """What a run must wait for, and which runs its arguments come from.

    The second part is {parameter: [(input_type, id, name)]}, with `wait_for` and `__parents__` as further names. A value
    that another run of the same flow run returned counts as coming from that run.
    """
    upstream = _NOTHING
    inputs: Inputs = {}
    origins: Origins | None = None if context is None else context._results
    for name, value in parameters.items():
        entries: Entries = []
        inputs[name] = entries
        if type(value) in LEAVES:
            if origins is not None and (known := origins.lookup(value)) is not None:
                entries.append(known)
            continue
        if upstream is _NOTHING:
            upstream = Upstream()
        _note(value, upstream, entries, origins)
    if wait_for is not None:
        if upstream is _NOTHING:
            upstream = Upstream()
        awaited: Entries = []
        inputs["wait_for"] = awaited
        _note(list(wait_for) if isiterable(wait_for) else [wait_for], upstream, awaited, None)
    if parent is not None:
        inputs["__parents__"] = [("task_run", parent.bytes, None)]
    return upstream, inputs


def _note(value: Any, upstream: Upstream, entries: list[Any], origins: "Origins | None") -> None:
    runs: list[Any] = []
    _search(value, upstream, runs)
    known = {origin for item in runs if (origin := _origin_of(item)) is not None}
    if origins is not None:
        known.update(origins.lookup_inside(value))
    entries.extend(sorted(known))


def _origin_of(item: Any) -> Origin | None:
    if kind_of(type(item)) == FUTURE:
        run_id = getattr(item, "task_run_id", None)
        if run_id is not None:
            return ("task_run", run_id.bytes, None)
        return ("flow_run", item.flow_run_id.bytes, None)
    details = item.state_details
    if details.task_run_id is not None:
        return ("task_run", details.task_run_id.bytes, None)
    if details.flow_run_id is not None:
        return ("flow_run", details.flow_run_id.bytes, None)
    return None


def first_not_completed(parameters: dict[str, Any], upstream: Iterable[Any]) -> str | None:
    """Why the run can't start: the first upstream that has not completed and may not fail; None if there is none."""
    if not isinstance(upstream, Upstream):
        found = Upstream()
        _search(parameters, found, None)
        _search(list(upstream), found, None)
        upstream = found
    for item in upstream.required:
        state = _state_of(item)
        if state.type is not StateType.COMPLETED:
            return _complaint(item, state)
    return None


def _state_of(item: Any) -> Any:
    """The state of a future, or the state itself."""
    return item.state if kind_of(type(item)) == FUTURE else item


def _complaint(item: Any, state: BaseState) -> str:
    origin = _origin_of(item)
    if origin is None:
        what = "A state given as input"
    else:
        kind = "task run" if origin[0] == "task_run" else "flow run"
        what = f"Upstream {kind} '{UUID(bytes=origin[1])}'"
    name = getattr(item, "name", None) if isinstance(item, FutureBase) else None
    if isinstance(name, str) and name:
        what += f" ({name})"
    reason = f": it is {state.name}"
    if state.message:
        reason += f", {state.message!r}"
    return f"{what} did not reach a 'COMPLETED' state{reason}. Wrap it in allow_failure() to go on without it."


def resolve(parameters: dict[str, Any]) -> dict[str, Any]:
    """The parameters with results in the place of futures and states, and without annotations.

    Futures must be done. Inside `allow_failure` a failure becomes its exception; elsewhere it raises UpstreamTaskError.
    """
    return {name: value if type(value) in LEAVES else resolve_value(value) for name, value in parameters.items()}


def resolve_value(value: Any, lenient: bool = False) -> Any:
    """One value, resolved as `resolve` does; the same object if there is nothing to resolve in it."""
    memo: dict[int, tuple[Any, Any]] = {}

    def visit(node: Any) -> Any:
        nonlocal lenient
        kind = kind_of(type(node))
        if kind == LEAF:
            return node
        if kind == FUTURE or kind == STATE:
            return _result_of(node, lenient)
        if kind == ANNOTATION:
            inner = node.unwrap()
            if isinstance(node, quote):
                return inner
            if isinstance(node, opaque):
                return _result_of(inner, lenient) if kind_of(type(inner)) in (FUTURE, STATE) else inner
            before, lenient = lenient, lenient or isinstance(node, allow_failure)
            try:
                return visit(inner)
            finally:
                lenient = before
        if kind in (ITEMS, MAPPING) and _is_plain(node, kind):
            return node
        known = memo.get(id(node))
        if known is not None and known[0] is node:
            return known[1]
        memo[id(node)] = (node, node)  # a cycle ends here
        rebuilt = rebuild(node, visit)
        memo[id(node)] = (node, rebuilt)
        return rebuilt

    return visit(value)


def _is_plain(node: Any, kind: int) -> bool:
    if not LEAVES.issuperset(map(type, node)):
        return False
    return kind == ITEMS or LEAVES.issuperset(map(type, node.values()))


def _result_of(item: Any, lenient: bool) -> Any:
    state = _state_of(item)
    if state.type is StateType.COMPLETED:
        return get_state_result(state)
    if lenient and state.type in _FAILURES:
        return get_state_exception(state)
    raise UpstreamTaskError(_complaint(item, state))


_FAILURES: Final = frozenset({StateType.FAILED, StateType.CRASHED, StateType.CANCELLED})


def returned_futures(value: Any) -> list[Any]:
    """The futures in what a run's function returned, each once; annotations are looked into as well."""
    if type(value) in LEAVES:
        return []
    found = Upstream()
    stack, seen = [value], set()
    while stack:
        node = stack.pop()
        kind = kind_of(type(node))
        if kind == FUTURE:
            found.append(node)
        elif kind in (ITEMS, MAPPING, OBJECT, ANNOTATION) and id(node) not in seen:
            seen.add(id(node))
            if kind == MAPPING:
                if not LEAVES.issuperset(map(type, node)):
                    stack.extend(node)
                parts: Iterable[Any] = node.values()
            elif kind == ANNOTATION:
                parts = (node.unwrap(),)
            else:
                parts = node if kind == ITEMS else fields_of(node)
            if not LEAVES.issuperset(map(type, parts)):
                stack.extend(parts)
    return _distinct(found)


# -- mapping ----------------------------------------------------------------------------------------------------------------


def mapped_origins(parameters: dict[str, Any]) -> dict[str, set[RunInput]]:
    """Which runs the mapped arguments came from: their items do not tell. {parameter: runs}"""
    found: dict[str, set[RunInput]] = {}
    for name, given in parameters.items():
        value, whole, _lenient, _flat = _open(given)
        if not whole and isinstance(value, FutureBase | BaseState):
            origin = _origin_of(value)
            if origin is not None:
                found[name] = {RunInput(origin[0], id=UUID(bytes=origin[1]))}  # type: ignore[arg-type]
    return found


def add_origins(sources: dict[str, list[Any]], origins: dict[str, set[RunInput]]) -> None:
    """Add runs to the sources of a run's parameters, each once."""
    for name, runs in origins.items():
        entries = sources.setdefault(name, [])
        for run in runs:
            entry = (run.input_type, None if run.id is None else run.id.bytes, run.name or run.type)
            if entry not in entries:
                entries.append(entry)


def expand_for_map(task: Any, parameters: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The parameters of each run of `task.map(...)`.

    Iterables are walked side by side and must be of one length; `unmapped` values, strings and other single things go to
    every run. `flatten` takes one level out of an iterable of iterables. `allow_failure` around an iterable goes around
    each item. Futures and states are resolved first, which waits for them. Raises MappingMissingIterable and
    MappingLengthMismatch.
    """
    mapped: dict[Any, list[Any]] = {}
    single: dict[Any, Any] = {}
    spread = _spread(task, parameters)
    for key, given in spread.items():
        value, whole, lenient, flat = _open(given)
        if not whole:
            value = _settled(value, lenient)
            if flat or isiterable(value):
                items = _flattened(_label(key), value) if flat else list(value)
                mapped[key] = [allow_failure(item) for item in items] if lenient else items
                continue
        single[key] = allow_failure(value) if lenient else value
    if not mapped:
        raise MappingMissingIterable(
            f"No iterable parameters were received by the map of {_name(task)}. Parameters for map must include at least one"
            f" iterable. Parameters: {parameters}"
        )
    lengths = {_label(key): len(items) for key, items in mapped.items()}
    if len(set(lengths.values())) > 1:
        raise MappingLengthMismatch(
            f"Received iterable parameters with different lengths in the map of {_name(task)}. Parameters for map must all"
            f" be the same length; wrap in unmapped() what every run should get whole. Got lengths: {lengths}"
        )
    count = next(iter(lengths.values()))
    return (_gather({key: mapped[key][i] if key in mapped else single[key] for key in spread}) for i in range(count))


def _name(task: Any) -> str:
    return f"task {getattr(task, 'name', task)!r}"


def _spread(task: Any, parameters: dict[str, Any]) -> dict[Any, Any]:
    """The parameters with the members of *args and **kwargs each by itself, under the key (name, position or keyword)."""
    args, kwargs = task.signature.var_positional, task.signature.var_keyword
    spread: dict[Any, Any] = {}
    for name, value in parameters.items():
        if name == args:
            spread.update({(name, position): item for position, item in enumerate(value)})
        elif name == kwargs:
            spread.update({(name, keyword): item for keyword, item in value.items()})
        else:
            spread[name] = value
    return spread


def _gather(spread: dict[Any, Any]) -> dict[str, Any]:
    """The inverse of `_spread`."""
    parameters: dict[str, Any] = {}
    for key, value in spread.items():
        if isinstance(key, str):
            parameters[key] = value
        elif isinstance(key[1], int):
            parameters[key[0]] = (*parameters.get(key[0], ()), value)
        else:
            parameters.setdefault(key[0], {})[key[1]] = value
    return parameters


def _label(key: Any) -> str:
    if isinstance(key, str):
        return key
    return f"{key[0]}[{key[1]}]" if isinstance(key[1], int) else str(key[1])


def _open(given: Any) -> tuple[Any, bool, bool, bool]:
    """The value inside the annotations; whether it is unmapped; may fail; is to be flattened."""
    whole = lenient = flat = False
    while isinstance(given, (allow_failure, flatten, unmapped)):
        whole = whole or isinstance(given, unmapped)
        lenient = lenient or isinstance(given, allow_failure)
        flat = flat or isinstance(given, flatten)
        given = given.unwrap()
    if not whole and isinstance(given, (quote, opaque)):
        given = given.unwrap()
    return given, whole, lenient, flat


def _settled(value: Any, lenient: bool) -> Any:
    """The result of a future, waiting for it, or of a state; anything else as it is."""
    kind = kind_of(type(value))
    if kind == FUTURE:
        value.wait()
    return _result_of(value, lenient) if kind in (FUTURE, STATE) else value


def _flattened(name: str, value: Any) -> list[Any]:
    items: list[Any] = []
    for part in value:
        inner = _settled(part, lenient=False)
        if not isiterable(inner):
            raise MappingMissingIterable(
                f"Parameter {name!r} of the map is wrapped in flatten(), but holds {inner!r}, which is not iterable."
            )
        items.extend(inner)
    return items
