"""Which types of workers there are: ours, and those that installed packages bring along."""

from importlib import import_module
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Final

from riverrun.base.errors import InputError, ObjectNotFound

if TYPE_CHECKING:
    from riverrun.workers.base import BaseWorker

#: packages name their classes in entry points of this group, as `type = "package.module:Class"`
GROUP: Final = "riverrun.workers"
_OWN: Final = {"process": "riverrun.workers.process:ProcessWorker"}
#: how pools without a type, or of an older kind, are called
_PLAIN: Final = frozenset({"prefect-agent"})


def worker_class(kind: str | None, pool_name: str) -> "type[BaseWorker]":
    """The class of workers of a type; without one of the pool's, or process where there is no pool yet."""
    kind = kind or _type_of(pool_name)
    if kind in _OWN:
        module, _, name = _OWN[kind].partition(":")
        found: type[BaseWorker] = getattr(import_module(module), name)
        return found
    others = {each.name: each for each in entry_points(group=GROUP)}
    if kind not in others:
        known = ", ".join(sorted({*_OWN, *others}))
        raise InputError(f"There is no type of workers {kind!r} here. There are: {known}.")
    loaded: type[BaseWorker] = others[kind].load()
    return loaded


def _type_of(pool_name: str) -> str:
    from riverrun.client.calls.work import read_work_pool
    from riverrun.client.http import send

    try:
        kind = send(read_work_pool(pool_name)).type
    except ObjectNotFound:
        return "process"
    return "process" if kind in _PLAIN else kind
