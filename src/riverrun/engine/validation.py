"""Checking and converting parameters by the annotations of their function.

Values that are already what a builtin annotation asks for pass here, without pydantic; whatever is not plain (text for an
int, models, constraints, unions that need a choice) is decided by pydantic in its lax mode, loaded then and there. A
property test holds the two to the same results.
"""

import inspect
import typing
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path, PurePath
from types import NoneType, UnionType
from typing import Any, Final
from uuid import UUID
from weakref import WeakKeyDictionary

from riverrun.base.errors import ParameterTypeError, SignatureMismatchError
from riverrun.utilities.annotations import BaseAnnotation
from riverrun.utilities.callables import resolve_annotation

#: "this value needs pydantic"
UNSURE: Final = object()
_ANYTHING: Final = frozenset({Any, object, inspect.Parameter.empty})

Check = Callable[[Any], Any]


def validate(fn: Callable[..., Any], parameters: dict[str, Any]) -> dict[str, Any]:
    """The parameters converted to what the annotations of `fn` ask for, in a new dictionary.

    Unannotated parameters, values inside annotations such as `quote`, and annotations that cannot be resolved (names under
    `TYPE_CHECKING`) pass as they are. Raises ParameterTypeError with a line for each bad parameter, SignatureMismatchError
    if the names are not those of the function.
    """
    plan = _plan_of(fn)
    if not parameters.keys() <= plan.names.keys():
        raise SignatureMismatchError.from_bad_params(list(plan.names), list(parameters))
    converted = dict(parameters)
    problems: list[tuple[str, str]] = []
    for name, value in parameters.items():
        rule = plan.names[name]
        if rule is None or isinstance(value, BaseAnnotation):
            continue
        result = rule.check(value)
        if result is UNSURE:
            result = rule.ask_pydantic(value, problems)
        converted[name] = result
    if problems:
        raise ParameterTypeError.from_lines(problems)
    return converted


class Rule:
    """How the values of one parameter are checked."""

    __slots__ = ("_ask", "annotation", "check", "default", "name")

    def __init__(self, name: str, annotation: Any, default: Any) -> None:
        self.name = name
        self.annotation = annotation
        self.default = default
        # a default that is a pydantic Field carries constraints
        self.check: Check = _unsure if _is_field(default) else check_for(annotation)
        self._ask: Callable[[Any], Any] | None = None

    def ask_pydantic(self, value: Any, problems: list[tuple[str, str]]) -> Any:
        """The value as pydantic converts it; what it finds wrong is added to `problems`."""
        from pydantic import ValidationError

        if self._ask is None:
            self._ask = self._make_validator()
        if _is_field(self.default) and value is self.default:
            value = self.default.get_default(call_default_factory=True)
        try:
            return self._ask(value)
        except ValidationError as error:
            problems.extend((".".join(map(str, (self.name, *line["loc"]))), line["msg"]) for line in error.errors())
            return value

    def _make_validator(self) -> Callable[[Any], Any]:
        from pydantic import ConfigDict, PydanticUserError, TypeAdapter

        annotation: Any = (
            typing.Annotated[self.annotation, self.default] if _is_field(self.default) else self.annotation
        )
        try:
            try:
                adapter = TypeAdapter[Any](annotation, config=ConfigDict(arbitrary_types_allowed=True))
            except PydanticUserError:  # models and dataclasses bring a configuration of their own
                adapter = TypeAdapter(annotation)
        except Exception as error:  # noqa: BLE001 - annotations are the user's; any may fail to become a schema in its own way
            _note(
                f"Parameter {self.name!r} is not validated: its annotation {self.annotation!r} is unknown to pydantic",
                error,
            )
            return _identity
        return adapter.validate_python


class _Plan:
    __slots__ = ("names",)

    def __init__(self, names: dict[str, Rule | None]) -> None:
        self.names = names


_plans: WeakKeyDictionary[Any, _Plan] = WeakKeyDictionary()


def _plan_of(fn: Callable[..., Any]) -> _Plan:
    try:
        plan = _plans.get(fn)
        if plan is None:
            plan = _plans[fn] = _make_plan(fn)
    except TypeError:  # callables that are not hashable or can't be referenced weakly
        plan = _make_plan(fn)
    return plan


