"""Objects by their names, under the names that the peer's users import; and what can be learned of a script piece by piece.

`safe_load_namespace` executes a script's imports and definitions one by one and passes over those that fail; it never executes
other statements. Finding flows stands in `riverrun.entrypoints`.
"""

import ast
import sys
from collections.abc import Iterator
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

from riverrun.base.errors import ScriptError

__all__ = [
    "from_qualified_name",
    "import_object",
    "load_script_as_module",
    "safe_load_namespace",
    "to_qualified_name",
]

#: statements that only define names
_DEFINITIONS = (
    ast.Import,
    ast.ImportFrom,
    ast.FunctionDef,
    ast.AsyncFunctionDef,
    ast.ClassDef,
    ast.Assign,
    ast.AnnAssign,
)


def to_qualified_name(obj: Any) -> str:
    """`module.name` of a function or class; `from_qualified_name` finds it by that."""
    return f"{obj.__module__}.{obj.__qualname__}"


def from_qualified_name(name: str) -> Any:
    """The module, or the object in a module, of this name.

    Raises ModuleNotFoundError if there is no such module, AttributeError if the module has no such object.
    """
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        module, _, inner = name.rpartition(".")
        if not module or error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise  # it is there, but imports something that is not
    return getattr(from_qualified_name(module), inner)


def import_object(import_path: str) -> Any:
    """The object that `path/to/file.py:name`, `module:name` or `module.name` names.

    Raises ScriptError if a file's code fails, ImportError or AttributeError if there is no such thing.
    """
    place, colon, name = import_path.rpartition(":")
    if not colon:
        return from_qualified_name(import_path)
    found: Any = load_script_as_module(place) if place.endswith(".py") else import_module(place)
    for part in name.split("."):
        found = getattr(found, part)
    return found


def load_script_as_module(path: str | Path) -> ModuleType:
    """A script executed as a module of its own, with its directory and the current one to import from.

    `if __name__ == "__main__":` does not run. Raises ScriptError if its code raises; the exception is its `user_exc`.
    """
    place = Path(path).expanduser().resolve()
    name = f"__riverrun_script_{place.stem}__"
    spec = spec_from_file_location(name, place)
    if spec is None or spec.loader is None:
        raise ScriptError(ImportError(f"{str(path)!r} is no Python file (its name must end with .py)"), str(path))
    module = module_from_spec(spec)
    for directory in (Path.cwd(), place.parent):
        if str(directory) not in sys.path:
            sys.path.insert(0, str(directory))
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # whatever a user's file raises is told as such
        del sys.modules[name]
        raise ScriptError(error, str(path)) from error
    return module


def safe_load_namespace(source_code: str, filepath: str | None = None) -> dict[str, Any]:
    """The names that a script defines by imports, functions, classes and assignments, without those that fail.

    Nothing else of the script runs. `filepath` is the file it came from, for tracebacks and imports beside it.
    """
    tree = ast.parse(source_code)
    namespace: dict[str, Any] = {"__name__": "safe_namespace_loader"}
    if filepath is not None:
        namespace["__file__"] = filepath
        directory = str(Path(filepath).resolve().parent)
        if directory not in sys.path:
            sys.path.insert(0, directory)
    for statement in _definitions(tree.body):
        module = ast.Module(body=[statement], type_ignores=[])
        try:
            exec(compile(module, filepath or "<script>", "exec"), namespace)  # noqa: S102 - the user asked to load it
        except Exception:  # noqa: S112, BLE001 - the user's code, of which we take what works
            continue
    return namespace


def _definitions(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    for statement in body:
        if isinstance(statement, _DEFINITIONS):
            yield statement
        elif isinstance(statement, ast.Try):
            yield from _definitions(statement.body)
            yield from _definitions([each for handler in statement.handlers for each in handler.body])
