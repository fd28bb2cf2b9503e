"""Where values come from, which source wins, and when changes are noticed."""

import contextvars
import pickle
import threading

import pytest

from riverrun.base import config
from riverrun.base.config import settings, temporary_settings
from riverrun.base.errors import ConfigurationError, MissingProfileError
from riverrun.base.sources import given_values, unknown_keys


def test_defaults_follow_home(place):
    current = settings()
    assert current.home == place / "home"
    assert current.journal_dir == place / "home" / "journal"
    assert current.results_local_storage_path == place / "home" / "storage"
    assert current.profiles_path == place / "home" / "profiles.toml"
    assert current.api_url is None
    assert current.tasks_runner_thread_pool_max_workers == 1000
    assert current.journal_segment_bytes == 2 * 1024 * 1024
    assert not (place / "home").exists(), "reading settings makes nothing"


def test_every_source_and_the_order_they_win_in(place, write, monkeypatch):
    name = "RIVERRUN_API_URL"

    def holds(value, source):
        current = config.reload()
        assert (current.api_url, current.source("api_url")) == (value, source)

    holds(None, "default")
    write("home/profiles.toml", f'active = "mine"\n[profiles.mine]\n{name} = "profile"\n')
    holds("profile", "profile 'mine'")
    write("pyproject.toml", '[project]\nname = "x"\n[tool.riverrun]\napi.url = "pyproject"\n')
    holds("pyproject", "pyproject.toml [tool.riverrun]")
    write("riverrun.toml", 'api_url = "own"\n')
    holds("own", "riverrun.toml")
    write(".env", f"OTHER=1\nexport {name}='dotenv' # why\n")
    holds("dotenv", ".env")
    monkeypatch.setenv(name, "environment")
    holds("environment", "the environment")
    with temporary_settings({name: "temporary"}) as inside:
        assert settings() is inside
        assert (inside.api_url, inside.source("api_url")) == ("temporary", "temporary settings")
    holds("environment", "the environment")


def test_profile_variable_chooses_the_profile(write, monkeypatch):
    write(
        "home/profiles.toml", '[profiles.a]\nRIVERRUN_LOGGING_LEVEL = "ERROR"\n[profiles.b.logging]\nlevel = "debug"\n'
    )
    assert config.reload().logging_level == "INFO"
    monkeypatch.setenv("RIVERRUN_PROFILE", "a")
    assert settings().logging_level == "ERROR"
    monkeypatch.setenv("RIVERRUN_PROFILE", "b")
    assert settings().logging_level == "DEBUG"
    monkeypatch.setenv("RIVERRUN_PROFILE", "c")
    with pytest.raises(MissingProfileError, match=r"'c'.*RIVERRUN_PROFILE.*a, b"):
        settings()


def test_an_environment_variable_that_changes_is_noticed(monkeypatch):
    assert settings().logging_level == "INFO"
    monkeypatch.setenv("RIVERRUN_LOGGING_LEVEL", "ERROR")
    assert settings().logging_level == "ERROR"
    monkeypatch.setenv("RIVERRUN_LOGGING_LEVEL", "DEBUG")
    assert settings().logging_level == "DEBUG"
    monkeypatch.delenv("RIVERRUN_LOGGING_LEVEL")
    assert settings().logging_level == "INFO"


def test_other_variables_do_not_make_it_read_again(monkeypatch):
    before = settings()
    monkeypatch.setenv("PATH", "/elsewhere")
    assert settings() is before


def test_an_empty_variable_counts_as_unset(monkeypatch):
    monkeypatch.setenv("RIVERRUN_TASKS_DEFAULT_RETRIES", "")
    assert settings().tasks_default_retries == 0


def test_a_wrong_value_names_the_file(write):
    write("riverrun.toml", "[tasks]\ndefault_retries = 'many'\n")
    with pytest.raises(ConfigurationError, match=r"tasks.default_retries='many'.*RIVERRUN_TASKS_.*riverrun.toml"):
        config.reload()


def test_broken_toml_names_the_file_and_the_line(write):
    write("riverrun.toml", "a = 1\nb = \n")
    with pytest.raises(ConfigurationError, match=r"riverrun.toml is not valid TOML.*line 2"):
        config.reload()


def test_dotenv_forms(write):
    write(
        ".env",
        '# comment\nRIVERRUN_API_URL=http://h/#part # not part\n  export RIVERRUN_API_KEY="a # b"\n'
        "RIVERRUN_LOGGING_LEVEL\nRIVERRUN_TASKS_DEFAULT_RETRIES=\nPREFECT_LOGGING_LEVEL=ERROR\n",
    )
    current = config.reload()
    assert current.api_url == "http://h/#part"
    assert current.api_key == "a # b"
    assert current.logging_level == "INFO"


def test_unreadable_files_do_no_harm(place):
    (place / ".env").mkdir()
    (place / "riverrun.toml").mkdir()
    (place / "pyproject.toml").write_bytes(b"\xff\xfe not utf-8 and not ours")
    assert config.reload().api_url is None


