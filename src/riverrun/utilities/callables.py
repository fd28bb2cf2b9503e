"""Calls as data: the arguments of a function as a dictionary and back. The engine's own binding is `engine.parameters`."""

import inspect
import typing
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

from riverrun.base.errors import ParameterBindError, ReservedArgumentError, SignatureMismatchError

if TYPE_CHECKING:
    from riverrun.utilities.schema import ParameterSchema


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


def parameter_schema(fn: Callable[..., Any]) -> "ParameterSchema":
    """The JSON schema of the parameters of `fn`; see `utilities.schema`."""
    from riverrun.utilities.schema import schema_of

    return schema_of(fn)


def resolve_annotation(
    fn: Callable[..., Any],
    name: str,
    annotation: Any,
    note: Callable[[str, Exception], object] = lambda _message, _error: None,
) -> Any:
    """The annotation of a parameter with names in it looked up; `Parameter.empty` if that is impossible, which `note` is told.

    Names are looked for in the function's module and in the functions around it.
    """
    if annotation is inspect.Parameter.empty or isinstance(annotation, type):
        return annotation
    plain = inspect.unwrap(fn)
    while isinstance(plain, partial):
        plain = plain.func
    plain = getattr(plain, "__func__", plain)
    if not hasattr(plain, "__globals__"):
        plain = type(plain).__call__  # an instance that can be called
    code = getattr(plain, "__code__", None)
    around: dict[str, Any] = {}
    for variable, cell in zip(
        getattr(code, "co_freevars", ()), getattr(plain, "__closure__", None) or (), strict=False
    ):
        try:
            around[variable] = cell.cell_contents
        except ValueError:  # not bound yet
            continue
    carrier = type("Carrier", (), {"__annotations__": {name: annotation}})
    try:
        return typing.get_type_hints(carrier, getattr(plain, "__globals__", {}), around, include_extras=True)[name]
    except Exception as error:  # noqa: BLE001 - the text of an annotation is code of the user's
        note(f"Parameter {name!r} is not validated: its annotation {annotation!r} cannot be resolved", error)
        return inspect.Parameter.empty


def parameter_docstrings(docstring: str | None) -> dict[str, str]:
    """What a docstring says of each parameter; see `utilities.schema`."""
    from riverrun.utilities.schema import parameter_docstrings as texts

    return texts(docstring)


def cloudpickle_wrapped_call(fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Callable[[], bytes]:
    """A call that can be pickled whatever it holds; calling it gives the pickled result, for runners in other processes."""
    import cloudpickle

    return partial(_call_pickled, cloudpickle.dumps((fn, args, kwargs)))


def _call_pickled(call: bytes) -> bytes:
    import cloudpickle

    fn, args, kwargs = cloudpickle.loads(call)
    return bytes(cloudpickle.dumps(fn(*args, **kwargs)))
