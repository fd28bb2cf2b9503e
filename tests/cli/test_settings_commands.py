"""config and profile: what they show, what they write, what they refuse."""

import stat

import pytest


@pytest.fixture
def profiles(place):
    """The profiles file of the test's home."""
    return place.parent / "home" / "profiles.toml"


def test_view_shows_what_is_set_and_where_it_comes_from(cli, place, monkeypatch):
    monkeypatch.setenv("RIVERRUN_API_KEY", "hunter2")
    (place / ".env").write_text("RIVERRUN_API_URL=http://me:hunter3@host/api\n")
    cli("config", "set", "RIVERRUN_LOGGING_LEVEL=debug")
    result = cli("config", "view")
    assert result.rows == [
        "RIVERRUN_PROFILE='default'",
        f"RIVERRUN_HOME='{place.parent / 'home'}' (from the environment)",
        "RIVERRUN_API_URL='http://me:********@host/api' (from .env)",
        "RIVERRUN_API_KEY='********' (from the environment)",
        "RIVERRUN_LOGGING_LEVEL='DEBUG' (from profile 'default')",
    ]
    assert (result.code, result.err) == (0, "")
    assert cli("config", "view", "--hide-sources").rows[-1] == "RIVERRUN_LOGGING_LEVEL='DEBUG'"
    secrets = cli("config", "view", "--show-secrets").out
    assert "hunter2" in secrets
    assert "hunter3" in secrets
    everything = cli("config", "view", "--show-defaults").rows
    assert len(everything) > 35
    assert "RIVERRUN_API_REQUEST_TIMEOUT='60.0' (default)" in everything


def test_view_as_json(cli, monkeypatch):
    monkeypatch.setenv("RIVERRUN_API_KEY", "hunter2")
    monkeypatch.setenv("RIVERRUN_LOGGING_LEVEL", "LOUD")
    document = cli("config", "view", "--json").document
    assert document["profile"] == "default"
    by_name = {entry["name"]: entry for entry in document["settings"]}
    assert by_name["RIVERRUN_API_KEY"] == {"name": "RIVERRUN_API_KEY", "value": "********", "source": "the environment"}
    assert by_name["RIVERRUN_LOGGING_LEVEL"]["value"] == "LOUD"
    assert "CRITICAL" in by_name["RIVERRUN_LOGGING_LEVEL"]["problem"]


def test_set_and_unset(cli, profiles):
    result = cli(
        "config", "set", "logging.level=DEBUG", "PREFECT_API_KEY=hunter2", "RIVERRUN_LOGGING_EXTRA_LOGGERS=a,b"
    )
    assert (result.code, result.out) == (0, "")
    assert "hunter2" not in result.err
    assert stat.S_IMODE(profiles.stat().st_mode) == 0o600
    assert 'RIVERRUN_API_KEY = "hunter2"' in profiles.read_text()
    cli("config", "set", "RIVERRUN_LOGGING_LEVEL=ERROR")
    assert profiles.read_text().count("LOGGING_LEVEL") == 1
    result = cli("config", "unset", "RIVERRUN_API_KEY", "logging_level")
    assert result.code == 0
    assert "hunter2" not in profiles.read_text()
    assert "LEVEL" not in profiles.read_text()
    result = cli("config", "unset", "RIVERRUN_API_KEY")
    assert result.code == 2
    assert "not set in profile 'default'" in result.err


def test_set_is_all_or_nothing(cli, profiles):
    assert cli("config", "set", "RIVERRUN_LOGGING_LEVEL=DEBUG", "RIVERRUN_TASKS_DEFAULT_RETRIES=many").code == 2
    assert not profiles.exists()


@pytest.mark.parametrize(
    ("assignment", "says"),
    [
        ("RIVERRUN_LOGING_LEVEL=DEBUG", "Did you mean RIVERRUN_LOGGING_LEVEL"),
        ("RIVERRUN_LOGGING_LEVEL=LOUD", "expected one of DEBUG"),
        ("RIVERRUN_LOGGING_LEVEL", "NAME=VALUE"),
        ("RIVERRUN_LOGGING_LEVEL=", "config unset RIVERRUN_LOGGING_LEVEL"),
        ("RIVERRUN_HOME=/x", "environment"),
        ("RIVERRUN_PROFILE=x", "profile use"),
    ],
)
def test_set_refuses(cli, profiles, assignment, says):
    result = cli("config", "set", assignment)
    assert (result.code, result.out) == (2, "")
    assert says in result.err
    assert not profiles.exists()


def test_unset_removes_what_is_no_setting(cli, profiles):
    profiles.parent.mkdir()
    profiles.write_text('[profiles.default]\nRIVERRUN_OLD = "1"\n')
    assert cli("config", "unset", "RIVERRUN_OLD").code == 0
    assert "OLD" not in profiles.read_text()
    result = cli("config", "unset", "RIVERRUN_NEVER")
    assert result.code == 2
    assert "no setting" in result.err


def test_set_says_when_another_source_wins(cli, monkeypatch):
    monkeypatch.setenv("RIVERRUN_LOGGING_LEVEL", "ERROR")
    assert "also set in the environment, which wins" in cli("config", "set", "RIVERRUN_LOGGING_LEVEL=DEBUG").err


