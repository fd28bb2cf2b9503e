"""A home, a working directory and an environment of its own for every test of settings."""

import os

import pytest

from riverrun.base import config


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """The working directory; the home is `home` in it."""
    for name in [name for name in os.environ if name.startswith("RIVERRUN_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("RIVERRUN_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    config.reload()
    yield tmp_path
    monkeypatch.undo()
    config.reload()


@pytest.fixture
def write(place):
    """Write a file below the working directory, as whoever edits settings does, and read them again."""

    def write(name, text):
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    return write