def _make_plan(fn: Callable[..., Any]) -> _Plan:
    rules: dict[str, Rule | None] = {}
    for name, parameter in inspect.signature(fn).parameters.items():
        annotation = resolve_annotation(fn, name, parameter.annotation, _note)
        # *args and **kwargs pass as they are, as in the peer
        variadic = parameter.kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
        if variadic or (_is_anything(annotation) and not _is_field(parameter.default)):
            rules[name] = None
        else:
            rules[name] = Rule(name, annotation, parameter.default)
    return _Plan(rules)


def _note(message: str, error: Exception) -> None:
    import logging

    logging.getLogger("riverrun.flows").debug("%s (%s: %s)", message, type(error).__name__, error)


def _is_field(default: Any) -> bool:
    return type(default).__name__ == "FieldInfo" and type(default).__module__ == "pydantic.fields"


def _is_anything(annotation: Any) -> bool:
    try:
        return annotation in _ANYTHING
    except TypeError:  # not hashable
        return False


def _identity(value: Any) -> Any:
    return value


def _unsure(_value: Any) -> Any:
    return UNSURE


# -- what needs no pydantic -------------------------------------------------------------------------------------------------

_EXACT: Final = frozenset({int, bool, bytes, date, datetime, timedelta, time, UUID})


def check_for(annotation: Any, exact: bool = False) -> Check:
    """A function that gives the value as pydantic would, or UNSURE.

    With `exact` it accepts only values that already have the type, as is right for the members of a union.
    """
    if _is_anything(annotation):
        return _identity
    if annotation is None or isinstance(annotation, type):
        if annotation is float and exact:
            return _check_float
        if annotation in _EXACT:
            return partial(_check_type, annotation)
        return _CHECKS.get(annotation, _unsure)
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Union or origin is UnionType:
        return partial(_check_union, [check_for(member, exact=True) for member in arguments])
    if origin is list and len(arguments) == 1:
        return partial(_check_list, check_for(arguments[0], exact))
    if origin is dict and len(arguments) == 2:
        return partial(_check_dict, check_for(arguments[0], exact), check_for(arguments[1], exact))
    if origin is typing.Literal:
        return partial(_check_literal, arguments)
    return _unsure


def _check_none(value: Any) -> Any:
    return None if value is None else UNSURE


def _check_type(kind: type, value: Any) -> Any:
    return value if type(value) is kind else UNSURE


def _check_str(value: Any) -> Any:
    if type(value) is not str:
        return UNSURE
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:  # lone surrogates
            return UNSURE
    return value


def _check_float(value: Any) -> Any:
    return value if type(value) is float else UNSURE


def _check_float_or_int(value: Any) -> Any:
    kind = type(value)
    if kind is float:
        return value
    if kind is int and -(2**53) <= value <= 2**53:
        return float(value)
    return UNSURE


def _check_decimal(value: Any) -> Any:
    return value if type(value) is Decimal and value.is_finite() else UNSURE


def _check_path(value: Any) -> Any:
    return value if isinstance(value, PurePath) and type(value) is type(Path()) else UNSURE


def _check_bare_list(value: Any) -> Any:
    return value.copy() if type(value) is list else UNSURE


def _check_bare_dict(value: Any) -> Any:
    return value.copy() if type(value) is dict else UNSURE


def _check_list(check: Check, value: Any) -> Any:
    if type(value) is not list:
        return UNSURE
    items = [check(item) for item in value]
    return UNSURE if any(item is UNSURE for item in items) else items


def _check_dict(check_key: Check, check_value: Check, value: Any) -> Any:
    if type(value) is not dict:
        return UNSURE
    converted = {}
    for key, item in value.items():
        new_key, new_item = check_key(key), check_value(item)
        if new_key is UNSURE or new_item is UNSURE:
            return UNSURE
        converted[new_key] = new_item
    return converted


def _check_union(checks: list[Check], value: Any) -> Any:
    for check in checks:
        result = check(value)
        if result is not UNSURE:
            return result
    return UNSURE


def _check_literal(choices: tuple[Any, ...], value: Any) -> Any:
    for choice in choices:
        if type(choice) is type(value) and type(value) in (str, int, bool, NoneType) and choice == value:
            return choice
    return UNSURE


_CHECKS: Final[dict[Any, Check]] = {
    None: _check_none,
    NoneType: _check_none,
    str: _check_str,
    float: _check_float_or_int,
    list: _check_bare_list,
    dict: _check_bare_dict,
    Decimal: _check_decimal,
    Path: _check_path,
}
