"""Finding the flow that `FILE:FLOW`, `module:flow` or `module.flow` names.

A file is imported under its own name with its directory on `sys.path`, as if it were imported from there; so
`if __name__ == "__main__":` does not run, and child processes can import it again.
"""

import ast
import sys
import traceback
from collections.abc import Iterable
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

from riverrun.base.errors import InputError, MissingFlowError, ScriptError, UnspecifiedFlowError
from riverrun.flows import Flow
from riverrun.utilities.importtools import import_object, safe_load_namespace


def load_flow(entrypoint: str) -> Flow[..., Any]:
    """The flow that an entrypoint names.

    Raises InputError (no such file or module), MissingFlowError, UnspecifiedFlowError (a file of several flows and no
    name), and ScriptError when the user's code raises while it is imported; its `__cause__` is that exception with the
    frames of the import cut off.
    """
    place, colon, name = entrypoint.rpartition(":") if ":" in entrypoint else (entrypoint, "", "")
    if colon and not place:
        raise InputError(f"{entrypoint!r} names no file or module before the colon.")
    if place.endswith(".py") or Path(place).is_file():
        return _select(_load_file(place), name, place)
    if "/" in place:
        raise InputError(f"There is no file {place!r} (looked in {Path.cwd()}).")
    return _load_from_module(place, name)


def _load_file(place: str) -> ModuleType:
    path = Path(place).expanduser().resolve()
    if not path.is_file():
        raise InputError(f"There is no file {place!r} (looked for {path}).")
    _add_to_path(Path.cwd())
    _add_to_path(path.parent)
    name = path.stem
    loaded = sys.modules.get(name)
    if loaded is not None:
        if getattr(loaded, "__file__", None) == str(path):
            return loaded
        name = f"__riverrun_{name}__"  # the file shares its name with a module that is in use
    spec = spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise InputError(f"{place!r} is no Python file (its name must end with .py).")
    module = module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # whatever a user's file raises is told as such
        del sys.modules[name]
        raise _script_error(error, place) from error
    return module


def _load_from_module(place: str, name: str) -> Flow[..., Any]:
    _add_to_path(Path.cwd())
    if name:
        return _select(_import(place), name, place)
    try:
        return _select(_import(place), "", place)
    except InputError as whole:
        parent, dot, last = place.rpartition(".")
        if not dot or isinstance(whole, ScriptError):
            raise
        try:
            module = _import(parent)
        except InputError as error:
            if isinstance(error, ScriptError):
                raise
            raise whole from None
    return _select(module, last, parent)


def _import(name: str) -> ModuleType:
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        # it or a package above it is missing; else the module is there and misses something itself
        if error.name is None or not (name == error.name or name.startswith(f"{error.name}.")):
            raise _script_error(error, name) from error
        hint = f" Did you mean the file {name}.py?" if Path(f"{name}.py").is_file() else ""
        message = f"There is no file and no module {name!r} (looked in {Path.cwd()} and on sys.path).{hint}"
        raise InputError(message) from None
    except (Exception, SystemExit) as error:  # whatever a user's module raises is told as such
        raise _script_error(error, name) from error


def _add_to_path(directory: Path) -> None:
    if str(directory) not in sys.path:
        sys.path.insert(0, str(directory))


def _script_error(error: BaseException, place: str) -> ScriptError:
    """The error with the frames of this module and of the import machinery cut from its traceback."""
    frames = error.__traceback__
    while frames is not None and (
        frames.tb_frame.f_code.co_filename == __file__ or "importlib" in frames.tb_frame.f_code.co_filename
    ):
        frames = frames.tb_next
    error.__traceback__ = frames
    return ScriptError(error, place)


def script_traceback(error: ScriptError) -> str:
    """The traceback of the user's own code, as text."""
    return "".join(traceback.format_exception(error.user_exc)).rstrip()


def _select(module: ModuleType, name: str, place: str) -> Flow[..., Any]:
    flows = {key: value for key, value in vars(module).items() if isinstance(value, Flow)}
    if name:
        found = _attribute(module, name)
        if isinstance(found, Flow):
            return found
        named = [value for value in flows.values() if value.name == name]
        if named:
            return named[0]
        if found is None:
            raise MissingFlowError(f"There is no flow {name!r} in {place!r}. {_listing(flows, name)}")
        kind = type(found).__name__
        raise MissingFlowError(
            f"{name!r} in {place!r} is a {kind}, not a flow: is `@flow` missing? {_listing(flows, name)}"
        )
    # Flows that were imported from elsewhere are ingredients, not what the file is for.
    own = {key: value for key, value in flows.items() if value.fn.__module__ == module.__name__}
    if not own:
        raise MissingFlowError(f"There is no flow in {place!r}. {_listing(flows, '')}")
    if len({id(value) for value in own.values()}) > 1:
        raise UnspecifiedFlowError(f"Say which flow of {place!r} is meant, as in {place}:NAME. {_listing(own, '')}")
    return next(iter(own.values()))


def _attribute(module: ModuleType, name: str) -> Any:
    found: Any = module
    for part in name.split("."):
        found = getattr(found, part, None)
    return found


def _listing(flows: dict[str, Flow[..., Any]], wanted: str) -> str:
    if not flows:
        return "It has no flows."
    from difflib import get_close_matches

    near = get_close_matches(wanted, list(flows), n=1) if wanted else []
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return f"It has: {', '.join(sorted(flows))}.{hint}"


# -- flows of scripts that can't be imported here ------------------------------------------------------------------------


