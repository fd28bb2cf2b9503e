"""What flows import often stays light; pydantic and httpx come with what needs them."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    "statement",
    [
        "from riverrun.artifacts import create_markdown_artifact",
        "from riverrun.concurrency.sync import concurrency",
        "from riverrun.events import emit_event, Event",
        "import riverrun.storages, riverrun.results",
        "from riverrun import task; task(tags=['a'])(lambda: 1)()",
    ],
)
def test_light_faces(statement, tmp_path, monkeypatch):
    monkeypatch.setenv("RIVERRUN_HOME", str(tmp_path))
    heavy = {"pydantic", "httpx", "ssl", "asyncio", "fsspec", "sqlalchemy"}
    code = f"{statement}\nimport sys\nprint(sorted({heavy!r} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
