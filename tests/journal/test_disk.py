"""Disks that are full, read-only or not there: the work goes on, the message is clear, records are written when they can be."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from riverrun.wire.journal import LogRecord, LostRecord, StateRecord
from riverrun.wire.spool import spools
from tests.journal.records import journal_in, log, numbers, python, read, state


def own_mounts(tmp_path: Path, options: str) -> list[str]:
    """A prefix that runs a command in a mount namespace of its own, with a small tmpfs on `tmp_path/disk`."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["unshare", "--mount", "--map-root-user", "sh", "-c"]
    mount = f"mount -t tmpfs -o {options} none {disk}"
    if (
        shutil.which("unshare") is None
        or subprocess.run([*command, mount], capture_output=True, check=False).returncode
    ):
        pytest.skip("mounting a tmpfs in a namespace of its own is not permitted here")
    return [*command, f'{mount} && exec "$@"', "sh"]


FULL = """
    import os, sys
    from pathlib import Path
    from riverrun.client import journal
    from riverrun.wire.journal import LogRecord, LostRecord, StateRecord
    from riverrun.wire.spool import spools
    from tests.journal.records import log, read, state

    disk = Path(sys.argv[1])
    ballast = disk / "ballast"
    journal.append(state(0))
    fd = os.open(ballast, os.O_WRONLY | os.O_CREAT)
    try:
        while True:
            os.write(fd, bytes(4096))
    except OSError:
        os.close(fd)
    for number in range(1, 20_001):
        journal.append(log(number) if number % 2 else state(number))
    (spool,) = spools(disk / "journal")
    before = len(read(spool))
    assert 0 < before < 20_001, before
    assert not journal.flush()
    ballast.unlink()
    assert journal.flush()
    journal.append(state(20_001))
    found = [record for _, record in read(spool)]
    assert [record.timestamp for record in found] == list(range(20_002)), len(found)
    print(before)
"""


def test_a_full_disk_takes_everything_when_there_is_space_again(tmp_path: Path) -> None:
    before = own_mounts(tmp_path, "size=8m")
    done = python(FULL, tmp_path / "disk", home=tmp_path / "disk", before=before, journal_segment_bytes=1 << 16)
    assert done.stderr.count("riverrun") == 1
    assert "No space left on device" in done.stderr
    assert str(tmp_path / "disk/journal") in done.stderr
    assert "RIVERRUN_JOURNAL_DIR" in done.stderr


def test_a_read_only_home_is_written_when_it_becomes_writable(tmp_path: Path) -> None:
    before = own_mounts(tmp_path, "size=4m")
    code = """
        import subprocess, sys
        from riverrun.client import journal
        from riverrun.base.config import settings
        from riverrun.wire.spool import spools
        from tests.journal.records import numbers, state
        def remount(how): subprocess.run(["mount", "-o", f"remount,{how}", sys.argv[1]], check=True)
        remount("ro")
        for number in range(1000): journal.append(state(number))
        assert not journal.flush()
        remount("rw")
        assert journal.flush()
        assert numbers(spools(settings().journal_dir)[0]) == list(range(1000))
    """
    done = python(code, tmp_path / "disk", home=tmp_path / "disk", before=before, journal_segment_bytes=1 << 16)
    assert "Read-only file system" in done.stderr


LIMITED = """
    # A limit on the size of files stands for a full disk: writes are cut short, then refused.
    import resource, sys
    from pathlib import Path
    from riverrun.wire.spool import spools
    from tests.journal.records import journal_in, numbers, state

    def limit(size): resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    journal = journal_in(Path(sys.argv[1]), mappable=sys.argv[2] == "mapped")
    journal.append(state(0))
    limit(10_001)
    for number in range(1, 2000): journal.append(state(number))
    assert not journal.flush()
    (spool,) = spools(Path(sys.argv[1]))
    found = numbers(spool)
    assert found == list(range(len(found))) and len(found) < 1000, len(found)
    limit(resource.RLIM_INFINITY)
    journal.append(state(2000))
    assert journal.flush()
    assert numbers(spool) == list(range(2001))
    journal.close()
"""


@pytest.mark.parametrize("kind", ["mapped", "written"])
def test_a_write_that_is_cut_short_leaves_no_hole(tmp_path: Path, kind: str) -> None:
    done = python(LIMITED, tmp_path / "journal", kind, home=tmp_path)
    assert done.stderr.count("File too large") == 1


def test_the_keeper_recovers_by_itself(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.write_text("a file where the home should be")
    code = """
        import os, sys, time
        from pathlib import Path
        from riverrun.base.config import settings
        from riverrun.client import journal
        from riverrun.wire.spool import spools
        from tests.journal.records import numbers, state
        for number in range(100): journal.append(state(number))
        os.unlink(sys.argv[1])
        deadline = time.monotonic() + 15
        while not spools(settings().journal_dir) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert journal.flush()
        assert numbers(spools(settings().journal_dir)[0]) == list(range(100))
    """
    done = python(code, home, home=home)
    assert "Not a directory" in done.stderr or "File exists" in done.stderr


def test_a_home_that_cannot_be_made_costs_the_record_not_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    code = """
        from riverrun.client import journal
        from tests.journal.records import log, state
        for number in range(20_000): journal.append(log(number))
        for number in range(100): journal.append(state(number))
        assert not journal.flush()
        print("work done")
    """
    done = python(code, home=tmp_path / "file" / "home", journal_memory_bytes=100_000)
    assert done.stdout == "work done\n"
    assert "cannot write its journal" in done.stderr
    assert "are lost" in done.stderr


def test_what_memory_cannot_hold_is_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    blocked = tmp_path / "blocked"
    blocked.write_text("")
    journal = journal_in(blocked, memory_bytes=100_000)
    for number in range(1, 10_001):
        journal.append(log(number))
    for number in range(10_001, 10_101):
        journal.append(state(number))
    blocked.unlink()
    assert journal.flush()
    (spool,) = spools(blocked)
    found = read(spool)
    records = [record for _, record in found]
    (lost,) = [record for record in records if isinstance(record, LostRecord)]
    assert lost.last == found[-1][0] == 10_100
    kept = [record for record in records if not isinstance(record, LostRecord)]
    assert len(kept) + lost.last - lost.first + 1 == 10_100
    assert [record.timestamp for record in kept if isinstance(record, StateRecord)] == list(range(10_001, 10_101))
    assert not [record for record in kept if isinstance(record, LogRecord)]
    journal.append(state(10_101))
    assert numbers(spool, 10_100) == [10_101]
    journal.close()
    assert capsys.readouterr().err.count("cannot write its journal") == 1


def test_no_stderr_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    code = """
        import sys
        sys.stderr = None
        from riverrun.client import journal
        from tests.journal.records import state
        journal.append(state(1))
        print("work done")
    """
    assert python(code, home=tmp_path / "file" / "home").stdout == "work done\n"


def test_a_mapped_segment_is_never_sparse(tmp_path: Path) -> None:
    journal = journal_in(tmp_path, segment_bytes=1 << 20)
    journal.append(state(1))
    (segment,) = journal.path.glob("*.seg")
    assert os.stat(segment).st_blocks * 512 >= 1 << 20
    journal.close()
    assert os.stat(segment).st_size < 200
