"""The key of the store's secrets."""

import base64
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from riverrun.base.errors import ConfigurationError
from riverrun.server.db import schema
from riverrun.server.db.engine import Database, open_database
from riverrun.server.vault import FILE, Vault, open_vault


def key() -> bytes:
    return os.urandom(32)


def text(*keys: bytes) -> str:
    return ",".join(base64.b64encode(one).decode() for one in keys)


@pytest.fixture
def database(fresh_store_url: str) -> Iterator[Database]:
    with open_database(fresh_store_url) as opened:
        schema.upgrade(opened)
        yield opened


def test_what_is_sealed_is_opened_in_its_place_only() -> None:
    vault, row = Vault([key()]), uuid4()
    sealed = vault.seal_json({"password": "hunter2"}, 1, "block_document", row, "data")
    assert b"hunter2" not in sealed
    assert sealed != vault.seal_json({"password": "hunter2"}, 1, "block_document", row, "data")
    assert vault.open_json(sealed, 1, "block_document", row, "data") == {"password": "hunter2"}
    for place in (
        (2, "block_document", row, "data"),
        (1, "variable", row, "data"),
        (1, "block_document", uuid4(), "data"),
    ):
        with pytest.raises(ConfigurationError, match="not sealed for this place"):
            vault.open_json(sealed, *place)
    damaged = sealed[:-1] + bytes([sealed[-1] ^ 1])
    with pytest.raises(ConfigurationError, match="damaged"):
        vault.open_json(damaged, 1, "block_document", row, "data")


def test_an_exchanged_key_still_opens(tmp_path: Path) -> None:
    old, new = key(), key()
    sealed = Vault([old]).seal(b"x", "here")
    both = Vault([new, old])
    assert both.open(sealed, "here") == b"x"
    assert Vault([new]).open(both.seal(b"y", "here"), "here") == b"y"
    with pytest.raises(ConfigurationError, match="does not have"):
        Vault([new]).open(sealed, "here")


def test_the_first_start_makes_a_key_that_only_its_owner_reads(database: Database, tmp_path: Path) -> None:
    home = tmp_path / "new home"
    sealed = open_vault(database, home, None).seal(b"x", "here")
    assert stat.S_IMODE((home / FILE).stat().st_mode) == 0o600
    assert [path.name for path in home.iterdir()] == [FILE]
    assert open_vault(database, home, None).open(sealed, "here") == b"x"


def test_a_store_with_secrets_is_not_opened_without_their_key(database: Database, tmp_path: Path) -> None:
    right = key()
    open_vault(database, tmp_path, text(right))
    with pytest.raises(ConfigurationError, match="there is no key"):
        open_vault(database, tmp_path, None)
    assert not (tmp_path / FILE).exists()
    with pytest.raises(ConfigurationError, match="give the right key"):
        open_vault(database, tmp_path, text(key()))
    open_vault(database, tmp_path, text(key(), right))


@pytest.mark.parametrize("given", ["short", base64.b64encode(b"16 bytes only...").decode(), "?" * 44])
def test_a_key_of_another_form_is_refused(database: Database, tmp_path: Path, given: str) -> None:
    with pytest.raises(ConfigurationError, match="32 bytes in base64"):
        open_vault(database, tmp_path, given)
    (tmp_path / FILE).write_text(given)
    with pytest.raises(ConfigurationError, match="32 bytes in base64"):
        open_vault(database, tmp_path, None)
