"""Under which name others find a flow: its entrypoint; and flows whose code is fetched from elsewhere."""

import atexit
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from riverrun.base.errors import InputError
from riverrun.deployments.sources import create_storage_from_source
from riverrun.utilities.colours import complete

if TYPE_CHECKING:
    from riverrun.deployments.runner import EntrypointType
    from riverrun.flows import Flow


def entrypoint_of(flow: "Flow[..., Any]", kind: "EntrypointType | str") -> tuple[str, str | None]:
    """`file.py:flow` or `module.flow`, and the directory that a file is relative to. Raises InputError."""
    module = sys.modules.get(flow.fn.__module__)
    name = _name_in(module, flow)
    if kind == "module_path":
        if flow.fn.__module__ == "__main__":
            raise InputError(
                f"Flow {flow.name!r} stands in the script that runs: only a file path names it for others."
            )
        return f"{flow.fn.__module__}.{name}", str(Path.cwd())
    file = getattr(module, "__file__", None)
    if file is None:
        raise InputError(
            f"Flow {flow.name!r} was not defined in a file, so nobody else can load it: write it to one, or fetch it by"
            " flow.from_source(source, entrypoint)."
        )
    path, here = Path(file).resolve(), Path.cwd()
    return f"{path.relative_to(here) if path.is_relative_to(here) else path}:{name}", str(here)


def _name_in(module: Any, flow: "Flow[..., Any]") -> str:
    """The flow's name in its module."""
    for name, value in vars(module or object).items():
        if value is flow:
            return str(name)
    name = flow.fn.__qualname__
    if "<" in name:  # `<locals>`, `<lambda>`
        raise InputError(
            f"Flow {flow.name!r} is defined inside of a function ({name}), where nobody else can load it from: move it to"
            " the top of its module."
        )
    return name


def flow_from_source(source: Any, entrypoint: str) -> "Flow[..., Any]":
    """The flow of an entrypoint in a source of code: an address, a path, a storage, or a block with files.

    What is fetched is kept until this process ends. Raises what fetching and loading raise.
    """
    from riverrun.entrypoints import load_flow

    storage = _storage_of(source)
    place = tempfile.mkdtemp(prefix="riverrun-source-")
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    storage.set_base_path(Path(place))
    complete(storage.pull_code())
    path, colon, _ = entrypoint.partition(":")
    where = storage.destination
    flow = load_flow(str(where / entrypoint)) if colon or path.endswith(".py") else _load_module(where, entrypoint)
    own = flow.with_options()
    own._storage, own._entrypoint = storage, entrypoint
    return own


def _load_module(where: Path, entrypoint: str) -> "Flow[..., Any]":
    from riverrun.entrypoints import load_flow

    if str(where) not in sys.path:
        sys.path.insert(0, str(where))
    return load_flow(entrypoint)


def _storage_of(source: Any) -> Any:
    if isinstance(source, str | Path):
        return create_storage_from_source(source)
    if all(hasattr(source, name) for name in ("pull_code", "to_pull_step", "set_base_path")):
        return source
    if hasattr(source, "get_directory"):
        from riverrun.deployments.sources import BlockStorageAdapter

        return BlockStorageAdapter(source)
    raise InputError(
        f"{source!r} is no source of code: give an address, a path, a storage of riverrun.runner.storage, or a block."
    )
