"""What clients and pages ask about in the words of catalogues: types of workers, and the settings of the server."""

from typing import Any

from riverrun.base.config import TABLE, settings

_GROUPS = {
    "api", "cli", "client", "deployments", "engine", "experimental", "flows", "journal", "logging", "results", "runner",
    "server", "tasks", "testing", "worker",
}  # fmt: skip
_SERVER_GROUPS = {"api", "database", "logging", "services", "ui"}
_TEXT: dict[str, Any] = {"type": "string"}
_TEXTS: dict[str, Any] = {"type": "object", "additionalProperties": {"type": "string"}}
_VARIABLES: dict[str, dict[str, Any]] = {
    "name": {**_TEXT, "title": "Name", "description": "Name of what a worker starts for a run."},
    "env": {**_TEXTS, "title": "Environment Variables", "description": "Variables of the run's environment."},
    "labels": {**_TEXTS, "title": "Labels", "description": "Labels of what a worker starts for a run."},
    "command": {
        **_TEXT,
        "title": "Command",
        "description": "What is executed for a run. Leave it empty to let the worker choose.",
    },
    "stream_output": {
        "type": "boolean",
        "title": "Stream Output",
        "default": True,
        "description": "Whether the worker shows what the run's process writes.",
    },
    "working_dir": {
        **_TEXT,
        "title": "Working Directory",
        "format": "path",
        "description": "Directory in which the process runs. Unset: a temporary one of its own.",
    },
}
_PROCESS = {
    "type": "process",
    "display_name": "Process",
    "description": "Runs flows as processes on the machine of the worker. Good to start with, and for one machine.",
    "documentation_url": "",
    "install_command": "pip install riverrun",
    "is_beta": False,
    "logo_url": "",
    "default_base_job_configuration": {
        "job_configuration": {name: f"{{{{ {name} }}}}" for name in _VARIABLES},
        "variables": {"type": "object", "properties": _VARIABLES},
    },
}
#: of collections by name. What stands outside of this installation is not listed
COLLECTIONS: dict[str, dict[str, Any]] = {
    "aggregate-worker-metadata": {"prefect": {"process": _PROCESS}},
    "aggregate-block-metadata": {},
    "aggregate-flow-metadata": {},
    "demo-flows": {},
}


def settings_told() -> dict[str, Any]:
    """The settings of this process, grouped as the peer groups its own, with secrets covered."""
    current = settings()
    told: dict[str, Any] = {}
    for name, setting in TABLE.items():
        value = getattr(current, name)
        if value is not None:
            shown = setting.show(value)
            value = (
                shown if shown != setting.write(value) or not isinstance(value, bool | int | float | list) else value
            )
        place, rest = told, name
        for groups in (_GROUPS, _SERVER_GROUPS):
            head, _, tail = rest.partition("_")
            if tail and head in groups and (groups is _GROUPS or name.startswith("server_")):
                place, rest = place.setdefault(head, {}), tail
        place[rest] = value
    return told
