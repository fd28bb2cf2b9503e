"""Records that wait in memory while the disk takes none. Bounded: log lines are given up first, and what is given up is counted."""

from collections import deque


class Backlog:
    """Payloads in order. Not thread-safe: the writer's lock guards it."""

    __slots__ = ("_items", "_limit", "_size", "lost")

    def __init__(self, limit: int) -> None:
        self._items: deque[tuple[bytes, bool]] = deque()
        self._limit = limit
        self._size = 0
        #: how many records were given up
        self.lost = 0

    def __len__(self) -> int:
        return len(self._items)

    def add(self, payload: bytes, *, is_log: bool) -> None:
        """Keep a record if there is room for it or if log lines can make room."""
        if self._size + len(payload) > self._limit and not is_log:
            self._drop_logs()
        if self._size + len(payload) > self._limit:
            self.lost += 1
            return
        size = len(payload)  # before the sum: a signal handler may add between a call and the sum's end
        self._items.append((payload, is_log))
        self._size += size

    def first(self) -> bytes | None:
        return self._items[0][0] if self._items else None

    def drop_first(self) -> None:
        size = len(self._items.popleft()[0])
        self._size -= size

    def _drop_logs(self) -> None:
        kept = deque(item for item in self._items if not item[1])
        self.lost += len(self._items) - len(kept)
        self._items = kept
        self._size = sum(len(payload) for payload, _ in kept)
