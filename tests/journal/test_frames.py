"""Framing: whatever happens to some bytes, every other record survives."""

from hypothesis import given
from hypothesis import strategies as st

from riverrun.wire.frames import HEAD, HEAD_SIZE, LONGEST, MAGIC, checksum, frame_at, frames_in, salt_of

SALT = salt_of(b"w" * 16)

payloads = st.lists(
    st.one_of(st.binary(max_size=300), st.just(MAGIC * 3), st.just(b"\0" * 40)), min_size=1, max_size=12
)


def frame(payload: bytes, seq: int, salt: int = SALT) -> bytes:
    return HEAD.pack(MAGIC, len(payload), seq, checksum(payload, seq, salt)) + payload


def chain(contents: list[bytes]) -> tuple[bytes, list[int]]:
    frames = [frame(payload, seq) for seq, payload in enumerate(contents, start=1)]
    starts = [sum(map(len, frames[:at])) for at in range(len(frames) + 1)]
    return b"".join(frames), starts


def found(data: bytes) -> list[tuple[int, bytes]]:
    return [(one.seq, one.payload) for one in frames_in(data, SALT)]


@given(payloads, st.integers(0, 500))
def test_frames_are_read_back_up_to_the_zeros(contents: list[bytes], zeros: int) -> None:
    data, _ = chain(contents)
    assert found(data + bytes(zeros)) == list(enumerate(contents, start=1))


@given(payloads, st.data())
def test_a_truncated_file_keeps_every_whole_frame(contents: list[bytes], data: st.DataObject) -> None:
    whole, starts = chain(contents)
    cut = data.draw(st.integers(0, len(whole)))
    torn = whole[:cut] + bytes(data.draw(st.integers(0, 64)))
    kept = [  # zeros may happen to be what was cut off
        (seq, payload)
        for seq, payload in enumerate(contents, start=1)
        if torn[starts[seq - 1] : starts[seq]] == whole[starts[seq - 1] : starts[seq]]
    ]
    assert found(torn) == kept


@given(payloads, st.data())
def test_a_flipped_bit_costs_one_record(contents: list[bytes], data: st.DataObject) -> None:
    whole, starts = chain(contents)
    bit = data.draw(st.integers(0, len(whole) * 8 - 1))
    bad = bytearray(whole)
    bad[bit // 8] ^= 1 << bit % 8
    hit = max(seq for seq in range(1, len(contents) + 1) if starts[seq - 1] <= bit // 8)
    assert found(bytes(bad)) == [(seq, payload) for seq, payload in enumerate(contents, start=1) if seq != hit]


@given(payloads, st.binary(min_size=1, max_size=200), st.data())
def test_overwritten_bytes_cost_what_they_touch(contents: list[bytes], garbage: bytes, data: st.DataObject) -> None:
    whole, starts = chain(contents)
    at = data.draw(st.integers(0, len(whole) - 1))
    end = min(at + len(garbage), len(whole))
    bad = whole[:at] + garbage[: end - at] + whole[end:]
    untouched = [
        (seq, payload)
        for seq, payload in enumerate(contents, start=1)
        if whole[starts[seq - 1] : starts[seq]] == bad[starts[seq - 1] : starts[seq]]
    ]
    assert found(bad) == untouched


@given(payloads, st.binary(max_size=200), st.data())
def test_inserted_garbage_costs_at_most_the_record_it_splits(
    contents: list[bytes], garbage: bytes, data: st.DataObject
) -> None:
    whole, starts = chain(contents)
    at = data.draw(st.integers(0, len(whole)))
    kept = {(seq, contents[seq - 1]) for seq in range(1, len(contents) + 1) if not starts[seq - 1] < at < starts[seq]}
    assert kept <= set(found(whole[:at] + garbage + whole[at:]))


@given(st.binary(max_size=30_000), st.integers(1, 2**63))
def test_a_checksum_is_the_same_in_pieces(payload: bytes, seq: int) -> None:
    good = frame_at(frame(payload, seq), 0, SALT)
    assert good is not None
    assert (good.seq, good.payload, good.end) == (seq, payload, HEAD_SIZE + len(payload))


def test_frames_of_another_writer_are_none_of_ours() -> None:
    alien = frame(b"their record", 2, salt_of(b"x" * 16))
    assert found(frame(alien, 1)[:-1] + b"?" + frame(b"ours", 2)) == [(2, b"ours")]


def test_a_length_beyond_the_limit_is_no_frame() -> None:
    payload = bytes(LONGEST + 1)
    assert frame_at(frame(payload, 1), 0, SALT) is None
