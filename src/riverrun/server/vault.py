"""Secrets at rest: what the store must not show is sealed with AES-256-GCM, and the key is kept outside of the database.

The key comes from the setting `server_encryption_key`, else from the file `encryption.key` in `RIVERRUN_HOME`, which the first
start makes. Several keys may be given: the first seals, all of them open, which is how a key is exchanged. A sealed value is
bound to its place (workspace, table, row, field), so that it cannot be moved to where somebody may read it. The database holds a
check value; a server whose keys do not open it refuses to start.
"""

import base64
import binascii
import hashlib
import os
import secrets
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from riverrun.base.clock import now, to_micros
from riverrun.base.errors import ConfigurationError
from riverrun.base.ids import uuid7
from riverrun.server.db.engine import Database
from riverrun.server.db.tables import DEFAULT_WORKSPACE, configuration

KEY_BYTES = 32
FILE = "encryption.key"
_FORM = b"\x01"
_ID_BYTES = 4
_NONCE_BYTES = 12
_HEAD = len(_FORM) + _ID_BYTES + _NONCE_BYTES
#: under this name the database keeps the check value
_CHECK = "encryption-check"
_MINE = (configuration.c.workspace_id == DEFAULT_WORKSPACE, configuration.c.name == _CHECK)


class Vault:
    """Seals and opens values. `keys` are 32 bytes each; the first one seals."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        # imported here: it takes 9 MiB that a server without secrets could do without, and no reader of this module needs
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        self._ciphers = {_key_id(key): AESGCM(key) for key in keys}
        self._first = _key_id(keys[0])

    def seal(self, value: bytes, place: str) -> bytes:
        """The sealed form of a value, for this place only."""
        nonce = os.urandom(_NONCE_BYTES)
        head = _FORM + self._first + nonce
        return head + self._ciphers[self._first].encrypt(nonce, value, place.encode())

    def open(self, sealed: bytes, place: str) -> bytes:
        """The value of a sealed form; raises ConfigurationError when no key fits, or it was sealed for another place."""
        from cryptography.exceptions import InvalidTag

        key_id = bytes(sealed[len(_FORM) : len(_FORM) + _ID_BYTES])
        cipher = self._ciphers.get(key_id)
        if cipher is None:
            raise ConfigurationError(f"{place} is sealed with the key {key_id.hex()}, which this server does not have.")
        try:
            return cipher.decrypt(bytes(sealed[_HEAD - _NONCE_BYTES : _HEAD]), bytes(sealed[_HEAD:]), place.encode())
        except InvalidTag:
            raise ConfigurationError(f"{place} is damaged, or was not sealed for this place.") from None

    def seal_json(self, value: Any, workspace: int, table: str, row_id: UUID, field: str) -> bytes:
        """The sealed form of a JSON value in a field of a row."""
        return self.seal(msgspec.json.encode(value), _place(workspace, table, row_id, field))

    def open_json(self, sealed: bytes, workspace: int, table: str, row_id: UUID, field: str) -> Any:
        """The JSON value of a sealed field."""
        return msgspec.json.decode(self.open(sealed, _place(workspace, table, row_id, field)))


def open_vault(database: Database, home: Path, given: str | None) -> Vault:
    """The vault of a store, whose tables are up to date. Raises ConfigurationError when the keys are missing or wrong.

    `given` is the setting: base64 keys, the newest first, with commas between them.
    """
    path = home / FILE
    sealed = _read_check(database)
    source = "RIVERRUN_SERVER_ENCRYPTION_KEY" if given else str(path)
    keys = _decoded(given.split(","), source) if given else _read_file(path)
    if not keys:
        if sealed is not None:
            raise ConfigurationError(
                f"The store holds secrets that are sealed with the key {_id_of(sealed)}, and there is no key: put it into "
                f"{path} or RIVERRUN_SERVER_ENCRYPTION_KEY."
            )
        keys = _make_file(path)
    vault = Vault(keys)
    if sealed is None:
        sealed = _write_check(database, vault)
    try:
        vault.open(sealed, _CHECK)
    except ConfigurationError:
        raise ConfigurationError(
            f"The store holds secrets that are sealed with the key {_id_of(sealed)}; the keys of {source} are "
            f"{', '.join(_key_id(key).hex() for key in keys)}: give the right key, with others after a comma."
        ) from None
    return vault


def _place(workspace: int, table: str, row_id: UUID, field: str) -> str:
    return f"{workspace}/{table}/{row_id}/{field}"


def _key_id(key: bytes) -> bytes:
    return hashlib.sha256(b"riverrun key id" + key).digest()[:_ID_BYTES]


def _id_of(sealed: bytes) -> str:
    return sealed[len(_FORM) : len(_FORM) + _ID_BYTES].hex()


def _decoded(texts: Sequence[str], source: str) -> list[bytes]:
    keys = []
    for text in texts:
        try:
            key = base64.b64decode(text.strip(), altchars=b"-_" if {"-", "_"} & set(text) else None, validate=True)
        except (binascii.Error, ValueError):
            key = b""
        if len(key) != KEY_BYTES:
            raise ConfigurationError(f"{source} holds something else than {KEY_BYTES} bytes in base64.")
        keys.append(key)
    return keys


def _read_file(path: Path) -> list[bytes]:
    try:
        return _decoded(path.read_text().split(), str(path))
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"The key of the store's secrets, {path}, cannot be read: {error}") from error


def _make_file(path: Path) -> list[bytes]:
    """A new key in a file that only its owner reads; that of another process if it was faster."""
    text = base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()
    fresh = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text + "\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            # a link appears whole or not at all, and never replaces a key
            with suppress(FileExistsError):
                os.link(fresh, path)
        finally:
            fresh.unlink()
    except OSError as error:
        raise ConfigurationError(f"The key of the store's secrets cannot be written to {path}: {error}") from error
    return _read_file(path)


def _read_check(database: Database) -> bytes | None:
    with database.read() as connection:
        text = connection.execute(sa.select(configuration.c.value).where(*_MINE)).scalar()
    return None if text is None else base64.b64decode(msgspec.json.decode(text))


def _write_check(database: Database, vault: Vault) -> bytes:
    """Keep a check value, unless another replica has just done so; the one that counts."""
    instant = to_micros(now())
    insert = sqlite.insert if database.path is not None else postgresql.insert
    made = insert(configuration).values(
        id=uuid7(),
        workspace_id=DEFAULT_WORKSPACE,
        created=instant,
        updated=instant,
        name=_CHECK,
        value=msgspec.json.encode(base64.b64encode(vault.seal(b"riverrun", _CHECK)).decode()).decode(),
    )
    with database.write() as connection:
        connection.execute(made.on_conflict_do_nothing(index_elements=["workspace_id", "name"]))
    sealed = _read_check(database)
    assert sealed is not None
    return sealed
