"""Steps and their templates."""

import os
import sys
from pathlib import Path

import httpx
import pytest

from riverrun.base.errors import InputError
from riverrun.blocks.system import Secret
from riverrun.deployments.steps import (
    StepExecutionError,
    pip_install_requirements,
    run_pull_steps,
    run_shell_script,
    run_step,
    run_steps,
)
from riverrun.deployments.templates import environment, fill_in, kept_by_server, outputs_of
from riverrun.variables import Variable

SHELL = "riverrun.deployments.steps.run_shell_script"


def test_templates_keep_types_and_leave_what_they_do_not_know(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STAGE", "prod")
    monkeypatch.delenv("NOBODY", raising=False)
    known = outputs_of({"image": "a:1", "build": {"n": [3, {"x": 4}], "ok": True}})
    value = {
        "whole": "{{ build.n }}",
        "deep": ["{{ build.n[1].x }}", "x-{{build.n[0]}}-{{ build.ok }}"],
        "{{ image }}": "{{ $STAGE }}/{{ $NOBODY }}",
        "none": "{{ nothing }} {{ build.no }} {{ build.n[9] }}",
        "number": 5,
    }
    assert fill_in(value, known, environment) == {
        "whole": [3, {"x": 4}],
        "deep": [4, "x-3-true"],
        "a:1": "prod/",
        "none": "{{ nothing }} {{ build.no }} {{ build.n[9] }}",
        "number": 5,
    }


def test_variables_and_blocks_are_the_servers(server: httpx.Client) -> None:
    Variable.set("step_bucket", {"name": "b", "n": 2}, overwrite=True)
    Secret(value="s3").save("step-token", overwrite=True)
    Secret(value={"user": "u"}).save("step-pair", overwrite=True)
    value = [
        "{{ prefect.variables.step_bucket }}",
        "{{ riverrun.variables.step_bucket.name }}!",
        "{{ prefect.blocks.secret.step-token }}",
        "{{ riverrun.blocks.secret.step-pair.user }}",
    ]
    assert fill_in(value, kept_by_server) == [{"name": "b", "n": 2}, "b!", "s3", "u"]
    for template, message in (
        ("{{ prefect.variables.nobody }}", "no variable 'nobody'"),
        ("{{ prefect.blocks.secret.nobody }}", "no block 'nobody'"),
        ("{{ prefect.blocks.secret.step-pair.pass }}", "no 'pass'"),
    ):
        with pytest.raises(InputError, match=message):
            fill_in(template, kept_by_server)


def test_steps_hand_on_what_they_answer(capfd: pytest.CaptureFixture[str]) -> None:
    program = f"{sys.executable} -c \"print('one two')\""
    outputs = run_steps(
        [
            {"prefect.deployments.steps.run_shell_script": {"id": "first", "script": f"# nothing\n\n{program}"}},
            {
                "prefect.deployments.steps.utility.run_shell_script": {
                    "script": f"{sys.executable} -c \"import os; print(os.environ['X'], '$HOME')\"",
                    "env": {"X": "{{ first.stdout }}"},
                    "stream_output": False,
                }
            },
        ]
    )
    assert outputs["first"]["stdout"] == "one two"
    assert outputs["stdout"] == "one two $HOME"
    assert capfd.readouterr().out == "one two\n"
    assert run_shell_script("echo $STEP_X", env={}, expand_env_vars=True)["stdout"] == os.path.expandvars("$STEP_X")


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ({SHELL: {"script": "false"}}, "run_shell_script' failed.*exit code 1"),
        ({SHELL: {"script": "no-such-program-here"}}, "could not be started"),
        ({SHELL: {"nobody": 1}}, "TypeError.*nobody"),
        ({"prefect.deployments.steps.nobody": {}}, "no step of this name"),
        ({"no_such_package.step": {}}, "requires"),
        ({"riverrun.deployments.steps.set_working_directory": {"directory": "/no/such"}}, "no directory '/no/such'"),
        ({"riverrun.deployments.steps.git_clone": {"repository": "ext::sh"}}, "git repository"),
        ({"riverrun.deployments.steps.pip_install_requirements": {"directory": "/"}}, "no file '/requirements.txt'"),
    ],
)
def test_a_step_that_fails_is_named_with_the_reason(step: dict[str, object], message: str) -> None:
    with pytest.raises(StepExecutionError, match=message):
        run_step(step)


@pytest.mark.parametrize("step", [{}, {"a.b": {}, "c.d": {}}, {"a.b": 5}])
def test_what_is_no_step(step: dict[str, object]) -> None:
    with pytest.raises(InputError):
        run_step(step)


def test_steps_of_users_may_be_of_either_colour(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine_steps.py").write_text(
        "async def slow(x):\n    return {'directory': x}\ndef quick(**kw):\n    return None\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "code").mkdir()
    place = run_pull_steps([{"mine_steps.quick": {}}, {"mine_steps.slow": {"x": "code"}}])
    assert place == tmp_path / "code"
    assert Path.cwd() == place


def test_pip_is_asked_with_the_file(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("# nothing\n")
    assert "stdout" in pip_install_requirements(str(tmp_path), stream_output=False)
