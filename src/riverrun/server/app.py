"""The composition root: which nouns there are, and how a store becomes an application. The only place that wires."""

from importlib import import_module
from typing import Any

from riverrun.server.http.edge import Edge
from riverrun.server.http.guard import Guard
from riverrun.server.http.table import Route
from riverrun.server.store import Store

#: every folder with a `routes.py`, and modules of routes by their dotted path
NOUNS = (
    "admin",
    "flows",
    "runs.reading_routes",
)
PREFIX = "/api"


def all_routes() -> list[Route]:
    """The whole route table, with the paths under which it is served."""
    found = []
    for noun in NOUNS:
        module = noun if "." in noun else f"{noun}.routes"
        for route in import_module(f"riverrun.server.{module}").routes:
            route.path = route.path if route.path.startswith(PREFIX + "/") else PREFIX + route.path
            found.append(route)
    return found


def make_app(store: Store, *, hosts: frozenset[str] = frozenset(), state: dict[str, Any] | None = None) -> Edge:
    """The ASGI application over an open store."""
    return Edge(all_routes(), store, Guard(hosts), state if state is not None else {})
