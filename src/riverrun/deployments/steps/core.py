"""Runs steps: fills in their templates, finds their functions, and says which one failed and why."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from riverrun.base.errors import InputError, RiverrunError
from riverrun.deployments.templates import environment, fill_in, kept_by_server, outputs_of
from riverrun.utilities.colours import complete
from riverrun.utilities.importtools import import_object

#: what a step may say about itself beside its arguments
_RESERVED: Final = ("id", "requires")
_PACKAGE: Final = "riverrun.deployments.steps"
#: names under which project files of the peer have the same steps
_FOREIGN: Final = ("prefect.deployments.steps", "prefect.projects.steps")


class StepExecutionError(RiverrunError, RuntimeError):
    """A step of a deployment failed."""

    code = "deployment_step"


def run_step(step: Mapping[str, Any], upstream_outputs: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Run one step; what it answers. Raises StepExecutionError, InputError for what is no step."""
    name, arguments, reserved = _parts(step)
    function = _function(name, reserved.get("requires"))
    try:
        filled = fill_in(arguments, outputs_of(upstream_outputs or {}), kept_by_server, environment)
        answer = complete(getattr(function, "sync", function)(**filled))
    except RiverrunError as error:
        raise StepExecutionError(f"The step {name!r} failed: {error}") from error
    except Exception as error:
        raise StepExecutionError(f"The step {name!r} failed: {type(error).__name__}: {error}") from error
    return dict(answer) if isinstance(answer, Mapping) else {}


def run_steps(
    steps: Sequence[Mapping[str, Any]], upstream_outputs: Mapping[str, Any] | None = None, print_function: Any = None
) -> dict[str, Any]:
    """Run steps one after the other; what they have answered, under their names and under the `id` of each that has one."""
    outputs = dict(upstream_outputs or {})
    for step in steps:
        if not step:
            continue
        name, _, reserved = _parts(step)
        if print_function is not None:
            print_function(f" > Running {name.rpartition('.')[2]} step...")
        answer = run_step(step, outputs)
        outputs.update(answer)
        if reserved.get("id"):
            outputs[str(reserved["id"])] = answer
    return outputs


def run_pull_steps(steps: Sequence[Mapping[str, Any]], directory: Path | str | None = None) -> Path | None:
    """Run the pull steps of a deployment, below `directory` (the working directory), and go where they have put the code.

    Returns that place, None if no step names one. Raises StepExecutionError or InputError.
    """
    if directory is not None:
        os.chdir(directory)
    place: Path | None = None
    outputs: dict[str, Any] = {}
    for step in steps:
        if not step:
            continue
        _, _, reserved = _parts(step)
        answer = run_step(step, outputs)
        outputs.update(answer)
        if reserved.get("id"):
            outputs[str(reserved["id"])] = answer
        if answer.get("directory"):
            place = Path(answer["directory"]).expanduser().resolve()
            os.chdir(place)
    return place


def fetches(steps: Sequence[Mapping[str, Any]]) -> bool:
    """Whether steps bring code to this machine, so that they want a directory of their own."""
    return any(_parts(step)[0].rpartition(".")[2] != "set_working_directory" for step in steps if step)


# -- what a step is ---------------------------------------------------------------------------------------------------------


def _parts(step: Mapping[str, Any]) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """Name, arguments, and what is said about the step."""
    if len(step) != 1:
        raise InputError(
            f"A step is one name with its arguments, as in 'package.module.function: {{argument: value}}'; not {step!r:.200}."
        )
    name, given = next(iter(step.items()))
    if not isinstance(given, Mapping | None):
        raise InputError(f"The arguments of the step {name!r} are a mapping of names to values, not {given!r:.200}.")
    arguments = dict(given or {})
    reserved = {key: arguments.pop(key) for key in _RESERVED if key in arguments}
    return str(name), arguments, reserved


def _function(name: str, requires: Any) -> Any:
    own = _own_name(name)
    try:
        return import_object(own)
    except (ImportError, AttributeError, ValueError) as error:
        packages = [str(each) for each in (requires if isinstance(requires, list) else [requires]) if each]
        if not packages or own != name:
            raise StepExecutionError(
                f"There is no step {name!r}: {error}."
                + ("" if own == name else " riverrun has no step of this name.")
                + (" If a package has it, name the package under `requires`." if own == name else "")
            ) from error
    _install(packages, name)
    try:
        return import_object(name)
    except (ImportError, AttributeError, ValueError) as error:
        raise StepExecutionError(f"There is no step {name!r} in {', '.join(packages)}: {error}") from error


def _own_name(name: str) -> str:
    """The name that a step has here: of the peer's steps, of ours in whichever module."""
    module, _, function = name.rpartition(".")
    foreign = next((package for package in _FOREIGN if module == package or module.startswith(f"{package}.")), None)
    return name if foreign is None else f"{_PACKAGE}.{function}"


def _install(packages: list[str], name: str) -> None:
    import subprocess

    from riverrun.deployments.steps.utility import installer

    if any(package.startswith("-") for package in packages):
        raise InputError(f"The step {name!r} requires {packages}: these are no names of packages.")
    done = subprocess.run([*installer(), "--quiet", *packages], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise StepExecutionError(
            f"The step {name!r} needs {', '.join(packages)}, which could not be installed: {done.stderr.strip()[-1000:]}"
        )
