"""The command line as people meet it: processes, pipes, terminals, exit codes, and what a start loads."""

import os
import pty
import re
import select
import subprocess
import sys

import pytest

from riverrun import __version__
from tests.cli.conftest import environment, started

#: each test starts processes, which takes its time on a busy machine
pytestmark = pytest.mark.timeout(60)

#: modules that a start must not load; each is slow, or a noun that was not asked for
HEAVY = {
    "alembic",
    "asyncio",
    "cloudpickle",
    "concurrent.futures",
    "fsspec",
    "httpx",
    "importlib.metadata",
    "pydantic",
    "rich",
    "sqlalchemy",
    "sqlite3",
    "ssl",
    "tomlkit",
    "tomllib",
    "urllib.request",
}


def loaded(place, *args):
    """The names of the modules that a command leaves loaded."""
    code = (
        "import sys\nfrom riverrun.cli import main\n"
        f"code = main({list(args)!r})\nsys.stderr.write(' '.join(sys.modules))\nsys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(place), cwd=place, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return set(done.stderr.split())


def test_version_loads_nothing_but_the_package(place):
    modules = loaded(place, "--version")
    assert not modules & {"click", "msgspec", "typing_extensions", *HEAVY}
    assert {name for name in modules if name.startswith("riverrun")} == {"riverrun", "riverrun.cli"}


def test_help_loads_no_noun(place):
    modules = loaded(place, "--help")
    assert not modules & {"msgspec", "pathlib", "riverrun.base.config", *HEAVY}
    assert {name for name in modules if name.startswith("riverrun.cli")} == {
        "riverrun.cli",
        "riverrun.cli.groups",
        "riverrun.cli.root",
    }
    assert not {name for name in modules if name.startswith(("riverrun.engine", "riverrun.wire", "riverrun.server"))}


@pytest.mark.parametrize("noun", ["config", "profile", "flow-run", "task-run", "flow", "run"])
def test_help_of_a_noun_opens_no_store_and_loads_no_engine(place, noun):
    modules = loaded(place, noun, "--help")
    assert not modules & (HEAVY - {"tomllib"})
    assert not {name for name in modules if name.startswith(("riverrun.engine", "riverrun.server", "riverrun.flows"))}


def test_settings_commands_load_neither_store_nor_click_extras(place):
    modules = loaded(place, "config", "view")
    assert not modules & (HEAVY - {"tomllib"})


def test_version_and_exit_codes(process):
    result = process("--version")
    assert (result.code, result.out, result.err) == (0, f"{__version__}\n", "")
    result = process()
    assert result.code == 0
    assert "Commands:" in result.out
    result = process("flow-run")
    assert result.code == 0
    assert "inspect" in result.out
    result = process("flow-ru", "ls")
    assert (result.code, result.out) == (2, "")
    assert "Did you mean flow-run" in result.err
    result = process("flow-run", "lst")
    assert result.code == 2
    assert "Did you mean ls" in result.err
    result = process("xyzzy")
    assert result.code == 2
    assert "task-run" in result.err, "with nothing near, all are named"
    assert process("flow-run", "ls", "--nonsense").code == 2


def test_json_is_all_there_is_on_stdout(process, filled):
    result = process("flow-run", "ls", "--json", home=filled)
    assert len(result.document) == 3
    assert result.err == ""


def test_plain_text_into_a_pipe_even_with_a_terminal_name(process, filled):
    result = process("flow-run", "ls", home=filled, TERM="xterm-256color", COLUMNS="20")
    assert "\x1b" not in result.out
    assert all(len(row) > 60 for row in result.rows[1:]), "nothing is cut or wrapped"


def test_an_ascii_locale_does_not_matter(process, filled):
    result = process("flow-run", "ls", home=filled, LC_ALL="C", PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert result.code == 0
    assert "\\u6f22" in result.out


def test_a_pipe_that_closes_early_is_quiet(place, filled):
    with started(
        ["flow-run", "logs", "angry-crow"],
        environment(filled, PYTHONUNBUFFERED="1"),
        cwd=place,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as child:
        child.stdout.close()
        error = child.stderr.read()
        assert child.wait(60) == 0
    assert error == b""


def test_a_full_disk_is_an_error(place, filled):
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "riverrun", "flow-run", "ls"],
            env=environment(filled),
            cwd=place,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
        )
    assert done.returncode == 1
    assert "No space left" in done.stderr
    assert "Traceback" not in done.stderr


def on_a_terminal(args, env, cwd):
    """What a command prints to a terminal of 120 columns, and its exit code."""
    main, side = pty.openpty()
    try:
        with started(
            args, {**env, "TERM": "xterm-256color", "COLUMNS": "120"}, cwd=cwd, stdin=side, stdout=side, stderr=side
        ) as child:
            os.close(side)
            side = -1
            output = b""
            while True:
                ready, _, _ = select.select([main], [], [], 60)
                assert ready, "the command prints nothing and does not end"
                try:
                    chunk = os.read(main, 65536)
                except OSError:  # Linux: the other side is closed
                    break
                if not chunk:
                    break
                output += chunk
            return output.decode(), child.wait(60)
    finally:
        os.close(main)
        if side != -1:
            os.close(side)


def test_colours_on_a_terminal(place, filled):
    text, code = on_a_terminal(["flow-run", "ls"], environment(filled), place)
    assert code == 0
    assert re.search(r"\x1b\[32mCompleted", text)
    assert re.search(r"\x1b\[31mFailed", text)
    assert " ago" in text
    assert "\x1b[31msnail" not in text, "a run's name cannot colour the terminal"


@pytest.mark.parametrize("variables", [{"NO_COLOR": "1"}, {"RIVERRUN_CLI_COLORS": "false"}])
def test_no_colours_on_a_terminal_when_not_wanted(place, filled, variables):
    text, code = on_a_terminal(["flow-run", "inspect", "calm-otter"], environment(filled, **variables), place)
    assert code == 0
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]m", text)
    assert "Completed" in text


def test_colours_can_be_forced(process, filled):
    assert "\x1b[" in process("flow-run", "inspect", "calm-otter", home=filled, FORCE_COLOR="1").out
    assert "\x1b[" in process("flow-run", "inspect", "calm-otter", home=filled, RIVERRUN_CLI_COLORS="true").out


def test_ids_are_whole_on_a_terminal(place, filled):
    text, _code = on_a_terminal(["flow-run", "ls"], environment(filled, NO_COLOR="1"), place)
    assert len(re.findall(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}", text)) == 3


def test_a_home_that_cannot_be_made_is_an_error_without_a_traceback(process, place):
    (place / "file").write_text("")
    result = process("flow-run", "ls", home=place / "file" / "home")
    assert (result.code, result.out) == (1, "")
    assert "file" in result.err
    assert "Traceback" not in result.err
    result = process("flow-run", "ls", home=place / "file" / "home", RIVERRUN_DEBUG_MODE="1")
    assert "Traceback" in result.err


def test_completion_of_a_shell(process):
    result = process(_RIVERRUN_COMPLETE="bash_complete", COMP_WORDS="riverrun flow-", COMP_CWORD="1")
    assert (result.code, result.rows) == (0, ["plain,flow-run"])
