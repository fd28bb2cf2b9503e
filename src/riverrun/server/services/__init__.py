"""Background services: loops beside the API. Every loop of the server is named in `LOOPS`.

A loop is a `services.contract.Loop`; the module that a line names is imported when the services start.
"""

from importlib import import_module

from riverrun.server.services.contract import Loop

#: module and name of every loop, alphabetical by module
LOOPS: tuple[tuple[str, str], ...] = (
    ("riverrun.server.concurrency.expiry", "LOOP"),
    ("riverrun.server.services.attempts", "LOOP"),
    ("riverrun.server.services.cancellations", "LOOP"),
    ("riverrun.server.services.heartbeats", "LOOP"),
    ("riverrun.server.services.late_runs", "LOOP"),
    ("riverrun.server.services.leases", "LOOP"),
    ("riverrun.server.services.outbox_cleaning", "LOOP"),
    ("riverrun.server.services.pauses", "LOOP"),
    ("riverrun.server.services.retention", "LOOP"),
    ("riverrun.server.services.scheduler", "LOOP"),
    ("riverrun.server.services.spools", "LOOP"),
    ("riverrun.server.services.sums", "LOOP"),
)


def all_loops() -> list[Loop]:
    """The loops of this version, ready to be run."""
    loops: list[Loop] = [getattr(import_module(module), name) for module, name in LOOPS]
    names = [loop.name for loop in loops]
    assert len(set(names)) == len(names), f"two loops have one name: {names}"
    return loops
