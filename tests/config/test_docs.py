"""The pages of settings and commands say what the code says."""

import importlib.util
from pathlib import Path

import pytest

from riverrun.base.config import TABLE

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def reference():
    spec = importlib.util.spec_from_file_location("reference", ROOT / "scripts" / "reference.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", ["settings.md", "cli.md"])
def test_the_page_is_up_to_date(reference, page):
    assert (ROOT / "docs" / page).read_text() == reference.rendered(page), "run: python scripts/reference.py"


def test_every_setting_is_in_a_table(reference):
    text = reference.settings_reference()
    assert all(f"| `{setting.name}` |" in text for setting in TABLE.values())


def test_every_command_is_there(reference):
    text = reference.cli_reference()
    for command in (
        "run ",
        "flow-run ls",
        "flow-run delete",
        "task-run logs",
        "flow ls",
        "config validate",
        "profile use",
        "version",
    ):
        assert f"### riverrun {command}" in text
