"""The journal of whole processes: kill -9, forks, several at once, clean ends, and the module's own functions."""

import multiprocessing
import os
import random
import threading
from pathlib import Path

import pytest

from riverrun.base.config import settings
from riverrun.client import journal
from riverrun.wire.journal import LostRecord
from riverrun.wire.spool import spools
from tests.journal.records import log, numbers, python, read, state

KILLS = """
    # Forks writers one after another, kills each at a random moment, says which writer wrote what.
    import os, random, signal, sys, threading, time
    from pathlib import Path
    from riverrun.client import journal
    from tests.journal.records import state

    home, seed, rounds = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    chance = random.Random(seed)
    for round in range(rounds):
        # The moment: when so many bytes of truth are written (a slow machine has its time), and a little later.
        enough, wait = chance.choice([0, 0, 1, 10, chance.randrange(3000)]), chance.random() * 0.005
        threads, long = chance.choice([1, 1, 2]), chance.random() < 0.3
        truth = os.open(home / f"truth-{round}", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            def work(first):
                number = first
                while True:
                    number += 1
                    size = 40_000 if long and number % 100 == 0 else number % 400
                    journal.append(state(number, message="x" * size, name=str(round)))
                    os.write(truth, b"%d\\n" % number)
            os.write(writing, b"!")
            for at in range(1, threads):
                threading.Thread(target=work, args=(at * 1_000_000,), daemon=True).start()
            work(0)
        os.read(reading, 1)
        os.close(reading)
        os.close(writing)
        while os.fstat(truth).st_size < enough:
            time.sleep(0.0002)
        os.close(truth)
        time.sleep(wait)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
"""


def test_kill_9_loses_nothing_that_was_appended(tmp_path: Path) -> None:
    seed = random.SystemRandom().randrange(2**32)
    print("seed", seed)
    rounds = 60
    python(KILLS, tmp_path, seed, rounds, home=tmp_path, journal_segment_bytes=1 << 16)
    written: dict[int, set[int]] = {}
    for spool in spools(tmp_path / "journal"):
        assert spool.is_dead()
        found = [record for _, record in read(spool)]
        assert not [record for record in found if isinstance(record, LostRecord)]
        if found:
            (name,) = {record.name for record in found}
            written[int(name)] = {record.timestamp for record in found}
            assert len(written[int(name)]) == len(found)
    total = 0
    for number in range(rounds):
        file = tmp_path / f"truth-{number}"
        truth = {int(line) for line in file.read_text().split("\n")[:-1]}
        total += len(truth)
        there = written.get(number, set())
        assert truth <= there, f"round {number}: {len(truth - there)} of {len(truth)} records are lost"
        assert len(there - truth) <= 2  # one per thread: appended, not yet noted
    print(total, "records in", rounds, "killed processes")
    assert total > 100


def _append_many(first: int) -> None:
    for number in range(first, first + 500):
        journal.append(state(number))


FORKS = """
    import multiprocessing, os, sys, threading, warnings
    warnings.simplefilter("error")
    from riverrun.client import journal
    from tests.journal.test_process import _append_many
    from tests.journal.records import state

    for number in range(10):
        journal.append(state(number))
    context = multiprocessing.get_context("fork")
    children = [context.Process(target=_append_many, args=(1000 * at,)) for at in range(1, 5)]
    for child in children:
        child.start()
        journal.append(state(children.index(child) + 10))
    for child in children:
        child.join()
        assert child.exitcode == 0
    assert len([t for t in threading.enumerate() if t.name == "riverrun-journal"]) == 1
    print(journal.current_writer().hex())
"""


def test_forked_children_are_writers_of_their_own(tmp_path: Path) -> None:
    done = python(FORKS, home=tmp_path)
    found = spools(tmp_path / "journal")
    assert len(found) == 5
    by_first = sorted((numbers(spool) for spool in found), key=lambda run: run[0])
    assert by_first == [list(range(14)), *(list(range(1000 * at, 1000 * at + 500)) for at in range(1, 5))]
    assert done.stdout.strip() in {spool.writer.hex() for spool in found}
    assert all(spool.is_dead() for spool in found)


FORK_UNDER_LOAD = """
    import os, sys, threading
    from riverrun.client import journal
    from tests.journal.records import state
    stop = threading.Event()
    def busy():
        number = 0
        while not stop.is_set():
            number += 1
            journal.append(state(number))
    threads = [threading.Thread(target=busy) for _ in range(3)]
    for thread in threads: thread.start()
    for round in range(20):
        child = os.fork()
        if child == 0:
            journal.append(state(10_000_000 + round))
            os._exit(0 if journal.flush() else 1)
        assert os.waitpid(child, 0)[1] == 0
    stop.set()
    for thread in threads: thread.join()
"""


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_fork_while_other_threads_append(tmp_path: Path) -> None:
    python(FORK_UNDER_LOAD, home=tmp_path)
    found = spools(tmp_path / "journal")
    assert len(found) == 21
    singles = sorted(run[0] for spool in found if len(run := numbers(spool)) == 1)
    assert singles == [10_000_000 + at for at in range(20)]


