"""A stored value with its metadata, its forms as bytes, and a bounded memory of such records. No storage here."""

import os
from collections import OrderedDict
from collections.abc import Mapping
from datetime import datetime
from threading import Lock
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Self, TypeVar
from uuid import UUID

import msgspec
from msgspec import Struct

from riverrun import __version__
from riverrun.base.clock import now
from riverrun.base.errors import InputError, SerializationError

if TYPE_CHECKING:
    from riverrun.serializers import Serializer

R = TypeVar("R")

_START = b'{"metadata":'


class NotARecordError(InputError, ValueError):
    """Bytes that should be a stored result are not one."""

    code = "result_record"


class _Metadata(Struct):
    """The metadata as they are written; `prefect_version` is read from records of the peer."""

    storage_key: str
    expiration: datetime | None = None
    serializer: dict[str, Any] = {}
    riverrun_version: str | None = None
    prefect_version: str | None = None
    storage_block_id: UUID | None = None


class _Envelope(Struct):
    metadata: _Metadata
    result: str | None = None
    #: instead of `result` where a serializer's bytes are not text
    result_base64: bytes | None = None


_decode_envelope = msgspec.json.Decoder(_Envelope).decode
_decode_metadata = msgspec.json.Decoder(_Metadata).decode
_encode = msgspec.json.Encoder().encode


class ResultRecordMetadata:
    """Where a value is stored (`storage_key`: a path, a URL, or a key in a block), how, and until when it holds."""

    __slots__ = ("expiration", "riverrun_version", "serializer", "storage_block_id", "storage_key")

    def __init__(
        self,
        *,
        storage_key: str,
        serializer: "Serializer[Any]",
        expiration: datetime | None = None,
        riverrun_version: str = __version__,
        storage_block_id: UUID | None = None,
    ) -> None:
        self.storage_key = storage_key
        self.serializer = serializer
        self.expiration = expiration
        self.riverrun_version = riverrun_version
        self.storage_block_id = storage_block_id

    @property
    def prefect_version(self) -> str:
        return self.riverrun_version

    def is_expired(self) -> bool:
        """Whether the value no longer counts."""
        return self.expiration is not None and self.expiration <= now()

    def model_dump(self, *, mode: str = "python", **_options: Any) -> dict[str, Any]:
        """The fields; `mode="json"` leaves only JSON types (what a state's `data` in the journal holds)."""
        expiration, block = self.expiration, self.storage_block_id
        if mode == "json":
            return {
                "storage_key": self.storage_key,
                "expiration": None if expiration is None else expiration.isoformat(),
                "serializer": self.serializer.model_dump(),
                "riverrun_version": self.riverrun_version,
                "storage_block_id": None if block is None else str(block),
            }
        return {
            "storage_key": self.storage_key,
            "expiration": expiration,
            "serializer": self.serializer.model_dump(),
            "riverrun_version": self.riverrun_version,
            "storage_block_id": block,
        }

    def model_dump_json(self, **_options: Any) -> str:
        """The fields as a JSON document."""
        return self.dump_bytes().decode()

    @classmethod
    def model_validate(cls, obj: Any) -> Self:
        """From an instance or a mapping (as `model_dump` gives)."""
        if isinstance(obj, cls):
            return obj
        if isinstance(obj, Mapping):
            from riverrun.serializers import Serializer

            obj = {name: value.model_dump() if isinstance(value, Serializer) else value for name, value in obj.items()}
        return cls._from(msgspec.convert(obj, _Metadata, strict=False))

    def dump_bytes(self) -> bytes:
        """The fields as JSON bytes."""
        return _encode(self.model_dump(mode="json"))

    @classmethod
    def load_bytes(cls, data: bytes) -> Self:
        """From JSON bytes; raises `msgspec.DecodeError` or `msgspec.ValidationError`."""
        return cls._from(_decode_metadata(data))

    @classmethod
    def from_head(cls, head: bytes) -> Self | None:
        """The metadata from the first bytes of a stored record; None if they are not (all) there."""
        if not head.startswith(_START):
            return None
        from json import JSONDecodeError, JSONDecoder

        text = head[len(_START) :].decode("utf-8", "replace")
        try:
            fields, _ = JSONDecoder().raw_decode(text)
            return cls.model_validate(fields)
        except (JSONDecodeError, msgspec.MsgspecError, ValueError):
            return None

    @classmethod
    def _from(cls, read: _Metadata) -> Self:
        return cls(
            storage_key=read.storage_key,
            expiration=read.expiration,
            serializer=_serializer(read.serializer),
            riverrun_version=read.riverrun_version or read.prefect_version or "",
            storage_block_id=read.storage_block_id,
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ResultRecordMetadata) and self.model_dump() == other.model_dump()

    __hash__ = None  # type: ignore[assignment] # compares by content and may change

    def __repr__(self) -> str:
        return f"ResultRecordMetadata({', '.join(f'{name}={getattr(self, name)!r}' for name in _FIELDS)})"


_FIELDS = ("storage_key", "expiration", "serializer", "riverrun_version", "storage_block_id")


