"""Records, journals and child processes for the tests of the journal."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

from riverrun.client.journal.writer import Journal, Options
from riverrun.wire.journal import TASK_RUN, LogRecord, LostRecord, StateRecord, decode
from riverrun.wire.spool import Spool

RUN = bytes(range(16))


def state(number: int, **fields: Any) -> StateRecord:
    return StateRecord(TASK_RUN, RUN, RUN, 3, number, **fields)


def log(number: int, message: str = "a line") -> LogRecord:
    return LogRecord(RUN, None, number, 20, "flow", message)


def journal_in(directory: Path, **options: Any) -> Journal:
    return Journal(Options(directory, **{"segment_bytes": 1 << 16, **options}))


def read(spool: Spool, after: int = 0) -> list[tuple[int, Any]]:
    return [(seq, decode(payload)) for seq, payload in spool.records(after)]


def numbers(spool: Spool, after: int = 0) -> list[int]:
    """The timestamps of the states in a spool; fails on anything lost."""
    found = read(spool, after)
    lost = [record for _, record in found if isinstance(record, LostRecord)]
    assert not lost, lost
    assert [seq for seq, _ in found] == list(range(after + 1, after + 1 + len(found)))
    return [record.timestamp for _, record in found]


def python(code: str, *arguments: object, home: Path, before: list[str] | None = None, **settings: object) -> Any:
    """Run code in a fresh interpreter with its own home; fails if it does, with its errors. Returns the finished process."""
    names = {f"RIVERRUN_{name.upper()}": str(value) for name, value in {"home": home, **settings}.items()}
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [*(before or []), sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": f"{root}", **names},
        capture_output=True,
        text=True,
        timeout=18,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done
