"""Calls as data: the arguments of a function as a dictionary and back. The engine's own binding is `engine.parameters`."""

import inspect
from collections.abc import Callable, Iterable
from typing import Any

from riverrun.base.errors import ParameterBindError, ReservedArgumentError, SignatureMismatchError


def get_call_parameters(
    fn: Callable[..., Any], call_args: tuple[Any, ...], call_kwargs: dict[str, Any], apply_defaults: bool = True
) -> dict[str, Any]:
    """{parameter: argument} of a call; raises ParameterBindError if the arguments don't fit."""
    try:
        bound = inspect.signature(fn).bind(*call_args, **call_kwargs)
    except TypeError as error:
        raise ParameterBindError.from_bind_failure(fn, error, call_args, call_kwargs) from error
    if apply_defaults:
        bound.apply_defaults()
    return dict(bound.arguments)


def get_parameter_defaults(fn: Callable[..., Any]) -> dict[str, Any]:
    """The defaults of the parameters that have one."""
    return {
        name: parameter.default
        for name, parameter in inspect.signature(fn).parameters.items()
        if parameter.default is not inspect.Parameter.empty
    }


def parameters_to_args_kwargs(
    fn: Callable[..., Any], parameters: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Arguments and keyword arguments to call `fn` with; raises SignatureMismatchError for unknown parameters."""
    signature = inspect.signature(fn)
    if not parameters.keys() <= signature.parameters.keys():
        raise SignatureMismatchError.from_bad_params(list(signature.parameters), list(parameters))
    bound = signature.bind_partial()
    bound.arguments = {name: parameters[name] for name in signature.parameters if name in parameters}
    return bound.args, bound.kwargs


def call_with_parameters(fn: Callable[..., Any], parameters: dict[str, Any]) -> Any:
    """Call `fn` with a dictionary of parameters."""
    args, kwargs = parameters_to_args_kwargs(fn, parameters)
    return fn(*args, **kwargs)


def explode_variadic_parameter(fn: Callable[..., Any], parameters: dict[str, Any]) -> dict[str, Any]:
    """The parameters with the members of **kwargs beside the others."""
    name = _variadic_keyword(fn)
    if name is None or name not in parameters:
        return parameters
    rest = {key: value for key, value in parameters.items() if key != name}
    return {**rest, **parameters[name]}


def collapse_variadic_parameters(fn: Callable[..., Any], parameters: dict[str, Any]) -> dict[str, Any]:
    """The inverse of `explode_variadic_parameter`; raises ValueError for names that `fn` does not take."""
    known = inspect.signature(fn).parameters
    name = _variadic_keyword(fn)
    extra = {key: value for key, value in parameters.items() if key not in known}
    if not extra and name is None:
        return parameters
    if name is None:
        raise ValueError(
            f"Signature for {getattr(fn, '__name__', fn)!r} does not include any variadic keyword argument but parameters"
            f" were given that can only be passed by one: {', '.join(sorted(extra))}"
        )
    return {**{key: value for key, value in parameters.items() if key in known}, name: extra}


def _variadic_keyword(fn: Callable[..., Any]) -> str | None:
    for name, parameter in inspect.signature(fn).parameters.items():
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            return name
    return None


def raise_for_reserved_arguments(fn: Callable[..., Any], reserved_arguments: Iterable[str]) -> None:
    """Raise ReservedArgumentError if `fn` has a parameter of one of these names."""
    parameters = inspect.signature(fn).parameters
    for name in reserved_arguments:
        if name in parameters:
            raise ReservedArgumentError(f"{name!r} is a reserved argument name and cannot be used as a parameter.")