def _serializer(options: dict[str, Any]) -> "Serializer[Any]":
    """The serializer that metadata describe; one that cannot be used but says so if it is not known here."""
    from riverrun.serializers import Serializer, UnknownSerializer

    # records of the peer name its own functions
    options = {
        name: value.replace("prefect.serializers.prefect_", "riverrun.serializers.riverrun_")
        if isinstance(value, str)
        else value
        for name, value in options.items()
    }
    try:
        return Serializer(**options)
    except ValueError:
        return UnknownSerializer(**options)


class ResultRecord(Generic[R]):
    """A value and its metadata."""

    __slots__ = ("metadata", "result")

    #: how the engine knows records among the values of users
    holds_metadata: ClassVar[bool] = True

    def __init__(self, *, result: R, metadata: ResultRecordMetadata) -> None:
        self.result = result
        self.metadata = metadata

    @property
    def expiration(self) -> datetime | None:
        return self.metadata.expiration

    @property
    def serializer(self) -> "Serializer[Any]":
        return self.metadata.serializer

    def model_dump(self, *, mode: str = "python", **_options: Any) -> dict[str, Any]:
        """The metadata as plain data, and the value as it is."""
        return {"metadata": self.metadata.model_dump(mode=mode), "result": self.result}

    def serialize_result(self) -> bytes:
        """The value as bytes; raises SerializationError."""
        try:
            data = self.serializer.dumps(self.result)
        except SerializationError:
            raise
        except Exception as error:  # of a user's serializer
            kind = type(self.result).__name__
            raise SerializationError(
                f"serializer {getattr(self.serializer, 'type', '?')!r} failed on a value of type {kind!r}: {error!r}"
            ) from error
        return data

    def serialize_metadata(self) -> bytes:
        """The metadata as JSON bytes."""
        return self.metadata.dump_bytes()

    def serialize(self) -> bytes:
        """The whole record as JSON bytes; raises SerializationError."""
        return self.enveloped(self.serialize_result())

    def enveloped(self, value: bytes) -> bytes:
        """The whole record as JSON bytes, from the bytes of its value."""
        head = _START + self.serialize_metadata()
        try:
            return b"%b,%b%b}" % (head, b'"result":', _encode(value.decode()))
        except UnicodeDecodeError:
            return b"%b,%b%b}" % (head, b'"result_base64":', _encode(value))

    @classmethod
    def deserialize(cls, data: bytes, backup_serializer: "Serializer[Any] | None" = None) -> "ResultRecord[Any]":
        """A record from its bytes; bytes that are none are read as a bare value with the backup serializer, if given.

        Raises NotARecordError, a ValueError, and what the serializer raises.
        """
        try:
            envelope = _decode_envelope(data)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            if backup_serializer is None or data.startswith(_START):
                raise NotARecordError(f"it is not a whole record of a result: {error}") from error
            value = backup_serializer.loads(data)
            return cls(metadata=ResultRecordMetadata(storage_key="", serializer=backup_serializer), result=value)
        metadata = ResultRecordMetadata._from(envelope.metadata)
        value = envelope.result.encode() if envelope.result is not None else envelope.result_base64 or b""
        return cls(metadata=metadata, result=metadata.serializer.loads(value))

    @classmethod
    def deserialize_from_result_and_metadata(cls, result: bytes, metadata: bytes) -> "ResultRecord[Any]":
        """A record from the bytes of its value and of its metadata."""
        read = ResultRecordMetadata.load_bytes(metadata)
        return cls(metadata=read, result=read.serializer.loads(result))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ResultRecord) and self.metadata == other.metadata and self.result == other.result

    __hash__ = None  # type: ignore[assignment] # compares by content

    def __repr__(self) -> str:
        return f"ResultRecord(metadata={self.metadata!r}, result={self.result!r})"


#: of all caches: held for a moment only, and one lock is easily made anew in a forked child
_mutex = Lock()


def _new_mutex() -> None:
    global _mutex
    _mutex = Lock()


os.register_at_fork(after_in_child=_new_mutex)


class ResultCache:
    """The records used last, at most so many and so many bytes (of their stored form, a measure of their size)."""

    MAX_RECORDS: ClassVar[int] = 1_000
    MAX_BYTES: ClassVar[int] = 256 * 2**20

    def __init__(self) -> None:
        self._records: OrderedDict[Any, tuple[ResultRecord[Any], int]] = OrderedDict()
        self._bytes = 0

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), ()  # another process starts with an empty one

    def get(self, key: Any) -> ResultRecord[Any] | None:
        with _mutex:
            found = self._records.get(key)
            if found is None:
                return None
            self._records.move_to_end(key)
            return found[0]

    def put(self, key: Any, record: ResultRecord[Any], size: int) -> None:
        with _mutex:
            self._drop(key)
            if size > self.MAX_BYTES:
                return
            self._records[key] = (record, size)
            self._bytes += size
            while len(self._records) > self.MAX_RECORDS or self._bytes > self.MAX_BYTES:
                _, (_, dropped) = self._records.popitem(last=False)
                self._bytes -= dropped

    def drop(self, key: Any) -> None:
        with _mutex:
            self._drop(key)

    def _drop(self, key: Any) -> None:
        found = self._records.pop(key, None)
        if found is not None:
            self._bytes -= found[1]

    def clear(self) -> None:
        with _mutex:
            self._records.clear()
            self._bytes = 0

    def __len__(self) -> int:
        return len(self._records)

    def __contains__(self, key: Any) -> bool:
        return key in self._records
