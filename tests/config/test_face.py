"""`riverrun.settings`: the names that users of the peer import."""

import pytest

from riverrun import settings as face
from riverrun.base.errors import ProfileSettingsValidationError


def test_settings_are_objects_under_both_prefixes():
    from riverrun.settings import PREFECT_API_URL, RIVERRUN_API_URL

    assert PREFECT_API_URL is RIVERRUN_API_URL
    assert RIVERRUN_API_URL.name == "RIVERRUN_API_URL"
    assert RIVERRUN_API_URL.value() is None
    with face.temporary_settings(updates={PREFECT_API_URL: "http://h/api"}) as new:
        assert RIVERRUN_API_URL.value() == "http://h/api"
        assert face.RIVERRUN_API_URL.value_from(new) == "http://h/api"
        assert face.get_current_settings().api.url == "http://h/api"
    assert face.PREFECT_LOGGING_LEVEL.default() == "INFO"
    assert face.RIVERRUN_API_KEY.is_secret
    assert not face.RIVERRUN_API_URL.is_secret


def test_a_name_that_is_no_setting_cannot_be_imported():
    with pytest.raises(ImportError):
        from riverrun.settings import RIVERRUN_NONSENSE  # noqa: F401
    assert "RIVERRUN_HOME" in dir(face)


def test_home_default(place, monkeypatch):
    monkeypatch.setenv("HOME", str(place))
    assert face.RIVERRUN_HOME.default() == place / ".riverrun"


def test_profiles_are_saved_and_come_into_force(place):
    assert face.load_current_profile().name == "default"
    profiles = face.load_profiles()
    profiles.add_profile(face.Profile("work", {face.RIVERRUN_LOGGING_LEVEL: "ERROR"}))
    profiles.set_active("work")
    face.save_profiles(profiles)
    assert face.get_current_settings().logging.level == "ERROR"
    assert face.load_profile("work").settings[face.PREFECT_LOGGING_LEVEL] == "ERROR"
    assert face.load_profiles(include_defaults=False).names == {"work", "default"}
    face.update_current_profile({face.RIVERRUN_LOGGING_LEVEL: None, "RIVERRUN_API_URL": "u"})
    assert face.get_current_settings().logging.level == "INFO"
    with pytest.raises(ProfileSettingsValidationError):
        face.update_current_profile({"api_request_timeout": "never"})
    assert face.load_current_profile().to_environment_variables() == {"RIVERRUN_API_URL": "u"}


def test_without_a_file_there_are_no_profiles_but_the_defaults():
    assert face.load_profiles(include_defaults=False).names == set()
    assert face.load_profiles().names == {"default"}
