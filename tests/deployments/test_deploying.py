"""From a flow to a deployment on the server, in both colours; sources; running deployments."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

import riverrun
from riverrun import flow
from riverrun.base.errors import InputError, ObjectNotFound, RiverrunError
from riverrun.blocks.system import Secret
from riverrun.client.schemas.objects import ConcurrencyLimitConfig
from riverrun.client.talk import hold
from riverrun.deployments import arun_deployment, run_deployment
from riverrun.deployments.flow_runs import _wait
from riverrun.deployments.runner import DeploymentApplyError, RunnerDeployment, adeploy, deploy
from riverrun.entrypoints import load_flow
from riverrun.runner.storage import GitRepository
from riverrun.schedules import Cron, Interval, RRule, Schedule
from riverrun.utilities.annotations import freeze
from tests.deployments.test_sources import run_git

Read = Callable[..., Any]
_STEP = "riverrun.deployments.steps.set_working_directory"


@flow
def here(x: int = 1) -> int:
    return x


def test_a_served_deployment_names_the_file_and_its_directory(place: Path, read: Read) -> None:
    made = load_flow("flows.py:etl").to_deployment("d", parameters={"day": "x"}, tags=["a"], cron="0 3 * * *")
    made.apply()
    found = read("etl/d")
    assert (found["entrypoint"], found["path"], found["pull_steps"]) == ("flows.py:etl", str(place), None)
    assert (found["parameters"], found["tags"], found["description"]) == ({"day": "x"}, ["a"], "Loads a day.")
    assert [each["schedule"]["cron"] for each in found["schedules"]] == ["0 3 * * *"]
    assert found["parameter_openapi_schema"]["required"] == ["day"]
    assert found["version"] == load_flow("flows.py:etl").version


def test_applying_again_changes_what_is_said_and_keeps_the_rest(place: Path, read: Read, server: httpx.Client) -> None:
    etl = load_flow("flows.py:etl")
    first = etl.to_deployment("again", interval=60, paused=True, concurrency_limit=3).apply()
    schedule = read("etl/again")["schedules"][0]["id"]
    second = etl.to_deployment("again", description="now", version="2").apply()
    found = read("etl/again")
    assert first == second
    assert (found["paused"], found["description"], found["version"]) == (True, "now", "2")
    assert [each["id"] for each in found["schedules"]] == [schedule]
    etl.to_deployment("again", schedules=[]).apply()
    assert read("etl/again")["schedules"] == []


def test_in_async_code_everything_is_awaited(place: Path, pool: str, read: Read) -> None:
    report = load_flow("flows.py:report")

    async def main() -> Any:
        made = await report.to_deployment("async", schedule=Interval(60))
        assert isinstance(made, RunnerDeployment)
        first = await made.apply()
        second = await (await report.ato_deployment("async")).aapply()
        third = await report.deploy("async", work_pool_name=pool, print_next_steps=False)
        fourth = await report.adeploy("async", work_pool_name=pool, print_next_steps=False)
        fifth = (await adeploy(made, work_pool_name=pool, print_next_steps_message=False))[0]
        fetched = await riverrun.Flow.from_source(str(place), "flows.py:report")
        assert fetched.name == "Report of all"
        run = await run_deployment("Report of all/async", timeout=0)
        other = await arun_deployment(first, timeout=0, idempotency_key=str(run.id))
        return {first, second, third, fourth, fifth}, run, other

    ids, run, other = asyncio.run(main())
    assert ids == {run.deployment_id} == {other.deployment_id}
    assert run.id != other.id
    assert read("Report of all/async")["version"] == "7"


def test_a_pool_gets_the_directory_as_a_step(place: Path, pool: str, read: Read, capsys: Any) -> None:
    etl = load_flow("flows.py:etl")
    etl.deploy("pooled", work_pool_name=pool, job_variables={"env": {"A": "1"}}, concurrency_limit=2)
    found = read("etl/pooled")
    assert found["pull_steps"] == [{_STEP: {"directory": str(place)}}]
    assert (found["path"], found["work_pool_name"], found["job_variables"]) == (None, pool, {"env": {"A": "1"}})
    assert found["global_concurrency_limit"]["limit"] == 2
    assert f"riverrun worker start --pool {pool}" in capsys.readouterr().out


def test_what_cannot_be_deployed(place: Path, pool: str, server: httpx.Client) -> None:
    etl = load_flow("flows.py:etl")
    with pytest.raises(ValueError, match="no work pool 'nowhere'"):
        etl.deploy("x", work_pool_name="nowhere")
    with pytest.raises(ValueError, match="RIVERRUN_DEFAULT_WORK_POOL_NAME"):
        etl.deploy("x")
    with pytest.raises(InputError, match="builds no images"):
        etl.deploy("x", work_pool_name=pool, image="repo/image:1")
    server.post("/work_pools/", json={"name": f"{pool}-k8s", "type": "kubernetes"}).raise_for_status()
    with pytest.raises(ValueError, match="cannot see the files of this machine"):
        etl.deploy("x", work_pool_name=f"{pool}-k8s")
    good, bad = etl.to_deployment("good"), etl.to_deployment("bad", concurrency_limit=-1)
    with pytest.raises(DeploymentApplyError, match=r"etl/bad.*concurrency_limit"):
        deploy(bad, good, work_pool_name=pool)
    assert server.get("/deployments/name/etl/good").status_code == 200
    assert server.get("/deployments/name/etl/bad").status_code == 404


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cron": "61 * * * *"}, "cron"),
        ({"cron": "0 3 * *"}, "fields"),
        ({"schedule": {"cron": "* * * * *", "timezone": "Europe/Berln"}}, "IANA"),
        ({"rrule": "FREQ=SOMETIMES"}, "recurrence"),
        ({"interval": -5}, "longer than 0"),
        ({"cron": "* * * * *", "interval": 5}, "only one"),
        ({"schedules": ["daily"]}, "no schedule"),
        ({"schedules": [{"cron": "* * * * *", "zone": "UTC"}]}, "'zone'"),
    ],
)
def test_schedules_that_cannot_be_are_told_at_once(options: dict[str, Any], message: str) -> None:
    with pytest.raises((ValueError, InputError), match=message):
        here.to_deployment("d", **options)


def test_every_form_of_a_schedule(place: Path, read: Read) -> None:
    start = datetime(2030, 1, 1, tzinfo=UTC)
    schedules = [
        Cron(
            "0 3 * * *", timezone="Europe/Berlin", day_or=False, slug="a", parameters={"full": True}, catch_up="latest"
        ),
        Interval(timedelta(minutes=5), anchor_date=start, active=False, max_late=60, jitter=5, start=start),
        RRule("FREQ=DAILY", slug="c"),
        Schedule(interval=30),
        {"cron": "@daily", "timezone": "UTC"},
        {"schedule": {"interval": 7}, "active": False},
    ]
    load_flow("flows.py:etl").to_deployment("forms", parameters={"day": "x"}, schedules=schedules).apply()
    found = read("etl/forms")["schedules"]
    by_slug = {each["slug"]: each for each in found}
    assert len(found) == 6
    assert by_slug["a"]["schedule"] == {"cron": "0 3 * * *", "timezone": "Europe/Berlin", "day_or": False}
    assert (by_slug["a"]["parameters"], by_slug["a"]["catch_up"]) == ({"full": True}, "latest")
    interval = next(each for each in found if each["schedule"].get("interval") == 300)
    assert (interval["active"], interval["max_late"], interval["jitter"]) == (False, 60, 5)
    several = here.to_deployment("d", interval=[60, timedelta(hours=1)]).schedules
    assert [each.schedule.seconds for each in several or ()] == [60, 3600]


def test_a_limit_with_a_strategy_and_parameters_of_all_kinds(place: Path, read: Read) -> None:
    secret = Secret(value="x")
    secret.save(f"token-{place.parent.name}".replace("_", "-"), overwrite=True)
    made = load_flow("flows.py:etl").to_deployment(
        "kinds",
        concurrency_limit=ConcurrencyLimitConfig(limit=2, collision_strategy="CANCEL_NEW"),
        parameters={"day": secret, "full": freeze(True)},
        enforce_parameter_schema=False,
    )
    made.apply()
    found = read("etl/kinds")
    assert found["concurrency_options"]["collision_strategy"] == "CANCEL_NEW"
    assert found["parameters"] == {"day": {"$ref": {"block_document_id": str(secret._block_document_id)}}, "full": True}
    assert found["parameter_openapi_schema"]["properties"]["full"]["enum"] == [True]


def test_flows_that_nobody_else_could_find() -> None:
    @flow
    def local() -> None: ...

    with pytest.raises(InputError, match="inside of a function"):
        local.to_deployment("d")
    with pytest.raises(InputError, match="/"):
        here.to_deployment("a/b")
    with pytest.raises(InputError, match=r"no parameter 'nobody'\. It has: x"):
        here.to_deployment("d", parameters={"nobody": 1})
    with pytest.raises(TypeError, match="nonsense"):
        here.to_deployment("d", nonsense=1)


def test_entrypoints_of_every_kind(place: Path) -> None:
    assert load_flow("flows.py:Nest.inner").to_deployment("d").entrypoint == "flows.py:Nest.inner"
    assert load_flow("flows.py:report").to_deployment("d", entrypoint_type="module_path").entrypoint == "flows.report"
    made = RunnerDeployment.from_entrypoint("flows.py:report", "script.py", cron="* * * * *")
    assert (made.full_name, made.entrypoint, made.path) == ("Report of all/script", "flows.py:report", str(place))


def test_code_from_elsewhere(place: Path, pool: str, read: Read, tmp_path: Path) -> None:
    run_git(place, "init", "--quiet", "-b", "main")
    run_git(place, "add", ".")
    run_git(place, "commit", "--quiet", "-m", "first")
    url = f"file://{place}"
    fetched = riverrun.Flow.from_source(GitRepository(url), "flows.py:etl")
    assert fetched("today") == "today"
    fetched.with_options(description="far").deploy("far", work_pool_name=pool, print_next_steps=False)
    found = read("etl/far")
    assert found["pull_steps"] == [{"riverrun.deployments.steps.git_clone": {"repository": url}}]
    assert (found["entrypoint"], found["path"], found["description"]) == ("flows.py:etl", None, "far")
    with pytest.raises(InputError, match=r"There is no file .*nothing\.py"):
        riverrun.Flow.from_source(GitRepository(url), "nothing.py:etl")
    stored = RunnerDeployment.from_storage(GitRepository(url), "flows.py:report", "stored")
    assert (stored.full_name, stored.entrypoint) == ("Report of all/stored", "flows.py:report")


# -- runs -------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def deployed(place: Path, server: httpx.Client) -> str:
    load_flow("flows.py:report").to_deployment("run").apply()
    return "Report of all/run"


def test_a_run_carries_what_it_was_given(deployed: str, server: httpx.Client) -> None:
    then = datetime.now(UTC) + timedelta(hours=1)
    run = run_deployment(
        deployed,
        parameters={"n": 5},
        scheduled_time=then,
        flow_run_name="mine",
        timeout=0,
        tags=["t"],
        idempotency_key="once",
        job_variables={"env": {"A": "b"}},
    )
    again = run_deployment(deployed, timeout=0, idempotency_key="once")
    found = server.get(f"/flow_runs/{run.id}").json()
    assert again.id == run.id
    assert (found["parameters"], found["name"], found["tags"]) == ({"n": 5}, "mine", ["t"])
    assert found["job_variables"] == {"env": {"A": "b"}}
    assert datetime.fromisoformat(found["next_scheduled_start_time"]) == then
    assert found["parent_task_run_id"] is None


def test_waiting_ends_with_the_run_or_the_time(deployed: str, server: httpx.Client) -> None:
    import threading

    run = run_deployment(deployed, timeout=0.3)
    assert run.state is not None
    assert run.state.is_scheduled()

    def finish() -> None:
        body = {"state": {"type": "COMPLETED"}, "force": True}
        server.post(f"/flow_runs/{run.id}/set_state", json=body).raise_for_status()

    timer = threading.Timer(0.2, finish)
    timer.start()
    assert hold(_wait(run, 10, 5)).state.is_completed()
    timer.join()
    with pytest.raises(ValueError, match="negative"):
        run_deployment(deployed, timeout=-1)
    with pytest.raises(ObjectNotFound):
        run_deployment("Report of all/nobody", timeout=0)


def test_parameters_that_do_not_fit_make_no_run(deployed: str) -> None:
    with pytest.raises(RiverrunError, match="field 'n'"):
        run_deployment(deployed, parameters={"n": "three"}, timeout=0)
