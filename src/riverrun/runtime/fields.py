"""How the attributes of the runtime modules are looked up: a function each, replaceable by an environment variable.

This module must not know which attributes there are.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from riverrun.base.sources import told

_FALSE = {"", "0", "false", "f", "no", "n", "off"}


def look_up(module: str, fields: Mapping[str, Callable[[], Any]], name: str) -> Any:
    """The attribute `name` of a runtime module; raises AttributeError if there is none.

    `RIVERRUN__RUNTIME__<MODULE>__<NAME>` wins, read as the type of the true answer (text where that is None). It may also
    name what is no attribute. Raises ValueError for an attribute that is a list or a dictionary.
    """
    kind = module.rpartition(".")[2].upper()
    given = told(f"RUNTIME__{kind}__{name.upper()}")
    field = fields.get(name)
    if field is None:
        if given is None:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        return given
    value = field()
    return value if given is None else _read(given, value, f"{kind.lower()}.{name}")


def _read(given: str, value: Any, name: str) -> Any:
    if isinstance(value, bool):
        return given.strip().lower() not in _FALSE
    if value is None or isinstance(value, str):
        return given
    if isinstance(value, int | float):
        return type(value)(given)
    if isinstance(value, datetime):
        instant = datetime.fromisoformat(given)
        return instant if instant.tzinfo is not None else instant.replace(tzinfo=UTC)
    raise ValueError(
        f"{name} cannot be mocked by an environment variable: it is a {type(value).__name__}. Only texts, numbers, booleans"
        " and times can be."
    )


@lru_cache(maxsize=64)
def known_to_server(noun: str, object_id: str) -> Any:
    """The flow run, task run or deployment of an id, as the server has it; None without one. Asked once in a process."""
    from riverrun.client.calls import deployments, flow_runs, task_runs
    from riverrun.client.http import send
    from riverrun.client.location import api_url

    if api_url() is None:
        return None
    read: dict[str, Any] = {
        "deployment": deployments.read_deployment,
        "flow_run": flow_runs.read_flow_run,
        "task_run": task_runs.read_task_run,
    }
    return send(read[noun](object_id))