def placeholder(entrypoint: str, problem: ScriptError) -> Flow[..., Any]:
    """A flow with the name and options that the script gives it, for a script that raises when it is imported.

    Its function is the script's own, as far as that can be made; else calling it raises `problem`.
    """
    flow = flow_from_source(entrypoint)
    if flow is not None:
        return flow

    def broken(*_args: Any, **_kwargs: Any) -> Any:
        raise problem

    return Flow(broken, **arguments_from_source(entrypoint), validate_parameters=False)


def arguments_from_source(entrypoint: str, wanted: Iterable[str] | None = None) -> dict[str, Any]:
    """What a script gives to `@flow` for a function, without importing it; `name` is there always.

    Raises ValueError if the script has no such flow. An argument that can't be evaluated is logged and left out.
    """
    definition, text, path = _definition(entrypoint)
    given: dict[str, Any] = {"name": definition.name.replace("_", "-")}
    wanted = None if wanted is None else set(wanted)
    namespace: dict[str, Any] | None = None
    for keyword in _flow_keywords(definition):
        if keyword.arg is None or (wanted is not None and keyword.arg not in wanted):
            continue
        if isinstance(keyword.value, ast.Constant):
            given[keyword.arg] = keyword.value.value
            continue
        namespace = safe_load_namespace(text, path) if namespace is None else namespace
        try:
            given[keyword.arg] = _evaluate(keyword.value, path, namespace)
        except Exception as error:  # noqa: BLE001 - the user's code
            from riverrun.logging import get_logger

            argument = ast.get_source_segment(text, keyword) or keyword.arg
            get_logger("flows").warning(
                "Failed to parse @flow argument: `%s`: %s. It is left out; the flow may be shown under another name.",
                argument,
                error,
            )
    return given if wanted is None else {key: value for key, value in given.items() if key in wanted}


def flow_from_source(entrypoint: str) -> Flow[..., Any] | None:
    """A flow made of one function of a script, whose other statements do not run; None if that can't be done.

    Annotations and defaults that can't be evaluated are dropped (a default becomes None). Raises ValueError if the script
    has no such flow.
    """
    definition, text, path = _definition(entrypoint)
    namespace = safe_load_namespace(text, path)
    for keyword in _flow_keywords(definition):
        try:
            _evaluate(keyword.value, path, namespace)
        except Exception:  # noqa: BLE001 - the user's code
            return None
    definition.decorator_list = []
    definition.returns = None
    arguments = definition.args
    for argument in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg):
        if argument is not None and argument.annotation is not None:
            try:
                _evaluate(argument.annotation, path, namespace)
            except Exception:  # noqa: BLE001 - the user's code
                argument.annotation = None
    arguments.defaults = [_or_none(default, path, namespace) for default in arguments.defaults]
    arguments.kw_defaults = [each and _or_none(each, path, namespace) for each in arguments.kw_defaults]
    module = ast.fix_missing_locations(ast.Module(body=[definition], type_ignores=[]))
    try:
        exec(compile(module, path, "exec"), namespace)  # noqa: S102 - it is what the user asked to load
    except Exception:  # noqa: BLE001 - the user's code
        return None
    return Flow(namespace[definition.name], **arguments_from_source(entrypoint))


def flow_of_function(entrypoint: str) -> Flow[..., Any]:
    """The function that an entrypoint names as a flow, be it one already or not; raises MissingFlowError."""
    try:
        found = import_object(entrypoint)
    except (AttributeError, ModuleNotFoundError) as error:
        raise MissingFlowError(f"There is no function {entrypoint!r}: {error}") from error
    return found if isinstance(found, Flow) else Flow(found, log_prints=True)


def _definition(entrypoint: str) -> tuple[ast.FunctionDef | ast.AsyncFunctionDef, str, str]:
    """The definition of a flow's function, the script's text and its path."""
    place, colon, name = entrypoint.rpartition(":")
    if not colon:
        place, _, name = entrypoint.rpartition(".")
    path = Path(place) if place.endswith(".py") else Path(*place.split(".")).with_suffix(".py")
    try:
        text = path.read_text(encoding="utf-8")
        tree = ast.parse(text)
    except (OSError, ValueError, SyntaxError) as error:
        raise ValueError(f"Could not find flow {name!r}: the script {str(path)!r} can't be read: {error}") from error
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == name and _flow_decorators(node):
            return node, text, str(path)
    raise ValueError(
        f"Could not find flow {name!r} in {str(path)!r}: no function of that name is decorated with @flow."
    )


def _flow_decorators(node: ast.FunctionDef | ast.AsyncFunctionDef) -> list[ast.expr]:
    found = []
    for decorator in node.decorator_list:
        target = decorator.func if isinstance(decorator, ast.Call) else decorator
        if getattr(target, "id", getattr(target, "attr", None)) == "flow":
            found.append(decorator)
    return found


def _flow_keywords(node: ast.FunctionDef | ast.AsyncFunctionDef) -> list[ast.keyword]:
    return [
        keyword
        for decorator in _flow_decorators(node)
        if isinstance(decorator, ast.Call)
        for keyword in decorator.keywords
    ]


def _evaluate(node: ast.expr, path: str, namespace: dict[str, Any]) -> Any:
    return eval(compile(ast.Expression(node), path, "eval"), namespace)  # noqa: S307 - it is what the user asked to load


def _or_none(node: ast.expr, path: str, namespace: dict[str, Any]) -> ast.expr:
    try:
        _evaluate(node, path, namespace)
    except Exception:  # noqa: BLE001 - the user's code
        return ast.Constant(None)
    return node
