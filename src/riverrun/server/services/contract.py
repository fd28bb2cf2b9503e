"""What a loop is: a pass that is done again and again, in a thread, by one replica at a time.

`run_once(store, now)` does a pass and returns how many things it did; `now` is in microseconds. It is a plain function, called
in a thread of the services: it reads with `store.read_now` and writes with `store.write_now(..., bulk=True)`, and must be
idempotent, for two replicas may do the same pass at once for a moment (RELIABILITY M9). Tests call it with an instant of their
own. A pass that is long stops by itself after some seconds and returns a count above 0 with `again=True` on its loop: the next
pass then follows at once.
"""

from collections.abc import Callable

from msgspec import Struct

from riverrun.server.store import Store


class Loop(Struct, frozen=True, kw_only=True):
    """A service. `topics` of the hub wake it before its interval has passed."""

    name: str
    #: one sentence for `riverrun server services ls`
    doc: str
    #: seconds between the beginnings of two passes
    interval: float
    run_once: Callable[[Store, int], int]
    topics: tuple[str, ...] = ()
    #: False: every process runs it for itself (the spools of a machine), not one for all
    one_for_all: bool = True
    #: a pass that did something is followed by the next one at once
    again: bool = False
    #: when there is something to do next (microseconds), if that is before the interval has passed
    due: Callable[[Store], int | None] | None = None
