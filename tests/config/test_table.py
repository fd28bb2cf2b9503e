"""The table of settings: what each line must have, and that text and value are each other's inverse."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from riverrun.base import config
from riverrun.base.errors import ConfigurationError
from riverrun.base.setting import Setting, mask_password

EVERY = list(config.TABLE.values())


def test_there_are_at_most_sixty():
    assert 30 <= len(EVERY) <= 60


@pytest.mark.parametrize("setting", EVERY, ids=lambda setting: setting.field)
def test_each_line_is_whole(setting):
    assert setting.name == f"RIVERRUN_{setting.field.upper()}"
    assert setting.doc.endswith((".", ").", "`."))
    assert setting.expected
    default = setting.default_for(Path("/h"))
    assert default is None or setting.read(default, "the table") == default
    assert setting.optional or default is not None
    if default is not None and default != []:
        assert setting.read(setting.write(default), "text") == default


def test_names_and_aliases_are_unique():
    fields = [field for setting in EVERY for field in setting.fields]
    assert len(fields) == len(set(fields)) == len(config.BY_FIELD)


@pytest.mark.parametrize("text", ["1", "true", "True", "YES", "on", "t", " y "])
def test_true(text):
    assert config.TABLE["debug_mode"].read(text, "x") is True


@pytest.mark.parametrize("text", ["0", "false", "False", "NO", "off", "f"])
def test_false(text):
    assert config.TABLE["debug_mode"].read(text, "x") is False


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("debug_mode", "maybe"),
        ("debug_mode", 2.5),
        ("api_request_timeout", "soon"),
        ("api_request_timeout", "-1"),
        ("api_request_timeout", "nan"),
        ("api_request_timeout", True),
        ("tasks_default_retries", "1.5"),
        ("tasks_default_retries", 1.5),
        ("tasks_default_retries", "-1"),
        ("tasks_default_retries", True),
        ("tasks_runner_thread_pool_max_workers", "0"),
        ("tasks_default_retry_delay_seconds", "1,x"),
        ("tasks_default_retry_delay_seconds", [1, -1]),
        ("logging_level", "LOUD"),
        ("logging_extra_loggers", "[1, 2]"),
        ("logging_extra_loggers", "[unclosed"),
        ("logging_extra_loggers", 3),
        ("home", 3),
        ("home", None),
        ("api_url", ["a"]),
    ],
)
def test_a_wrong_value_says_what_where_and_what_is_expected(field, value):
    setting = config.TABLE[field]
    with pytest.raises(ConfigurationError) as caught:
        setting.read(value, "the test")
    message = str(caught.value)
    assert setting.name in message
    assert repr(value) in message
    assert "the test" in message
    assert setting.expected in message


def test_a_wrong_secret_is_not_shown():
    setting = Setting(None, "A number nobody may see.", secret=True)
    setting.bind("pin", int | None)
    with pytest.raises(ConfigurationError) as caught:
        setting.read("hunter2", "the test")
    assert "hunter2" not in str(caught.value)


def test_lists():
    loggers = config.TABLE["logging_extra_loggers"]
    assert loggers.read("a, b ,,c", "x") == ["a", "b", "c"]
    assert loggers.read('["a", "b,c"]', "x") == ["a", "b,c"]
    assert loggers.read("[]", "x") == []
    delays = config.TABLE["tasks_default_retry_delay_seconds"]
    assert delays.read("1.5", "x") == 1.5
    assert delays.read("1, 2.5", "x") == [1.0, 2.5]
    assert delays.read("[1, 2]", "x") == [1.0, 2.0]


def test_levels_are_written_in_upper_case():
    assert config.TABLE["logging_level"].read("debug", "x") == "DEBUG"


def test_paths_are_absolute_and_know_the_home_directory(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    setting = config.TABLE["home"]
    assert setting.read("~/here", "x") == tmp_path / "me" / "here"
    assert setting.read("there/../where", "x") == tmp_path / "where"


@given(st.lists(st.text()))
def test_any_list_of_texts_survives_being_written(items):
    loggers = config.TABLE["logging_extra_loggers"]
    assert loggers.read(loggers.write(items), "x") == items


@given(st.floats(min_value=0, allow_nan=False))
def test_any_number_survives_being_written(number):
    setting = config.TABLE["api_request_timeout"]
    assert setting.read(setting.write(number), "x") == number


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql+psycopg://me:secret@host:5432/db", "postgresql+psycopg://me:********@host:5432/db"),
        ("sqlite:////tmp/riverrun.db", "sqlite:////tmp/riverrun.db"),
        ("http://host/api?x=1", "http://host/api?x=1"),
        ("http://me:p@ss@host/", "http://me:********@host/"),
        ("http://[broken", "http://[broken"),
    ],
)
def test_passwords_in_urls_are_masked(url, shown):
    assert mask_password(url) == shown
