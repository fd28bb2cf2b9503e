"""Project files and `riverrun deploy`."""

from collections.abc import Callable
from pathlib import Path
from textwrap import dedent
from typing import Any

import httpx
import pytest

from riverrun.blocks.system import Secret
from riverrun.variables import Variable

Run = Callable[..., tuple[int, str, str]]
Read = Callable[..., Any]
_STEP = "riverrun.deployments.steps.set_working_directory"


def write(place: Path, text: str, name: str = "riverrun.yaml") -> Path:
    (place / name).write_text(dedent(text))
    return place / name


def test_a_prefect_yaml_that_is_there_already(
    cli: Run, place: Path, pool: str, read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STAGE", "prod")
    Variable.set("project_cpu", 4, overwrite=True)
    Secret(value="s3cret").save("project-token", overwrite=True)
    write(
        place,
        f"""
        name: mine
        prefect-version: 3.8.8
        definitions:
          pool: &pool
            name: {pool}
            work_queue_name: default
            job_variables:
              env: {{STAGE: "{{{{ $STAGE }}}}", TOKEN: "{{{{ prefect.blocks.secret.project-token }}}}", N: "{{{{ prefect.variables.project_cpu }}}}"}}
        build:
          - prefect.deployments.steps.run_shell_script:
              id: image
              script: echo image:7
              stream_output: false
        push: null
        pull:
          - prefect.deployments.steps.git_clone:
              repository: https://host/{{{{ image.stdout }}}}.git
              branch: "{{{{ $STAGE }}}}"
              access_token: "{{{{ prefect.blocks.secret.project-token }}}}"
        deployments:
        - name: nightly
          version: "{{{{ image.stdout }}}}"
          tags: ["{{{{ $STAGE }}}}", t]
          description: null
          schedule: {{}}
          flow_name: null
          entrypoint: flows.py:etl
          parameters: {{day: "{{{{ prefect.variables.project_cpu }}}}"}}
          enforce_parameter_schema: false
          schedules:
          - cron: 0 3 * * *
            timezone: Europe/Berlin
            slug: night
          - interval: 3600
            active: false
          concurrency_limit: {{limit: 2, collision_strategy: CANCEL_NEW}}
          work_pool: *pool
        - name: weekly
          entrypoint: flows.py:report
          pull: []
          work_pool: *pool
        """,
        "prefect.yaml",
    )
    code, _, said = cli("deploy", "--all")
    assert code == 0, said
    found = read("etl/nightly")
    assert found["job_variables"] == {
        "env": {"STAGE": "prod", "TOKEN": "{{ prefect.blocks.secret.project-token }}", "N": 4}
    }
    assert found["pull_steps"] == [
        {
            "prefect.deployments.steps.git_clone": {
                "repository": "https://host/image:7.git",
                "branch": "prod",
                "access_token": "{{ prefect.blocks.secret.project-token }}",
            }
        }
    ]
    assert (found["version"], found["tags"], found["parameters"]) == ("image:7", ["prod", "t"], {"day": 4})
    assert found["description"] == "Loads a day."
    assert found["concurrency_options"]["collision_strategy"] == "CANCEL_NEW"
    assert {each["slug"]: each["active"] for each in found["schedules"]} == {"night": True, None: False}
    assert read("Report of all/weekly")["pull_steps"] == [{_STEP: {"directory": str(place)}}]


def test_ours_goes_before_and_the_command_line_over_it(cli: Run, place: Path, pool: str, read: Read) -> None:
    write(place, "deployments: 5", "prefect.yaml")
    write(
        place,
        f"""
        deployments:
        - name: one
          entrypoint: flows.py:etl
          parameters: {{day: x, full: true}}
          schedules: [{{cron: "* * * * *"}}]
          work_pool: {{name: {pool}, job_variables: {{env: {{A: "1"}}}}}}
        """,
    )
    options = ["--cron", "0 5 * * *", "--timezone", "Asia/Tokyo", "--param", "day=5x", "-t", "a", "-cl", "3"]
    code, out, said = cli("deploy", *options, "--collision-strategy", "CANCEL_NEW", "--version", "9", "--json")
    assert code == 0, said
    found = read("etl/one")
    assert f'"{found["id"]}"' in out
    assert (found["parameters"], found["tags"], found["version"]) == ({"day": "5x", "full": True}, ["a"], "9")
    assert [each["schedule"]["timezone"] for each in found["schedules"]] == ["Asia/Tokyo"]
    assert found["global_concurrency_limit"]["limit"] == 3
    assert found["job_variables"] == {"env": {"A": "1"}}


def test_without_a_file(cli: Run, place: Path, pool: str, read: Read, server: httpx.Client) -> None:
    code, _, said = cli(
        "deploy",
        "flows.py:report",
        "-n",
        "plain",
        "-p",
        pool,
        "-q",
        "fast",
        "-jv",
        'env={"B": "2"}',
        "--interval",
        "60",
    )
    assert code == 0, said
    found = read("Report of all/plain")
    assert (found["entrypoint"], found["work_queue_name"]) == ("flows.py:report", "fast")
    assert found["job_variables"] == {"env": {"B": "2"}}
    assert found["pull_steps"] == [{_STEP: {"directory": str(place)}}]


TWO = """
deployments:
- {{name: day-a, entrypoint: "flows.py:etl", work_pool: {{name: {pool}}}}}
- {{name: day-b, entrypoint: "flows.py:report", work_pool: {{name: {pool}}}}}
- {{name: night, entrypoint: "flows.py:report", work_pool: {{name: {pool}}}}}
"""


def test_names_and_patterns_choose(cli: Run, place: Path, pool: str, server: httpx.Client) -> None:
    write(place, TWO.format(pool=pool))

    def made() -> list[str]:
        body = {"work_pools": {"name": {"any_": [pool]}}}
        return sorted(each["name"] for each in server.post("/deployments/filter", json=body).json())

    assert cli("deploy")[0] == 2
    assert cli("deploy", "-n", "day-*", "-n", "nobody")[0] == 2
    assert made() == []
    assert cli("deploy", "-n", "report/*")[0] == 0
    assert made() == ["day-b", "night"]
    assert cli("deploy", "-n", "day-*")[0] == 0
    assert made() == ["day-a", "day-b", "night"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "deployments: [{name: x, entrypoint: 'flows.py:etl', work_pool: {name: POOL}, cron: '* * * * *'}]",
            "unknown key 'cron'",
        ),
        ("deployments: [{name: x, entrypoint: 'flows.py:etl', tag: [a]}]", "Did you mean 'tags'"),
        ("deployments: [{name: x, work_pool: {name: POOL}}]", "'x' in riverrun.yaml has no entrypoint"),
        ("deployments: [{name: x, entrypoint: 'nowhere.py:etl', work_pool: {name: POOL}}]", "no file 'nowhere.py'"),
        ("deployments: [{name: x, entrypoint: 'flows.py:nobody', work_pool: {name: POOL}}]", "no flow 'nobody'"),
        (
            "deployments: [{name: x, entrypoint: 'flows.py:etl', schedule: {cron: '61 * * * *'}, work_pool: {name: POOL}}]",
            "not a cron",
        ),
        (
            "deployments: [{name: x, entrypoint: 'flows.py:etl', schedule: {cron: '* * * * *', timezone: Mars}, work_pool: {name: POOL}}]",
            "'Mars' is not an IANA",
        ),
        (
            "deployments: [{name: x, entrypoint: 'flows.py:etl', parameters: {nobody: 1}, work_pool: {name: POOL}}]",
            "no parameter 'nobody'",
        ),
        ("deployments: [{name: x, entrypoint: 'flows.py:etl', work_pool: {name: nowhere}}]", "no work pool 'nowhere'"),
        ("deployments: [{name: x, entrypoint: 'flows.py:etl'}]", "which work pool"),
        (
            "deployments: [{name: x, entrypoint: 'flows.py:etl', work_pool: {name: POOL}, build: [{no.such: {}}]}]",
            "no step 'no.such'",
        ),
        ("deployments: [{name: x, entrypoint: 'broken.py:etl', work_pool: {name: POOL}}]", "ZeroDivisionError"),
        ("deployments: [{name: x, entrypoint: 'lacks.py:etl', work_pool: {name: POOL}}]", "no_such_module"),
        ("deployments: [5]", "must be a mapping"),
        ("deployments: {}\nbuild: 5", "must be a list of steps"),
        ("- 5", "must hold a mapping"),
        ("a: [", "is no YAML"),
        ("", "nothing to deploy"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(cli: Run, place: Path, pool: str, text: str, message: str) -> None:
    (place / "broken.py").write_text("from riverrun import flow\n@flow\ndef etl(): ...\n1 / 0\n")
    (place / "lacks.py").write_text("import no_such_module\nfrom riverrun import flow\n@flow\ndef etl(): ...\n")
    write(place, text.replace("POOL", pool))
    code, _, said = cli("deploy")
    assert code in (1, 2)
    assert message in said
    assert "should not have happened" not in said


def test_code_that_runs_elsewhere_may_need_what_is_not_here(cli: Run, place: Path, pool: str, read: Read) -> None:
    (place / "lacks.py").write_text(
        "import no_such_module\nfrom riverrun import flow\n@flow(name='far')\ndef etl(n: int = 1): ...\n"
    )
    write(
        place,
        f"""
        pull: [{{riverrun.deployments.steps.git_clone: {{repository: "https://host/x.git"}}}}]
        deployments: [{{name: x, entrypoint: "lacks.py:etl", work_pool: {{name: {pool}}}}}]
        """,
    )
    code, _, said = cli("deploy")
    assert code == 0, said
    assert "no_such_module" in said
    assert list(read("far/x")["parameter_openapi_schema"]["properties"]) == ["n"]
