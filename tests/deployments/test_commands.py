"""The nouns of the command line about deployments, schedules, work pools and queues."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from riverrun.base.errors import InputError
from riverrun.cli.times import instant, span
from riverrun.entrypoints import load_flow

Run = Callable[..., tuple[int, str, str]]
Read = Callable[..., Any]


@pytest.fixture
def name(place: Path, server: httpx.Client) -> str:
    """A deployment of the test's own."""
    own = place.parent.name.replace("_", "-")
    load_flow("flows.py:report").to_deployment(own, cron="0 3 * * *", version="1").apply()
    return f"Report of all/{own}"


def document(answer: tuple[int, str, str]) -> Any:
    assert answer[0] == 0, answer[2]
    return json.loads(answer[1])


def done(answer: tuple[int, str, str]) -> str:
    assert answer[0] == 0, answer[2]
    return answer[1] + answer[2]


def test_listing_and_looking(cli: Run, name: str) -> None:
    assert name in done(cli("deployment", "ls"))
    assert name in done(cli("deployments", "ls", "Report of all", "--by-created"))
    assert name not in done(cli("deployment", "ls", "nobody"))
    shown = done(cli("deployment", "inspect", name))
    assert "cron 0 3 * * *" in shown
    found = document(cli("deployment", "inspect", name, "--json"))
    assert document(cli("deployment", "inspect", found["id"], "-o", "json")) == found
    assert found["id"] in [each["id"] for each in document(cli("deployment", "ls", "--json"))]
    assert cli("deployment", "inspect", "Report of all/nobody")[0] == 1
    assert "named by its flow's name" in cli("deployment", "inspect", "nobody")[2]


def test_running(cli: Run, name: str, server: httpx.Client) -> None:
    arguments = [
        "--param",
        "n=5",
        "--tag",
        "t",
        "--flow-run-name",
        "mine",
        "-jv",
        "env.A=1",
        "--start-in",
        "1 hour 30 minutes",
    ]
    made = document(cli("deployment", "run", name, *arguments, "--json"))
    found = server.get(f"/flow_runs/{made['id']}").json()
    assert (found["parameters"], found["name"], found["tags"]) == ({"n": 5}, "mine", ["t"])
    assert found["job_variables"] == {"env.A": 1}
    start = datetime.fromisoformat(found["next_scheduled_start_time"]) - datetime.now(UTC)
    assert timedelta(minutes=89) < start < timedelta(minutes=90)
    assert "has no parameter m. It has: n" in cli("deployment", "run", name, "-p", "m=5")[2]
    assert "'x' is not of type 'integer'" in cli("deployment", "run", name, "-p", "n=x")[2]
    for wrong in (
        ["--start-in", "soon"],
        ["--start-at", "noonish"],
        ["--start-in", "5s", "--start-at", "17:00"],
        ["-p", "n"],
    ):
        assert cli("deployment", "run", name, *wrong)[0] == 2
    assert cli("deployment", "run")[0] == 2
    assert "starts at once" in done(cli("deployment", "run", "--id", made["deployment_id"]))


def test_spans_and_instants_as_people_write_them() -> None:
    spans = {
        "30s": 30,
        "5 minutes": 300,
        "in 1 hour 30 minutes": 5400,
        "2d": 172_800,
        "1.5h": 5400,
        "1w, 1 day": 691_200,
    }
    assert {text: span(text).total_seconds() for text in spans} == spans
    for text in ("", "5", "five minutes", "5 months", "1h x", "9" * 40 + "w"):
        with pytest.raises(InputError):
            span(text)
    assert instant("2030-01-31T17:30Z") == datetime(2030, 1, 31, 17, 30, tzinfo=UTC)
    assert instant("at 2030-01-31 17:30").astimezone().hour == 17
    now = datetime.now(UTC)
    for text, hour in (("17:30", 17), ("5:30pm", 17), ("12am", 0), ("12:01 pm", 12)):
        found = instant(text)
        assert found.astimezone().hour == hour
        assert now < found <= now + timedelta(days=1, hours=2)
    for text in ("noon", "25:00", "5", "13:99"):
        with pytest.raises(InputError):
            instant(text)


