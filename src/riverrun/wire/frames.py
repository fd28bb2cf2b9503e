"""How records stand in the files of a spool: framed, numbered, checksummed.

A frame is a magic of four bytes, the payload's length, its sequence number, a CRC-32 over number and payload, and the payload.
A reader that meets a bad frame looks for the next magic whose checksum holds, so one bad byte costs one record. This module
knows bytes only: files are `wire.spool` and `client.journal`.
"""

import struct
from collections.abc import Iterator
from typing import Final, NamedTuple
from zlib import crc32

#: 0xC1 is the one byte that never begins anything in msgpack, so payloads seldom look like a magic.
MAGIC: Final = b"\xc1RJ\xc1"
#: The payload is too long for a segment and stands in a side file; the frame's own payload is its `SIDE` (length, checksum).
SIDE_MAGIC: Final = b"\xc1RS\xc1"
_MAGICS: Final = (MAGIC, SIDE_MAGIC)
_MAGIC_PREFIX: Final = b"\xc1R"

HEAD: Final = struct.Struct("<4sIQI")
HEAD_SIZE: Final = HEAD.size
SIDE: Final = struct.Struct("<QI")
#: A longer payload goes to a side file (bytes).
LONGEST: Final = 1 << 20
#: The largest prime below 2**32: reducing by it lets every bit of the sequence number take part in the checksum.
SEQ_MODULUS: Final = 4_294_967_291
#: `zlib.crc32` gives the GIL away above 5 KiB, and getting it back beside a busy thread costs milliseconds.
GIL_KEEPING: Final = 5 * 1024


class Frame(NamedTuple):
    """One good frame: where it starts and ends in its segment, its number, and whether a side file holds the payload."""

    start: int
    end: int
    seq: int
    is_side: bool
    payload: bytes


def salt_of(writer: bytes) -> int:
    """What a writer's checksums start from, so that bytes copied from another spool are no frames of this one."""
    return crc32(writer)


def checksum(payload: bytes, seq: int, salt: int) -> int:
    """The CRC-32 of a frame; never releases the GIL."""
    value = seq % SEQ_MODULUS ^ salt
    if len(payload) <= GIL_KEEPING:
        return crc32(payload, value)
    view = memoryview(payload)
    for start in range(0, len(view), GIL_KEEPING):
        value = crc32(view[start : start + GIL_KEEPING], value)
    return value


def frame_at(data: bytes, start: int, salt: int) -> Frame | None:
    """The frame that begins at `start`, or None if there is no good one."""
    if len(data) - start < HEAD_SIZE:
        return None
    magic, length, seq, crc = HEAD.unpack_from(data, start)
    if magic not in _MAGICS or length > LONGEST:
        return None
    end = start + HEAD_SIZE + length
    if end > len(data):
        return None
    payload = data[start + HEAD_SIZE : end]
    if checksum(payload, seq, salt) != crc:
        return None
    return Frame(start, end, seq, magic == SIDE_MAGIC, payload)


def frames_in(data: bytes, salt: int, start: int = 0) -> Iterator[Frame]:
    """The good frames from `start` on, in their order in the file; what lies between them is skipped."""
    while True:
        frame = frame_at(data, start, salt)
        if frame is None:
            start = data.find(_MAGIC_PREFIX, start + 1)
            if start < 0:
                return
        else:
            yield frame
            start = frame.end