def test_validate(cli, place, monkeypatch):
    result = cli("config", "validate")
    assert (result.code, result.out) == (0, "")
    monkeypatch.setenv("RIVERRUN_LOGING_LEVEL", "DEBUG")
    result = cli("config", "validate")
    assert result.code == 0, "an unknown name is no error"
    assert "RIVERRUN_LOGING_LEVEL in the environment" in result.err
    assert "Did you mean RIVERRUN_LOGGING_LEVEL" in result.err
    monkeypatch.setenv("RIVERRUN_API_REQUEST_TIMEOUT", "soon")
    (place / "riverrun.toml").write_text("tasks_default_retries = -1\n")
    document = cli("config", "validate", "--json")
    assert document.code == 1
    assert not document.document["valid"]
    assert len(document.document["problems"]) == 2
    assert len(document.document["warnings"]) == 1


@pytest.mark.parametrize("text", ["active = \n", 'active = "gone"\n'])
def test_validate_reports_a_broken_profiles_file(cli, profiles, text):
    profiles.parent.mkdir()
    profiles.write_text(text)
    result = cli("config", "validate")
    assert result.code == 1
    assert "profiles.toml" in result.err or "gone" in result.err


def test_commands_work_though_a_setting_is_wrong(cli, monkeypatch):
    monkeypatch.setenv("RIVERRUN_TASKS_DEFAULT_RETRIES", "many")
    assert "not valid" in cli("config", "view").out
    assert cli("config", "set", "RIVERRUN_LOGGING_LEVEL=DEBUG").code == 0
    assert cli("profile", "ls").code == 0
    result = cli("flow-run", "ls")
    assert result.code == 2
    assert "RIVERRUN_TASKS_DEFAULT_RETRIES='many'" in result.err
    assert "Traceback" not in result.err


def test_profiles_are_made_used_renamed_and_deleted(cli, profiles):
    assert cli("profile", "ls").rows == ["* default"]
    cli("config", "set", "RIVERRUN_LOGGING_LEVEL=DEBUG")
    assert cli("profile", "create", "work", "--from", "default").code == 0
    assert cli("profile", "inspect", "work").rows == ["RIVERRUN_LOGGING_LEVEL='DEBUG'"]
    assert cli("profile", "use", "work").code == 0
    assert cli("profile", "ls", "--json").document == [
        {"name": "default", "active": False},
        {"name": "work", "active": True},
    ]
    assert cli("-p", "default", "config", "view", "--json").document["profile"] == "default"
    assert cli("config", "view", "--json").document["profile"] == "work", "-p holds for one command"
    result = cli("profile", "delete", "work")
    assert result.code == 2
    assert "active" in result.err
    text = profiles.read_text().replace("[profiles.work]", "[profiles.work]\n# mine")
    profiles.write_text(text)
    assert cli("profile", "rename", "work", "job").code == 0
    assert "# mine" in profiles.read_text()
    assert cli("profile", "ls").rows[-1] == "* job"
    cli("profile", "use", "default")
    assert cli("profile", "delete", "job").code == 0
    assert cli("profile", "ls").rows == ["* default"]


def test_the_settings_of_a_profile_given_with_p_hold(cli, filled):
    result = cli("-p", "nowhere", "flow-run", "ls", home=filled)
    assert result.code == 1
    assert "no profile 'nowhere'" in result.err


@pytest.mark.parametrize(
    ("command", "code", "says"),
    [
        (("use", "none"), 1, "Known profiles: default"),
        (("create", "default"), 2, "already"),
        (("create", "x", "--from", "none"), 1, "'none'"),
        (("create", " "), 2, "visible"),
        (("create", "a\nb"), 2, "visible"),
        (("inspect", "none"), 1, "'none'"),
        (("rename", "none", "x"), 1, "'none'"),
        (("rename", "default", "default"), 2, "already"),
        (("delete", "none"), 1, "'none'"),
        (("delete", "default"), 2, "active"),
    ],
)
def test_profile_refuses(cli, profiles, command, code, says):
    result = cli("profile", *command)
    assert (result.code, result.out) == (code, "")
    assert says in result.err
    assert not profiles.exists()


def test_inspect_masks_secrets(cli):
    cli("config", "set", "RIVERRUN_API_KEY=hunter2")
    assert "hunter2" not in cli("profile", "inspect").out
    assert cli("profile", "inspect", "--show-secrets", "--json").document == {
        "name": "default",
        "settings": {"RIVERRUN_API_KEY": "hunter2"},
    }


def test_use_says_when_the_environment_wins(cli, monkeypatch):
    cli("profile", "create", "work")
    monkeypatch.setenv("RIVERRUN_PROFILE", "default")
    assert "RIVERRUN_PROFILE=default" in cli("profile", "use", "work").err


def test_version(cli, place):
    from riverrun import __version__

    document = cli("version", "--json").document
    assert document["version"] == __version__
    assert document["home"] == str(place.parent / "home")
    assert document["profile"] == "default"
    assert document["database"] == f"sqlite:///{place.parent / 'home' / 'riverrun.db'}"
    assert __version__ in cli("version").rows[0]
    assert cli("--version").out == cli("-p", "x", "--version").out == f"{__version__}\n"
