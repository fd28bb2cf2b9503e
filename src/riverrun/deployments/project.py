"""Project files: `riverrun.yaml`, or the `prefect.yaml` that is there already, and the deployments that they describe.

pull:                                            # steps of all deployments that have none of their own
  - riverrun.deployments.steps.git_clone: {repository: "https://github.com/org/flows.git", branch: main}
deployments:
  - name: nightly
    entrypoint: etl.py:main
    schedules: [{cron: "0 3 * * *", timezone: Europe/Berlin}]
    parameters: {full: true}
    work_pool: {name: machines, work_queue_name: default, job_variables: {env: {STAGE: prod}}}
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

from riverrun.base.errors import InputError, MissingFlowError, ScriptError
from riverrun.deployments.runner import RunnerDeployment
from riverrun.deployments.steps.core import fetches, run_steps
from riverrun.deployments.templates import UNKNOWN, environment, fill_in, kept_by_server, outputs_of, set_environment

#: the first of these that a directory has counts
PROJECT_FILES: Final = ("riverrun.yaml", "prefect.yaml")
_FILE_KEYS: Final = {
    "name",
    "prefect-version",
    "riverrun-version",
    "definitions",
    "build",
    "push",
    "pull",
    "deployments",
}
_KEYS: Final = {
    "name", "flow_name", "entrypoint", "version", "version_type", "tags", "description", "parameters", "paused", "schedule",
    "schedules", "concurrency_limit", "enforce_parameter_schema", "work_pool", "build", "push", "pull", "triggers", "sla",
}  # fmt: skip
_POOL_KEYS: Final = {"name", "work_queue_name", "job_variables"}
Say = Callable[[str], object]


class Project:
    """What a project file says. Without a file it has no deployments and no steps."""

    def __init__(self, path: Path | None, content: Mapping[str, Any]) -> None:
        self.path = path
        self.where = "the project" if path is None else str(path)
        self.steps = {kind: _steps(content.get(kind), f"{self.where}: {kind}") for kind in ("build", "push", "pull")}
        self.deployments = [self._checked(number, each) for number, each in enumerate(_list(content, self.where))]

    def _checked(self, number: int, given: Any) -> dict[str, Any]:
        where = f"{self.where}: deployments[{number}]"
        if not isinstance(given, Mapping):
            raise InputError(f"{where} must be a mapping, it is {given!r:.100}.")
        _refuse_unknown(given, _KEYS, where)
        pool = given.get("work_pool") or {}
        if not isinstance(pool, Mapping):
            raise InputError(f"{where}.work_pool must be a mapping with a name, it is {pool!r:.100}.")
        _refuse_unknown(pool, _POOL_KEYS, f"{where}.work_pool")
        # an empty field says nothing, as in the files that `prefect init` writes
        return {key: value for key, value in given.items() if value is not None and (key != "schedule" or value)}

    def choose(self, names: Sequence[str], *, all_: bool = False) -> list[dict[str, Any]]:
        """The deployments of these names: `name`, `flow/name`, with `*` for any text. Raises InputError."""
        if all_:
            if not self.deployments:
                raise InputError(f"{self.where} has no deployments.")
            return self.deployments
        chosen: list[dict[str, Any]] = []
        for name in names:
            found = [each for each in self.deployments if _is_named(each, name)]
            if not found:
                raise InputError(f"{self.where} has no deployment {name!r}. It has: {self._listing()}.")
            chosen += [each for each in found if each not in chosen]
        if not names:
            if len(self.deployments) > 1:
                raise InputError(
                    f"Say which deployment is meant with --name, or --all. {self.where} has: {self._listing()}."
                )
            return self.deployments
        return chosen

    def has(self, name: str) -> bool:
        return any(_is_named(each, name) for each in self.deployments)

    def _listing(self) -> str:
        return ", ".join(str(each.get("name", "one without a name")) for each in self.deployments) or "none"


def read_project(path: Path | None = None) -> Project:
    """The project file of a path, or of the working directory. Raises InputError for what cannot be read."""
    if path is None:
        path = next((Path(name) for name in PROJECT_FILES if Path(name).is_file()), None)
        if path is None:
            return Project(None, {})
    content = _read_yaml(path)
    if content is None:
        content = {}
    if not isinstance(content, Mapping):
        raise InputError(f"{path} must hold a mapping, it holds {content!r:.100}.")
    _refuse_unknown(content, _FILE_KEYS, str(path))
    return Project(path, content)


def _read_yaml(path: Path) -> Any:
    import yaml

    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {error}") from error
    except yaml.YAMLError as error:
        raise InputError(f"{path} is no YAML: {error}") from error


def _list(content: Mapping[str, Any], where: str) -> list[Any]:
    found = content.get("deployments") or []
    if not isinstance(found, list):
        raise InputError(f"{where}: deployments must be a list, it is {found!r:.100}.")
    return found


def _steps(given: Any, where: str) -> list[dict[str, Any]] | None:
    if given is None:
        return None
    if not isinstance(given, list) or not all(isinstance(each, Mapping) for each in given if each):
        raise InputError(f"{where} must be a list of steps, it is {given!r:.100}.")
    return [dict(each) for each in given if each]


def _refuse_unknown(given: Mapping[str, Any], known: set[str], where: str) -> None:
    from difflib import get_close_matches

    # keys that begin with x- or . hold what anchors refer to
    unknown = [str(key) for key in given if key not in known and not str(key).startswith(("x-", "."))]
    if unknown:
        near = get_close_matches(unknown[0], known, n=1)
        raise InputError(f"{where} has an unknown key {unknown[0]!r}.{f' Did you mean {near[0]!r}?' if near else ''}")


def _is_named(given: Mapping[str, Any], name: str) -> bool:
    own = str(given.get("name", ""))
    flow, slash, deployment = name.rpartition("/")
    if not slash:
        return fnmatchcase(own, name)
    flow_name = given.get("flow_name") or str(given.get("entrypoint", "")).rpartition(":")[2].replace("_", "-")
    return fnmatchcase(own, deployment) and fnmatchcase(str(flow_name), flow)


# -- from what is said to what is made --------------------------------------------------------------------------------------


def make(given: Mapping[str, Any], project: Project, say: Say) -> RunnerDeployment:
    """Build and publish as the steps say, and give the deployment that then is to be made.

    Raises InputError, ScriptError and MissingFlowError for what cannot work, before any step has run where it can be known.
    """
    where = f"Deployment {given.get('name', '?')!r}"
    for key in ("name", "entrypoint"):
        if not given.get(key):
            raise InputError(f"{where} in {project.where} has no {key}.")
    steps = {kind: _steps(given.get(kind), f"{where}: {kind}") for kind in ("build", "push", "pull")}
    steps = {kind: own if own is not None else project.steps[kind] for kind, own in steps.items()}
    here = Path.cwd()
    pull = steps["pull"] or [{"riverrun.deployments.steps.set_working_directory": {"directory": str(here)}}]
    elsewhere = fetches(pull) or bool((given.get("work_pool") or {}).get("job_variables", {}).get("image"))
    flow = _load(str(fill_in(given["entrypoint"], environment)), where, elsewhere=elsewhere)
    options = _options(given)
    if steps["build"] or steps["push"]:
        RunnerDeployment._made(
            flow, str(given["name"]), _checkable(options)
        )  # wrong options are told before the work is done
    outputs = run_steps([*(steps["build"] or ()), *(steps["push"] or ())], print_function=say)
    known = outputs_of(outputs)
    pool = given.get("work_pool") or {}
    job_variables = fill_in(pool.get("job_variables") or {}, known, _only_variables, set_environment)
    options = fill_in(options, known, kept_by_server, environment)
    pool = fill_in(
        {key: value for key, value in pool.items() if key != "job_variables"}, known, kept_by_server, environment
    )
    if given.get("triggers"):
        say(f"{where}: its triggers are not made, they belong to automations.")
    made = RunnerDeployment._made(
        flow,
        str(fill_in(given["name"], environment)),
        {
            **options,
            "job_variables": job_variables,
            "work_pool_name": pool.get("name"),
            "work_queue_name": pool.get("work_queue_name"),
        },
    )
    made.entrypoint, made.pull_steps = (
        str(fill_in(given["entrypoint"], environment)),
        fill_in(pull, known, set_environment),
    )
    made.flow_name = given.get("flow_name") or made.flow_name
    return made


def _only_variables(name: str) -> Any:
    """Variables; blocks stay for the worker, so that no secret is kept with the deployment."""
    return kept_by_server(name) if ".variables." in name else UNKNOWN


def _options(given: Mapping[str, Any]) -> dict[str, Any]:
    wanted = (
        "version", "version_type", "tags", "description", "parameters", "paused", "schedule", "schedules", "concurrency_limit",
        "enforce_parameter_schema",
    )  # fmt: skip
    options = {key: given[key] for key in wanted if key in given}
    limit = options.get("concurrency_limit")
    if isinstance(limit, Mapping):
        from riverrun.client.schemas.objects import ConcurrencyLimitConfig

        try:
            options["concurrency_limit"] = ConcurrencyLimitConfig(**limit)
        except TypeError as error:
            raise InputError(f"concurrency_limit of deployment {given.get('name')!r} is wrong: {error}") from None
    return options


def _checkable(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that hold no placeholder for what is not known yet."""
    return {key: value for key, value in options.items() if "{{" not in str(value)}


def _load(entrypoint: str, where: str, *, elsewhere: bool) -> Any:
    """The flow. Code that runs elsewhere may import what is not installed here."""
    from riverrun.entrypoints import load_flow, placeholder

    try:
        return load_flow(entrypoint)
    except ScriptError as error:
        if elsewhere and isinstance(error.user_exc, ImportError):
            sys.stderr.write(
                f"{where}: {entrypoint} cannot be imported here ({error.user_exc}); taken as it is written.\n"
            )
            try:
                return placeholder(entrypoint, error)
            except ValueError:
                raise error from None
        raise
    except MissingFlowError as error:
        raise InputError(f"{where}: {error}") from error
