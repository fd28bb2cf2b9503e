"""The profiles file: what is read, that editing keeps what people wrote, and who may read it."""

import multiprocessing
import stat

import pytest

from riverrun.base import profiles
from riverrun.base.errors import ConfigurationError, InputError, MissingProfileError, ProfileSettingsValidationError
from riverrun.base.profiles import Profile, ProfilesCollection, edit_profiles, read_profiles, set_key, write_profiles

TEXT = """\
# my profiles
active = "work"  # the usual one

[profiles.work]
# the server upstairs
RIVERRUN_API_URL = "http://up:4200/api"  # port as always
RIVERRUN_OLD = "kept"

[profiles.home.logging]
level = "debug"
"""


def test_no_file_means_the_default_profile(place):
    found = read_profiles(place / "none.toml")
    assert found.names == {"default"}
    assert profiles.active_settings(found) == Profile("default")


def test_read(write):
    found = read_profiles(write("p.toml", TEXT))
    assert list(found.profiles_by_name) == ["default", "work", "home"]
    assert found.active_profile.name == "work"
    work = found["work"]
    assert work.to_environment_variables() == {"RIVERRUN_API_URL": "http://up:4200/api"}
    assert work.unknown == {"RIVERRUN_OLD": "kept"}
    assert found["home"].to_environment_variables() == {"RIVERRUN_LOGGING_LEVEL": "debug"}


def test_comments_and_order_survive(write):
    path = write("p.toml", TEXT)
    found = read_profiles(path)
    found.remove_profile("default")
    found.update_profile("work", {"PREFECT_API_URL": "http://down/api", "logging.level": "ERROR"})
    found.update_profile("home", {"logging_level": "INFO"})
    write_profiles(found, path)
    text = path.read_text()
    for comment in ("# my profiles", "# the usual one", "# the server upstairs", "# port as always"):
        assert comment in text
    assert 'RIVERRUN_OLD = "kept"' in text
    assert 'RIVERRUN_API_URL = "http://down/api"  # port' in text
    again = read_profiles(path)
    assert again["work"].to_environment_variables()["RIVERRUN_LOGGING_LEVEL"] == "ERROR"
    assert 'level = "INFO"' in text.split("[profiles.home.logging]")[1]


def test_writing_what_was_read_changes_nothing(write):
    path = write("p.toml", TEXT + "\n[profiles.default]\n")
    write_profiles(read_profiles(path), path)
    assert path.read_text() == TEXT + "\n[profiles.default]\n"


def test_removing_profiles_and_settings(write):
    path = write("p.toml", TEXT)
    found = read_profiles(path)
    found.update_profile("work", {"api_url": None})
    found.remove_profile("home")
    write_profiles(found, path)
    again = read_profiles(path)
    assert "home" not in again
    assert again["work"].settings == {}


def test_the_file_is_for_its_owner_only(place):
    path = place / "deep" / "profiles.toml"
    write_profiles(ProfilesCollection([Profile("a", {"api_key": "k"})], active="a"), path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert list(path.parent.iterdir()) == [path], "no temporary file is left"


def test_a_failing_edit_leaves_the_file_alone(write):
    path = write("p.toml", TEXT)
    with pytest.raises(KeyError), edit_profiles(path) as document:
        document["active"] = "nobody"
        raise KeyError
    assert path.read_text() == TEXT
    assert list(path.parent.glob(".p.toml*")) == []


def test_broken_toml_is_not_overwritten(write):
    path = write("p.toml", "active = \n")
    with pytest.raises(ConfigurationError, match="p.toml"):
        read_profiles(path)
    with pytest.raises(ConfigurationError, match="p.toml"), edit_profiles(path):
        pytest.fail("must not get here")
    assert path.read_text() == "active = \n"


def _set_one(path, number):
    with edit_profiles(path) as document:
        set_key(document["profiles"].setdefault("p", {}), f"KEY_{number}", number)


def test_editors_wait_for_each_other(place):
    path = place / "profiles.toml"
    context = multiprocessing.get_context("fork")
    editors = [context.Process(target=_set_one, args=(path, number)) for number in range(8)]
    for editor in editors:
        editor.start()
    for editor in editors:
        editor.join()
        assert editor.exitcode == 0
    assert len(read_profiles(path)["p"].unknown) == 8


def test_collection():
    found = ProfilesCollection([Profile("a"), Profile("b", {"api_url": "u"})], active="a")
    with pytest.raises(InputError, match="'b' already"):
        found.add_profile(Profile("b"))
    with pytest.raises(MissingProfileError, match=r"'c'.*a, b"):
        found.set_active("c")
    with pytest.raises(ValueError):  # the peer's users catch that
        found["c"]
    found.set_active("c", check=False)
    assert found.active_name == "c"
    assert len(found) == 2
    assert found == ProfilesCollection(list(found), active="c")


def test_a_profile_checks_its_values():
    profile = Profile("p", {"api_url": "fine", "logging_level": "LOUD"})
    with pytest.raises(ProfileSettingsValidationError) as caught:
        profile.validate_settings()
    assert [setting.field for setting, _error in caught.value.errors] == ["logging_level"]


def test_secrets_are_not_in_the_repr():
    assert "hunter2" not in repr(Profile("p", {"api_key": "hunter2"}))