def test_spawned_processes_and_two_at_once(tmp_path: Path) -> None:
    before = {spool.writer for spool in spools(settings().journal_dir)}
    context = multiprocessing.get_context("spawn")
    children = [context.Process(target=_append_many, args=(first,)) for first in (1000, 2000)]
    for child in children:
        child.start()
    for child in children:
        child.join()
        assert child.exitcode == 0
    fresh = [spool for spool in spools(settings().journal_dir) if spool.writer not in before]
    runs = {run[0]: run for spool in fresh if (run := numbers(spool))}
    assert runs[1000] == list(range(1000, 1500))
    assert runs[2000] == list(range(2000, 2500))


def test_a_clean_end_says_so_and_keeps_only_what_is_needed(tmp_path: Path) -> None:
    code = """
        from riverrun.client import journal
        from tests.journal.records import state
        for number in range(5): journal.append(state(number))
    """
    python(code, home=tmp_path)
    (spool,) = spools(tmp_path / "journal")
    assert numbers(spool) == [0, 1, 2, 3, 4]
    assert spool.is_dead()
    assert spool.size() < 2000
    spool.release(5)
    assert os.listdir(tmp_path / "journal") == []


def test_the_import_is_light() -> None:
    code = """
        import sys
        from riverrun.client import journal
        heavy = {"asyncio", "concurrent.futures", "pydantic", "httpx", "ssl", "json", "sqlalchemy", "socket", "subprocess"}
        assert not heavy & set(sys.modules), heavy & set(sys.modules)
        import threading, os
        assert threading.active_count() == 1
        assert not os.path.exists(os.environ["RIVERRUN_HOME"])
    """
    python(code, home=Path("/nonexistent"))


def test_use_takes_the_records_of_all_threads() -> None:
    before = journal.current_writer()
    with journal.use(journal.MemoryJournal()) as memory:
        journal.append(state(1))
        thread = threading.Thread(target=journal.append_all, args=([state(2), log(3)],))
        thread.start()
        thread.join()
        assert journal.flush()
        with journal.use(journal.MemoryJournal()) as inner:
            journal.append(state(4))
    assert memory.records == [state(1), state(2), log(3)]
    assert inner.records == [state(4)]
    assert journal.current_writer() == before


PUBLIC = """
    import os, pathlib
    from riverrun.base.config import settings, temporary_settings
    from riverrun.client import journal
    from riverrun.wire.spool import spools
    from tests.journal.records import numbers, state

    first = settings().journal_dir
    assert journal.flush() and journal.current_writer() is None
    journal.append(state(1))
    assert journal.flush() and journal.flush(timeout=5)
    writer = journal.current_writer()
    assert [spool.writer for spool in spools(first)] == [writer]
    journal.follow_settings()
    assert journal.current_writer() == writer
    other = pathlib.Path(os.environ["RIVERRUN_HOME"]) / "elsewhere"
    with temporary_settings({"journal_dir": other}):
        journal.follow_settings()
        with journal.use(journal.MemoryJournal()):
            journal.append(state(0))
        journal.append(state(2))
        assert journal.current_writer() != writer
        assert numbers(spools(other)[0]) == [2]
    with journal.use(journal.MemoryJournal()):
        journal.close()
    journal.append(state(3))
    assert sorted(map(numbers, spools(first))) == [[1], [3]]
    assert [spool.is_dead() for spool in spools(first)] == [True, False]
"""


def test_the_public_functions(tmp_path: Path) -> None:
    python(PUBLIC, home=tmp_path)
    assert [spool.is_dead() for spool in spools(tmp_path / "journal")] == [True, True]


def test_a_hook_that_fails_is_told_once(tmp_path: Path) -> None:
    code = """
        from riverrun.client import journal
        from tests.journal.records import state
        def broken(): raise RuntimeError("no ingestion today")
        journal.on_long_chain = broken
        for number in range(2000): journal.append(state(number))
        for _ in range(2):
            journal._journal._asked = -10
            journal._journal._weigh()
    """
    done = python(code, home=tmp_path, journal_ingest_bytes=1 << 16)
    assert done.stderr.count("no ingestion today") == 1
    assert len(numbers(spools(tmp_path / "journal")[0])) == 2000


def test_a_wall_clock_that_jumps_changes_nothing(tmp_path: Path) -> None:
    code = """
        import time
        from riverrun.client import journal
        from tests.journal.records import state
        real, jumps = time.time_ns, iter([0, -10**18, 10**18, 0] * 1000)
        time.time_ns = lambda: real() + next(jumps)
        time.time = lambda: real() / 1e9 - 10**9
        for number in range(3000): journal.append(state(number))
        assert journal.flush()
    """
    python(code, home=tmp_path, journal_segment_bytes=1 << 14)
    (spool,) = spools(tmp_path / "journal")
    assert numbers(spool) == list(range(3000))
    assert spool.is_dead()


def test_a_long_time_after_the_interpreter_began_to_end(tmp_path: Path) -> None:
    code = """
        import atexit
        atexit.register(lambda: journal.append(state(2)))  # runs after the journal was closed
        from riverrun.client import journal
        from tests.journal.records import state
        journal.append(state(1))
    """
    done = python(code, home=tmp_path)
    assert done.stderr == ""
    assert sorted(numbers(spool) for spool in spools(tmp_path / "journal")) == [[1], [2]]
