"""Names of runs from templates: a format string over the parameters and the runtime context, or a function."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from riverrun.engine.options import check_run_name


def run_name(template: str | Callable[..., str], parameters: Mapping[str, Any], owner: str) -> str:
    """The name that `template` gives.

    A function may take no argument or one called `parameters`. Raises TypeError if it returns no string, and whatever the
    function or the formatting raises, with the template named. `owner` is such as "task 'name'".
    """
    option = f"{owner.partition(' ')[0]}_run_name"
    check_run_name(option, template, owner)
    if isinstance(template, str):
        try:
            return template.format(**parameters)
        except (KeyError, IndexError, AttributeError) as error:
            raise type(error)(
                f"The run name template {template!r} of {owner} names something that is not a parameter: {error}."
                f" Its parameters are {', '.join(parameters) or 'none'}."
            ) from error
    if "parameters" in inspect.signature(template).parameters:
        name = template(parameters=dict(parameters))
    else:
        name = template()
    if not isinstance(name, str):
        raise TypeError(
            f"Callable {template!r} for '{option}' returned type {type(name).__name__} but a string is required ({owner})."
        )
    return name
