"""Reading spools: beside their writer, after its death, with damage; and freeing them."""

import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from riverrun.wire import owner
from riverrun.wire.journal import LostRecord, StateRecord, encode
from riverrun.wire.spool import KEPT_AFTER_DONE, OPENING, Spool, spools, sweep
from tests.journal.records import journal_in, log, numbers, python, read, state

LEAVE_WITHOUT_CLOSING = """
    import os, sys
    from pathlib import Path
    from tests.journal.records import journal_in, state
    journal = journal_in(Path(sys.argv[1]))
    for number in range(1, int(sys.argv[2]) + 1):
        journal.append(state(number))
    os._exit(0)
"""


def segments(spool: Spool) -> list[Path]:
    return sorted(spool.path.glob("*.seg"))


def damage(path: Path, at: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(data)


def left_by_a_dead_writer(tmp_path: Path, records: int) -> Spool:
    python(LEAVE_WITHOUT_CLOSING, tmp_path / "journal", records, home=tmp_path)
    (spool,) = spools(tmp_path / "journal")
    return spool


def test_no_directory_has_no_spools(tmp_path: Path) -> None:
    assert spools(tmp_path / "nowhere") == []
    (tmp_path / "file").write_text("")
    assert spools(tmp_path / "file") == []


def test_a_live_spool_is_read_while_it_grows(tmp_path: Path) -> None:
    journal = journal_in(tmp_path)
    journal.append(state(1))
    (spool,) = spools(tmp_path)
    assert spool.writer == journal.writer
    assert numbers(spool) == [1]
    for number in range(2, 3000):
        journal.append(state(number))
        if number % 500 == 0:
            assert numbers(spool, number - 3) == [number - 2, number - 1, number]
    assert numbers(spool) == list(range(1, 3000))
    assert not spool.is_dead()
    journal.close()
    assert numbers(spool) == list(range(1, 3000))
    assert spool.is_dead()


def test_a_reader_beside_a_busy_writer_reports_nothing_lost(tmp_path: Path) -> None:
    code = """
        import sys
        from pathlib import Path
        from tests.journal.records import journal_in, state
        journal = journal_in(Path(sys.argv[1]), segment_bytes=1 << 15)
        sys.stdin.readline()
        for number in range(1, 40_001):
            journal.append(state(number, message="x" * (number % 300)))
        journal.close()
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), str(tmp_path)],
        stdin=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    ) as child:
        assert child.stdin is not None
        child.stdin.write(b"go\n")
        child.stdin.flush()
        seen = 0
        while seen < 40_000:
            ended = child.poll() is not None
            for spool in spools(tmp_path):
                fresh = numbers(spool, seen)
                assert fresh == list(range(seen + 1, seen + 1 + len(fresh)))
                seen += len(fresh)
                spool.release(seen)
            assert seen == 40_000 or not ended


def test_damage_in_the_middle_costs_what_it_touches(tmp_path: Path) -> None:
    journal = journal_in(tmp_path)
    for number in range(1, 3001):
        journal.append(state(number))
    journal.close()
    (spool,) = spools(tmp_path)
    first, second, third = segments(spool)[:3]
    size = 20 + len(encode(state(1)))
    damage(first, size * 4 + 7, b"?")  # the fifth record
    damage(second, 0, bytes(4096))  # a page that never reached the disk, over the border of two segments
    third.unlink()
    found = read(spool)
    losses = [(seq, record) for seq, record in found if isinstance(record, LostRecord)]
    assert [seq for seq, record in losses] == [record.last for seq, record in losses]
    assert (losses[0][1].first, losses[0][1].last) == (5, 5)
    assert "00000001.seg" in losses[0][1].why
    lost = {number for _, record in losses for number in range(record.first, record.last + 1)}
    kept = {record.timestamp for _, record in found if isinstance(record, StateRecord)}
    assert lost | kept == set(range(1, 3001))
    assert not lost & kept
    assert len(losses) == 3
    assert [seq for seq, _ in read(spool, after=5)][0] == 6


def test_a_torn_record_at_the_end_is_the_end(tmp_path: Path) -> None:
    spool = left_by_a_dead_writer(tmp_path, 3)
    (segment,) = segments(spool)
    damage(segment, (20 + len(encode(state(1)))) * 3 - 3, bytes(3))
    assert numbers(spool) == [1, 2]
    assert spool.last_seq() == 2


def test_a_torn_record_at_the_end_of_a_closed_journal_is_lost(tmp_path: Path) -> None:
    journal = journal_in(tmp_path)
    for number in (1, 2, 3):
        journal.append(state(number))
    journal.close()
    (spool,) = spools(tmp_path)
    (segment,) = segments(spool)
    os.truncate(segment, segment.stat().st_size - 3)
    (_, first), (_, second), (seq, lost) = read(spool)
    assert [first.timestamp, second.timestamp] == [1, 2]
    assert (seq, lost.first, lost.last) == (3, 3, 3)
    assert "00000001.seg" in lost.why
    segment.unlink()
    ((seq, lost),) = read(spool, 1)
    assert (seq, lost.first, lost.last) == (3, 2, 3)
    assert read(spool, 3) == []


def test_release_of_a_live_spool_frees_finished_segments_only(tmp_path: Path) -> None:
    journal = journal_in(tmp_path)
    for number in range(1, 3001):
        journal.append(state(number))
    journal.append(state(3001, message="x" * 100_000))
    (spool,) = spools(tmp_path)
    before = len(segments(spool))
    spool.release(1500)
    assert 1 < len(segments(spool)) < before
    assert numbers(spool, 1500) == list(range(1501, 3002))
    assert spool.released == 1500
    assert list(spool.path.glob("*.side"))
    spool.release(3001)
    assert len(segments(spool)) == 1
    assert not list(spool.path.glob("*.side"))
    journal.append(state(3002))
    assert numbers(spool, 3001) == [3002]
    journal.close()
    assert numbers(spool, 3001) == [3002]


def test_what_was_released_is_not_reported_as_lost(tmp_path: Path) -> None:
    journal = journal_in(tmp_path)
    for number in range(1, 3001):
        journal.append(state(number))
    (spool,) = spools(tmp_path)
    spool.release(2999)
    assert [record.timestamp for _, record in read(spool)] == [3000]  # a reader that knows nothing of it
    journal.close()


def test_a_process_that_was_read_to_the_end_leaves_nothing(tmp_path: Path) -> None:
    journal = journal_in(tmp_path)
    journal.append(state(1))
    (spool,) = spools(tmp_path)
    spool.release(1)
    assert spool.path.exists()
    journal.close()
    assert os.listdir(tmp_path) == []


def test_release_after_a_clean_end_removes_the_spool(tmp_path: Path) -> None:
    journal = journal_in(tmp_path)
    journal.append(state(1))
    journal.append(state(2))
    journal.close()
    (spool,) = spools(tmp_path)
    spool.release(1)
    assert numbers(spool, 1) == [2]
    spool.release(2)
    assert os.listdir(tmp_path) == []
    spool.release(2)  # somebody else was faster
    assert list(spool.records()) == []
    assert not spool.is_dead() or not spool.path.exists()


def test_release_after_a_crash_sets_the_spool_aside_for_a_day(tmp_path: Path) -> None:
    spool = left_by_a_dead_writer(tmp_path, 10)
    directory = spool.path.parent
    assert spool.is_dead()
    spool.release(10)
    assert spools(directory) == []
    (aside,) = os.listdir(directory)
    assert aside.endswith(".done")
    sweep(directory)
    assert os.listdir(directory) == [aside]
    past = time.time() - KEPT_AFTER_DONE - 1
    os.utime(directory / aside, (past, past))
    sweep(directory)
    assert os.listdir(directory) == []


def test_a_spool_set_aside_too_early_is_put_back(tmp_path: Path) -> None:
    spool = left_by_a_dead_writer(tmp_path, 10)
    spool.release(10)
    (aside,) = spool.path.parent.iterdir()
    (aside / "released").write_text("7")
    sweep(aside.parent, kept=0)
    assert numbers(spool, 7) == [8, 9, 10]


def test_sweep_removes_what_died_while_opening(tmp_path: Path) -> None:
    half = tmp_path / f"{OPENING}{'a' * 32}"
    half.mkdir()
    (half / "lock").write_text("")
    assert spools(tmp_path) == []
    sweep(tmp_path)
    assert half.exists()
    past = time.time() - owner.FOREIGN_SILENCE - 1
    os.utime(half, (past, past))
    sweep(tmp_path)
    assert not half.exists()


def test_death_is_told_from_the_process_not_from_the_lock_alone(tmp_path: Path) -> None:
    code = """
        import os, sys
        from pathlib import Path
        from tests.journal.records import journal_in, state
        journal = journal_in(Path(sys.argv[1]))
        journal.append(state(1))
        os.close(journal._directory._lock_fd)  # as lockf would lose it; the process lives on
        print("ready", flush=True)
        sys.stdin.readline()
        os._exit(0)
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdout.readline()
        (spool,) = spools(tmp_path)
        assert not owner.is_locked(spool.path)
        assert not spool.is_dead()
        child.stdin.close()
        child.wait()
        assert spool.is_dead()


def test_a_lock_held_by_a_descendant_keeps_the_spool(tmp_path: Path) -> None:
    import fcntl

    spool = left_by_a_dead_writer(tmp_path, 1)
    with (spool.path / owner.LOCK).open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert not spool.is_dead()
        spool.release(1)
        assert numbers(Spool(spool.path), 0) == []  # released, but kept
        assert spool.path.exists()
    assert spool.is_dead()


@pytest.mark.parametrize(
    ("change", "dead_at_once"),
    [
        ({"boot_id": "another boot"}, True),
        ({"start_time": 1}, True),
        ({"machine": "elsewhere/1", "boot_id": "another boot"}, False),
        ({"pid_namespace": 1}, False),
    ],
)
def test_owners_that_cannot_be_looked_up_die_of_silence(tmp_path: Path, change: dict, dead_at_once: bool) -> None:
    import msgspec

    directory = tmp_path / ("ab" * 16)
    directory.mkdir()
    (directory / owner.LOCK).write_text("")
    ours = owner.describe_self(b"\xab" * 16)
    owner.write_header(directory, ours)
    spool = Spool(directory)
    assert not spool.is_dead()
    owner.write_header(directory, msgspec.structs.replace(ours, **change))
    assert spool.is_dead() is dead_at_once
    past = time.time() - owner.FOREIGN_SILENCE - 1
    for name in os.listdir(directory):
        os.utime(directory / name, (past, past))
    assert spool.is_dead()


def test_a_damaged_header_is_no_obstacle(tmp_path: Path) -> None:
    spool = left_by_a_dead_writer(tmp_path, 3)
    (spool.path / owner.HEADER).write_bytes(b"garbage")
    (again,) = spools(spool.path.parent)
    assert numbers(again) == [1, 2, 3]
    assert again.created == 0
    assert not again.is_dead()  # not before ten minutes of silence


def test_logs_and_states_keep_their_order(tmp_path: Path) -> None:
    journal = journal_in(tmp_path)
    records = [state(1), log(2), state(3), log(4)]
    journal.append_all(records)
    (spool,) = spools(tmp_path)
    assert [record for _, record in read(spool)] == records
    journal.close()
