"""Batches of journal records on their way to the server, and whole spools of processes that are no more."""

import os
import socket
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from riverrun.client.journal.line import Line, LineError, Target
from riverrun.client.journal.tail import Tail
from riverrun.wire.presence import JournalAnswer, JournalBody, Process
from riverrun.wire.spool import Spool

MOST_RECORDS: Final = 2000
MOST_BYTES: Final = 1 << 20
TIMEOUT: Final = 30.0
_answers: Final = msgspec.json.Decoder(JournalAnswer)
_expectations: Final = msgspec.json.Decoder(dict[str, Any])


class Refusal(Exception):
    """The server is there and does not take the batch. `status` says why."""

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(f"{status} {body[:300].decode(errors='replace')}")
        self.status = status
        self.body = body


def post_batch(
    line: Line,
    target: Target,
    writer: bytes,
    records: list[tuple[int, bytes]],
    *,
    closed: bool,
    timeout: float = TIMEOUT,
) -> JournalAnswer:
    """Send a batch of a writer. Raises LineError or Refusal."""
    process = Process(pid=os.getpid(), host=socket.gethostname())
    body = msgspec.msgpack.encode(JournalBody(writer=writer, records=records, closed=closed, process=process))
    status, answer = line.post(target, "/journal", body, "application/x-msgpack", timeout)
    if status != 200:
        raise Refusal(status, answer)
    try:
        return _answers.decode(answer)
    except msgspec.MsgspecError:
        raise Refusal(status, answer) from None


def expected_by(body: bytes) -> int | None:
    try:
        expected = _expectations.decode(body).get("expected")
    except msgspec.MsgspecError:
        return None
    return expected if isinstance(expected, int) else None


def ship_spool(line: Line, target: Target, spool: Spool, *, closed: bool = True) -> bool:
    """Ship the spool of a process that is no more, and free it; False if the server does not take it now.

    With `closed` the server ends what the process has left unfinished; else whoever ships has a word to say about that first.
    """
    tail = Tail(spool.path, spool.released)
    last = spool.last_seq()
    limit = MOST_RECORDS
    try:
        while True:
            batch = tail.read(last, limit, MOST_BYTES)
            closing = not batch or batch[-1][0] >= last
            try:
                answer = post_batch(line, target, spool.writer, batch, closed=closing and closed)
            except Refusal as refusal:
                expected = expected_by(refusal.body) if refusal.status == 409 else None
                if expected is None or not spool.released < expected <= last + 1 or expected == tail.last + 1:
                    return False
                tail.go_to(expected - 1)
                continue
            except LineError:
                return False
            if answer.next_seq - 1 > tail.last:
                tail.go_to(min(answer.next_seq - 1, last))
            if closing:
                spool.release(last)
                return True
    finally:
        tail.close()


def dead_spools(spools: list[Spool], own: bytes) -> Iterator[Spool]:
    """Those of processes that have ended."""
    for spool in spools:
        if spool.writer != own and spool.is_dead():
            yield spool