def test_aliases_and_names_of_the_peer(monkeypatch):
    monkeypatch.setenv("RIVERRUN_TASK_DEFAULT_RETRIES", "3")
    assert settings().tasks_default_retries == 3
    for key in (
        "PREFECT_API_URL",
        "api.url",
        "API_URL",
        "RIVERRUN_API_URL",
        "riverrun_api_url",
        config.TABLE["api_url"],
    ):
        assert config.find(key) is config.TABLE["api_url"]
    assert config.find("PREFECT_SERVER_DATABASE_CONNECTION_URL").field == "api_database_connection_url"


def test_a_name_that_is_none_suggests_the_nearest():
    with pytest.raises(ConfigurationError, match="RIVERRUN_LOGGING_LEVEL"):
        config.find("RIVERRUN_LOGING_LEVEL")


def test_unknown_keys_of_every_source(write, monkeypatch):
    write("home/profiles.toml", 'active = "p"\n[profiles.p]\nRIVERRUN_OLD = "1"\n')
    write("riverrun.toml", "[flows]\ncolour = 'red'\n")
    write(".env", "RIVERRUN_DOT=1\n")
    monkeypatch.setenv("RIVERRUN_ENV", "1")
    assert sorted(unknown_keys()) == [
        ("RIVERRUN_DOT", ".env"),
        ("RIVERRUN_ENV", "the environment"),
        ("RIVERRUN_OLD", "profile 'p'"),
        ("flows.colour", "riverrun.toml"),
    ]
    assert set(given_values()) == {"home"}


def test_groups_and_flat_fields_are_the_same():
    current = settings()
    assert current.results.persist_by_default is current.results_persist_by_default
    assert current.logging.to_api.enabled is True
    assert current.tasks.runner.thread_pool_max_workers == 1000
    assert current.server.database.connection_url is None
    assert current.testing.test_mode is False
    with pytest.raises(AttributeError, match="RIVERRUN_TASKS_DEFAULT_RETRIES"):
        current.task_defalt_retries
    with pytest.raises(AttributeError):
        current.logging.nothing


def test_settings_are_frozen_and_comparable():
    current = settings()
    with pytest.raises(AttributeError, match="temporary_settings"):
        current.api_url = "x"
    assert config.Settings(current._given) == current
    assert hash(config.Settings(current._given)) == hash(current)
    assert pickle.loads(pickle.dumps(current)) == current


def test_temporary_settings_nest_and_follow_home(place):
    with temporary_settings({"home": place / "other", "logging_level": "error"}):
        assert settings().journal_dir == place / "other" / "journal"
        with temporary_settings(restore_defaults=["logging_level"], set_defaults={"home": "/no", "api_url": "u"}):
            assert settings().logging_level == "INFO"
            assert settings().home == place / "other"
            assert settings().api_url == "u"
        assert settings().logging_level == "ERROR"
    assert settings().journal_dir == place / "home" / "journal"


def test_temporary_settings_are_checked():
    with pytest.raises(ConfigurationError, match="temporary settings"), temporary_settings({"logging_level": "LOUD"}):
        pytest.fail("must not get here")
    with pytest.raises(ConfigurationError, match="no setting"), temporary_settings({"nonsense": 1}):
        pytest.fail("must not get here")
    assert settings().logging_level == "INFO"


def test_temporary_settings_hold_in_their_context_only():
    seen = []
    with temporary_settings({"api_url": "inside"}):
        thread = threading.Thread(target=lambda: seen.append(settings().api_url))
        thread.start()
        thread.join()
        copied = contextvars.copy_context()
        thread = threading.Thread(target=copied.run, args=(lambda: seen.append(settings().api_url),))
        thread.start()
        thread.join()
    assert seen == [None, "inside"]


def test_temporary_settings_end_when_the_block_raises():
    with pytest.raises(KeyError), temporary_settings({"api_url": "inside"}):
        raise KeyError
    assert settings().api_url is None


def test_secrets_are_not_in_the_repr():
    with temporary_settings({"api_key": "hunter2", "api_database_connection_url": "postgresql://u:hunter3@h/d"}) as new:
        assert new.api_key == "hunter2"
        assert "hunter" not in repr(new)
        assert "hunter" not in repr(new.api)


def test_another_process_can_be_given_the_settings(place):
    with temporary_settings(
        {"tasks_default_retry_delay_seconds": [1, 2], "api_key": "k", "logging_colors": False}
    ) as new:
        variables = new.to_environment_variables()
        assert variables == {
            "RIVERRUN_HOME": str(place / "home"),
            "RIVERRUN_API_KEY": "k",
            "RIVERRUN_LOGGING_COLORS": "false",
            "RIVERRUN_TASKS_DEFAULT_RETRY_DELAY_SECONDS": "1.0,2.0",
        }
        assert "RIVERRUN_API_KEY" not in new.to_environment_variables(include_secrets=False)
        assert len(new.to_environment_variables(exclude_unset=False)) > 25
    assert (
        config.Settings({config.find(key).field: config.Given(value, "x", key) for key, value in variables.items()})
        == new
    )
