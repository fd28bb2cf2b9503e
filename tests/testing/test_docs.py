"""The examples of docs/testing.md and docs/timeouts.md are run as they stand."""

import os
import re
import subprocess
import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parents[2] / "docs"


def examples(name):
    return re.findall(r"^```python\n(.*?)^```", (DOCS / name).read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def test_the_examples_of_the_testing_page_pass(tmp_path):
    blocks = examples("testing.md")
    assert len(blocks) == 5
    (tmp_path / "test_examples.py").write_text("\n".join(blocks), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", "test_examples.py"],
        cwd=tmp_path,
        env={**os.environ, "RIVERRUN_HOME": str(tmp_path / "home")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "6 passed" in done.stdout
    assert not (tmp_path / "home").exists()


def test_the_example_of_the_timeouts_page_runs():
    (block,) = examples("timeouts.md")
    exec(compile(block, "timeouts.md", "exec"), {})