def test_pausing_versions_and_the_way_back(cli: Run, name: str, place: Path) -> None:
    done(cli("deployment", "pause", name))
    assert document(cli("deployment", "inspect", name, "--json"))["paused"] is True
    done(cli("deployment", "resume", name))
    assert "no earlier version" in cli("deployment", "rollback", name)[2]
    load_flow("flows.py:report").to_deployment(
        name.rpartition("/")[2], interval=60, version="2", parameters={"n": 9}
    ).apply()
    listed = document(cli("deployment", "versions", name, "--json"))
    assert [(each["number"], each["version"], each["current"]) for each in listed] == [(2, "2", True), (1, "1", False)]
    assert "once more what it was in version 1" in done(cli("deployment", "rollback", name))
    found = document(cli("deployment", "inspect", name, "--json"))
    assert (found["version"], found["parameters"]) == ("1", {})
    assert [each["schedule"]["cron"] for each in found["schedules"]] == ["0 3 * * *"]
    assert document(cli("deployment", "rollback", name, "--to", "2", "--json"))["version"] == "2"
    assert cli("deployment", "rollback", name, "--to", "99")[0] == 1
    assert "2" in done(cli("deployment", "versions", name))


def test_what_is_to_come(cli: Run, name: str) -> None:
    coming = document(cli("deployment", "next", name, "--days", "3", "--json"))
    assert len(coming["instants"]) == 3
    assert "03:00:00" in done(cli("deployment", "next", name, "--limit", "1"))
    done(cli("deployment", "pause", name))
    assert "is paused" in done(cli("deployment", "next", name))


def test_deleting(cli: Run, name: str) -> None:
    done(cli("deployment", "delete", name))
    assert cli("deployment", "delete", name)[0] == 1
    assert cli("deployment", "delete")[0] == 2


def test_schedules(cli: Run, name: str, server: httpx.Client) -> None:
    options = [
        "--interval",
        "60",
        "--slug",
        "often",
        "-p",
        "n=2",
        "--catch-up",
        "latest",
        "--max-late",
        "30",
        "--jitter",
        "2",
    ]
    made = document(cli("deployment", "schedule", "create", name, *options, "--timezone", "Europe/Berlin", "--json"))
    assert (made["schedule"]["interval"], made["parameters"], made["catch_up"]) == (60, {"n": 2}, "latest")
    listed = document(cli("schedule", "ls", name, "--json"))
    assert {each["slug"] for each in listed} == {None, "often"}
    assert "every 60 s (Europe/Berlin)" in done(cli("schedules", "ls", name))
    done(cli("schedule", "pause", name, "often"))
    assert {each["slug"]: each["active"] for each in document(cli("schedule", "ls", name, "--json"))} == {
        None: True,
        "often": False,
    }
    done(cli("schedule", "pause", name, "--all"))
    done(cli("schedule", "resume", name, made["id"]))
    assert {each["slug"]: each["active"] for each in document(cli("schedule", "ls", name, "--json"))} == {
        None: False,
        "often": True,
    }
    done(cli("schedule", "delete", name, "often", "-y"))
    done(cli("schedule", "create", name, "--cron", "*/5 * * * *", "--replace", "-y"))
    assert [each["schedule"]["cron"] for each in document(cli("schedule", "ls", name, "--json"))] == ["*/5 * * * *"]
    done(cli("schedule", "clear", name, "-y"))
    assert "No schedules." in done(cli("schedule", "ls", name))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--cron", "61 * * * *"], "not a cron"),
        (["--cron", "* * * * *", "--timezone", "Mars"], "'Mars' is not an IANA"),
        (["--rrule", "FREQ=NEVER"], "recurrence rule"),
        ([], "exactly one of"),
        (["--cron", "* * * * *", "--interval", "5"], "exactly one of"),
    ],
)
def test_schedules_that_cannot_be(cli: Run, name: str, arguments: list[str], message: str) -> None:
    code, _, said = cli("schedule", "create", name, *arguments)
    assert code == 2
    assert message in said
    assert "no schedule 'nobody'" in cli("schedule", "pause", name, "nobody")[2]


