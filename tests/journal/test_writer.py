"""The writer: rotation, long records, values that refuse, interruptions, a directory that goes away, the size cap."""

import enum
import math
import os
import stat
import threading
from pathlib import Path
from typing import Any

import pytest

from riverrun.client.journal.backlog import Backlog
from riverrun.client.journal.segment import is_mappable
from riverrun.wire.journal import FlowRunRecord, LogRecord, LostRecord, decode
from riverrun.wire.spool import spools
from tests.journal.records import RUN, journal_in, log, numbers, python, read, state


@pytest.mark.parametrize("mappable", [True, False])
def test_many_segments_many_threads(tmp_path: Path, mappable: bool) -> None:
    journal = journal_in(tmp_path, segment_bytes=1 << 14, mappable=mappable)

    def work(first: int) -> None:
        for number in range(first, first + 1000):
            journal.append(state(number, message="x" * (number % 90)))

    threads = [threading.Thread(target=work, args=(first,)) for first in range(0, 4000, 1000)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (spool,) = spools(tmp_path)
    found = numbers(spool)
    assert sorted(found) == list(range(4000))
    assert all(
        [number for number in found if number // 1000 == at] == list(range(at * 1000, at * 1000 + 1000))
        for at in range(4)
    )
    assert len(list(spool.path.glob("*.seg"))) > 10
    journal.close()
    assert len(numbers(spool)) == 4000
    # nothing preallocated stays behind
    assert spool.size() < 4000 * 160


def test_files_are_private(tmp_path: Path) -> None:
    journal = journal_in(tmp_path / "journal")
    journal.append(state(1, message="x" * 100_000))
    for path in [tmp_path / "journal", journal.path]:
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
    names = os.listdir(journal.path)
    assert {name.rpartition(".")[2] for name in names} == {"header", "lock", "seg", "side"}
    assert {stat.S_IMODE((journal.path / name).stat().st_mode) for name in names} == {0o600}
    journal.close()


def test_nothing_is_made_before_the_first_record(tmp_path: Path) -> None:
    journal = journal_in(tmp_path / "journal")
    assert journal.flush()
    journal.close()
    assert not (tmp_path / "journal").exists()


def test_an_idle_journal_sleeps_and_is_woken(tmp_path: Path) -> None:
    journal = journal_in(tmp_path)
    journal.append(state(1))
    assert journal.tend()  # what the keeper does a second later
    assert not journal.tend()
    assert journal._wake_at < 0
    journal.append(state(2))
    assert journal._wake_at > 0
    assert journal.tend()
    journal.close()


def test_a_record_of_50_mb(tmp_path: Path) -> None:
    journal = journal_in(tmp_path, segment_bytes=2 << 20)
    text = "0123456789" * 5_000_000
    journal.append(state(1))
    journal.append(log(2, text))
    journal.append(state(3))
    (spool,) = spools(tmp_path)
    assert spool.size() > 50_000_000
    records = [record for _, record in read(spool)]
    assert [record.timestamp for record in records] == [1, 2, 3]
    assert records[1].message == text
    assert journal.flush()
    journal.close()
    (side,) = spool.path.glob("*.side")
    with side.open("r+b") as file:
        file.seek(1_000_000)
        file.write(b"?")
    assert [type(record) for _, record in read(spool)][1] is LostRecord
    side.unlink()
    lost = read(spool)[1][1]
    assert (lost.first, lost.last) == (2, 2)
    assert side.name in lost.why


class Colour(enum.Enum):
    RED = "red"


class Unspeakable:
    def __repr__(self) -> str:
        raise RuntimeError("no")


def nested(depth: int) -> Any:
    value: Any = "core"
    for _ in range(depth):
        value = [value]
    return value


recursive: dict[str, Any] = {"name": "x"}
recursive["self"] = recursive


@pytest.mark.parametrize(
    ("value", "read_back"),
    [
        ("lone \udc80 surrogate", "lone \\udc80 surrogate"),
        (2**64, str(2**64)),
        (-(2**63) - 1, str(-(2**63) - 1)),
        (2**64 - 1, 2**64 - 1),
        (10**5000, hex(10**5000)),
        (math.inf, math.inf),
        ("\0", "\0"),
        ("n" * 10_000, "n" * 10_000),
        (Colour.RED, "red"),
        ((1, {2}), [1, [2]]),
        ({1: "one"}, {1: "one"}),
        ({"a": object}, {"a": "<details.value.a: <class 'object'>>"}),
        (Unspeakable(), "<details.value: Unspeakable (its repr raises RuntimeError)>"),
        (b"\xff", b"\xff"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_values_that_refuse_are_replaced_and_named(tmp_path: Path, value: Any, read_back: Any) -> None:
    journal = journal_in(tmp_path)
    journal.append(state(1, details={"value": value}))
    journal.append(state(2, details={"value": value, "broken": "\ud800"}))  # the whole record is cleaned
    journal.append(state(3))
    (spool,) = spools(tmp_path)
    first, second, third = [record for _, record in read(spool)]
    assert first.details["value"] == read_back
    assert second.details["value"] in (read_back, {"1": "one"})
    assert third.timestamp == 3
    journal.close()


def test_nan_recursion_and_depth(tmp_path: Path) -> None:
    journal = journal_in(tmp_path)
    journal.append(state(1, details={"value": math.nan}))
    journal.append(state(2, details=recursive))
    journal.append(state(3, details={"deep": nested(100_000)}))
    journal.append(state(4, details={"deep": nested(40), "bad": object()}))
    journal.append(FlowRunRecord(RUN, "f", "\ud800", 5, tags=["\udfff"]))
    (spool,) = spools(tmp_path)
    first, second, third, fourth, flow_run = [record for _, record in read(spool)]
    assert math.isnan(first.details["value"])
    assert second.details["name"] == "x"
    assert "nested more than 50 deep" in repr(second.details)
    assert "nested more than 50 deep" in repr(third.details)
    assert fourth.details["deep"] == nested(40)
    assert (flow_run.name, flow_run.tags) == ("\\ud800", ["\\udfff"])
    journal.close()


INTERRUPTED = """
    import os, signal, sys
    from pathlib import Path
    from tests.journal.records import journal_in, state, read
    from riverrun.wire.journal import LostRecord
    from riverrun.wire.spool import spools

    class Struck(Exception): pass
    raising = sys.argv[2] == "raise"
    journal = journal_in(Path(sys.argv[1]), segment_bytes=1 << 14, mappable=sys.argv[3] == "mapped")
    truth, strikes, armed, depth = set(), 0, False, 0

    def strike(*_):
        global depth
        if depth > 20:  # on a busy machine the handler takes longer than the timer: that way lies only the stack's end
            return
        depth += 1
        try:
            struck()
        finally:
            depth -= 1

    def struck():
        global armed, strikes
        strikes += 1
        number = 10_000_000 + strikes
        journal.append(state(number, message="x" * (9000 if number % 50 == 0 else 10)))
        truth.add(number)
        if raising and armed and strikes % 2:
            armed = False
            raise Struck

    signal.signal(signal.SIGALRM, strike)
    journal.append(state(0)); truth.add(0)
    number = 0
    signal.setitimer(signal.ITIMER_REAL, 0.0003, 0.0003)
    try:
        while strikes < 300:
            try:
                while strikes < 300:
                    number += 1
                    armed = True
                    journal.append(state(number, message="x" * (9000 if number % 500 == 0 else 10)))
                    armed = False
                    truth.add(number)
            except Struck:
                pass
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    assert journal.flush()
    (spool,) = spools(Path(sys.argv[1]))
    found = read(spool)
    lost = [record for _, record in found if isinstance(record, LostRecord)]
    written = [record.timestamp for _, record in found if not isinstance(record, LostRecord)]
    missing = truth - set(written)
    assert not missing, (len(missing), sorted(missing)[:5])
    assert len(lost) <= strikes // 50, lost
    if not raising:
        assert len(written) == len(set(written)) == len(truth), (len(written), len(truth))
    assert [seq for seq, _ in found][-1] >= len(written)
    journal.close()
"""


@pytest.mark.parametrize("kind", ["mapped", "written"])
@pytest.mark.parametrize("way", ["append", "raise"])
def test_signals_at_any_instruction_lose_nothing(tmp_path: Path, way: str, kind: str) -> None:
    python(INTERRUPTED, tmp_path / "journal", way, kind, home=tmp_path)


@pytest.mark.parametrize("mappable", [True, False])
@pytest.mark.parametrize("how", ["removed", "set aside"])
def test_the_owner_makes_a_removed_directory_again(tmp_path: Path, mappable: bool, how: str) -> None:
    journal = journal_in(tmp_path, mappable=mappable)
    for number in range(1, 101):
        journal.append(state(number))
    assert journal.flush()
    if how == "removed":
        for path in journal.path.iterdir():
            path.unlink()
        journal.path.rmdir()
    else:
        journal.path.rename(f"{journal.path}.done")
    assert spools(tmp_path) == []
    journal.append(state(101))
    assert journal.flush()
    (spool,) = spools(tmp_path)
    assert numbers(spool) == list(range(1, 102))
    assert not spool.is_dead()
    journal.close()
    assert numbers(spool) == list(range(1, 102))


def test_a_directory_removed_before_a_rotation_costs_nothing(tmp_path: Path) -> None:
    journal = journal_in(tmp_path, segment_bytes=1 << 13)
    journal.append(state(1))
    journal.path.rename(f"{journal.path}.done")
    for number in range(2, 200):
        journal.append(state(number))
    assert journal.flush()
    (spool,) = spools(tmp_path)
    assert numbers(spool) == list(range(1, 200))
    journal.close()


def test_over_the_cap_logs_are_given_up_and_states_kept(tmp_path: Path) -> None:
    journal = journal_in(tmp_path, segment_bytes=1 << 13, max_bytes=1 << 14)
    for number in range(1, 500):
        journal.append(state(number))
    journal.tend()  # the keeper weighs
    for number in range(500, 600):
        journal.append(log(number))
    journal.append(state(600))
    journal.tend()
    journal.flush()
    (spool,) = spools(tmp_path)
    records = [record for _, record in read(spool)]
    assert not [record for record in records if isinstance(record, LogRecord)]
    (lost,) = [record for record in records if isinstance(record, LostRecord)]
    assert lost.last - lost.first + 1 == 100
    assert "size cap" in lost.why
    assert [record.timestamp for record in records if not isinstance(record, LostRecord)] == [*range(1, 500), 600]
    spool.release(records[-1].last if isinstance(records[-1], LostRecord) else len(records) + 99)
    journal.append(state(601))
    journal.tend()
    journal.append(log(602))  # there is room again
    assert isinstance(read(spool, spool.released)[-1][1], LogRecord)
    journal.close()


def test_a_long_chain_asks_for_ingestion(tmp_path: Path) -> None:
    asked: list[int] = []
    journal = journal_in(tmp_path, ingest_bytes=1 << 17, on_long_chain=lambda: asked.append(1))
    journal.append(state(1))
    journal.tend()
    assert not asked
    for number in range(2, 2000):
        journal.append(state(number))
    journal.tend()
    assert asked == [1]
    journal.append(state(2001))
    journal.tend()
    assert asked == [1]  # not again within two seconds
    journal.close()


def test_backlog_gives_logs_up_first() -> None:
    backlog = Backlog(100)
    backlog.add(b"s" * 40, is_log=False)
    backlog.add(b"l" * 40, is_log=True)
    backlog.add(b"l" * 40, is_log=True)
    assert (len(backlog), backlog.lost) == (2, 1)
    backlog.add(b"t" * 40, is_log=False)
    assert (len(backlog), backlog.lost) == (2, 2)
    backlog.add(b"u" * 40, is_log=False)
    assert (len(backlog), backlog.lost) == (2, 3)
    kept = []
    while (payload := backlog.first()) is not None:
        kept.append(payload[:1])
        backlog.drop_first()
    assert kept == [b"s", b"t"]


def test_a_local_file_system_is_mapped(tmp_path: Path) -> None:
    assert is_mappable(tmp_path)
    assert not is_mappable(Path("/proc"))


def test_append_after_close_says_so_and_raises_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    journal = journal_in(tmp_path)
    journal.append(state(1))
    journal.close()
    journal.close()
    journal.append(state(2))
    assert "was closed" in capsys.readouterr().err
    assert decode(next(spools(tmp_path)[0].records())[1]) == state(1)
