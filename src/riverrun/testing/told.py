"""The journal of a test harness, which tells a server of the harness what happened once there is one."""

import contextlib
import threading
from pathlib import Path

from riverrun.base.errors import RiverrunError
from riverrun.base.ids import uuid7
from riverrun.client import location
from riverrun.client.call import MSGPACK, post
from riverrun.client.journal import MemoryJournal
from riverrun.wire.journal import encode
from riverrun.wire.presence import JournalAnswer, JournalBody


class ToldJournal(MemoryJournal):
    """Records in memory; a server that runs for `home` is told of them before it is asked anything."""

    def __init__(self, home: Path) -> None:
        super().__init__()
        self._home = home
        self._writer = uuid7().bytes
        self._told = 0
        self._telling = threading.RLock()
        self._busy = False

    def tell_server(self, _timeout: float) -> bool:
        """Send what the server does not know yet; true where there is none."""
        import msgspec

        from riverrun.client.http import send

        server = location.running_server(self._home)
        if server is None:
            return True
        with self._telling:
            new = self.records[self._told :]
            if not new or self._busy:  # `send` asks again whether the server knows all
                return True
            numbered = [(number, encode(record)) for number, record in enumerate(new, self._told + 1)]
            body = msgspec.msgpack.encode(JournalBody(writer=self._writer, records=numbered))
            self._busy = True
            try:
                with contextlib.suppress(RiverrunError):  # the call that is about to be made will tell
                    send(post("/journal", body, JournalAnswer, content_type=MSGPACK), base_url=f"{server['url']}/api")
                    self._told += len(new)
                    return True
            finally:
                self._busy = False
        return False