def test_work_pools(cli: Run, tmp_path: Path) -> None:
    pool = f"pool-{tmp_path.name}"
    made = document(cli("work-pool", "create", pool, "--concurrency-limit", "5", "--description", "d", "--json"))
    assert (made["type"], made["concurrency_limit"]) == ("process", 5)
    assert "env" in made["base_job_template"]["variables"]["properties"]
    assert "already" in cli("work-pool", "create", pool)[2]
    done(cli("work-pool", "create", pool, "--overwrite", "--paused"))
    assert document(cli("work-pool", "inspect", pool, "--json"))["is_paused"] is True
    done(cli("work-pool", "resume", pool))
    done(cli("work-pool", "set-concurrency-limit", pool, "3"))
    assert "0 of 3" in done(cli("work-pool", "inspect", pool))
    done(cli("work-pool", "clear-concurrency-limit", pool))
    template = tmp_path / "template.json"
    template.write_text(json.dumps({"variables": {}, "job_configuration": {}}))
    done(cli("work-pool", "update", pool, "--base-job-template", template, "--description", "new"))
    found = document(cli("work-pool", "inspect", pool, "--json"))
    assert (found["description"], found["concurrency_limit"]) == ("new", None)
    assert found["base_job_template"]["job_configuration"] == {}
    done(cli("work-pool", "pause", pool))
    assert pool in done(cli("work-pools", "ls", "-v"))
    assert pool in [each["name"] for each in document(cli("work-pool", "ls", "--json"))]
    done(cli("work-pool", "delete", pool))
    assert cli("work-pool", "inspect", pool)[0] == 1
    assert cli("work-pool", "update", pool)[0] == 2
    template.write_text("[")
    assert "is no JSON" in cli("work-pool", "create", "x", "--base-job-template", template)[2]
    assert "Nobody here knows" in cli("work-pool", "create", "x", "--type", "abacus")[2]
    assert "job_configuration" in document(cli("work-pool", "get-default-base-job-template"))


def test_work_queues_and_previews(cli: Run, pool: str, place: Path, server: httpx.Client) -> None:
    made = document(cli("work-queue", "create", "fast", "-p", pool, "-l", "2", "-q", "1", "--json"))
    assert (made["priority"], made["concurrency_limit"]) == (1, 2)
    assert "already" in cli("work-queue", "create", "fast", "-p", pool)[2]
    listed = document(cli("work-queue", "ls", "-p", pool, "--json"))
    assert {each["name"] for each in listed} == {"default", "fast"}
    assert "default" not in done(cli("work-queue", "ls", "-p", pool, "--match", "fa"))
    done(cli("work-queue", "pause", "fast", "-p", pool))
    assert document(cli("work-queue", "inspect", made["id"], "--json"))["is_paused"] is True
    done(cli("work-queue", "resume", "fast", "-p", pool))
    done(cli("work-queue", "clear-concurrency-limit", "fast", "-p", pool))
    done(cli("work-queue", "set-concurrency-limit", "fast", "7", "-p", pool))
    assert "0 of 7" in done(cli("work-queue", "inspect", "fast", "-p", pool))
    done(cli("deploy", "flows.py:report", "-n", pool, "-p", pool, "-q", "fast"))
    run = document(cli("deployment", "run", f"Report of all/{pool}", "--start-in", "10m", "--json"))
    for noun in (["work-pool", "preview", pool], ["work-queue", "preview", "fast", "-p", pool]):
        assert [each["id"] for each in document(cli(*noun, "--json"))] == [run["id"]]
    assert "Nothing" in done(cli("work-queue", "preview", "default", "-p", pool))
    assert "Nothing" in done(cli("work-pool", "preview", pool, "--hours", "0.1"))
    done(cli("work-queue", "delete", "fast", "-p", pool))
    assert cli("work-queue", "inspect", "fast", "-p", pool)[0] == 1


def test_a_default_pool_of_the_profile(cli: Run, place: Path, tmp_path: Path, read: Read) -> None:
    from riverrun.base import config

    pool = f"default-{tmp_path.name}"
    done(cli("work-pool", "create", pool, "--set-as-default"))
    config.reload()
    done(cli("deploy", "flows.py:report", "-n", pool))
    assert read(f"Report of all/{pool}")["work_pool_name"] == pool
