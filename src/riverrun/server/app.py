"""The composition root: which nouns there are, and how a store becomes an application. The only place that wires."""

import re
from importlib import import_module
from typing import Any

import msgspec

from riverrun.server.http.edge import Edge
from riverrun.server.http.guard import Guard
from riverrun.server.http.metrics import Meter
from riverrun.server.http.table import PUBLIC, Route
from riverrun.server.store import Store

#: every folder with a `routes.py`, and modules of routes by their dotted path
NOUNS = (
    "admin",
    "admin.catalogue_routes",
    "artifacts",
    "automations",
    "blocks",
    "claims",
    "concurrency",
    "deployments",
    "events",
    "flows",
    "health",
    "inputs",
    "journal",
    "logs",
    "runs.finding_routes",
    "runs.flow_run_routes",
    "runs.reading_routes",
    "runs.task_run_routes",
    "task_workers",
    "runs.ui_routes",
    "searches",
    "variables",
    "work.pool_routes",
    "work.queue_routes",
)
PREFIX = "/api"
#: also served without the prefix, where tools look for them
AT_ROOT = ("/health", "/metrics", "/openapi.json", "/ready")
_PERMISSION = re.compile(r"[a-z_]+:[a-z_]+")


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
    routes = all_routes()
    check_permissions(routes)
    served = [
        msgspec.structs.replace(route, path=path) for route in routes for path in AT_ROOT if route.path == PREFIX + path
    ]
    state = {} if state is None else state
    edge = Edge(routes + served, store, Guard(hosts), state)
    meter = Meter()
    edge.observe = meter.observe
    state |= {"edge": edge, "meter": meter, "routes": routes}
    return edge


def check_permissions(routes: list[Route]) -> None:
    """Refuse to serve a route without a well-formed permission: nothing is open by being forgotten."""
    for route in routes:
        if route.permission != PUBLIC and not _PERMISSION.fullmatch(route.permission):
            raise ValueError(
                f"{route.method} {route.path} declares no permission (<noun>:<verb>): {route.permission!r}"
            )
