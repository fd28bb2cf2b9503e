"""Calls about log lines."""

from collections.abc import Iterable
from typing import Any

from riverrun.client.call import Call, at, post
from riverrun.wire.flow_runs import LogCreate
from riverrun.wire.logs import Log
from riverrun.wire.requests import LogsFilterBody


def create_logs(logs: Iterable[LogCreate | dict[str, Any]]) -> Call[None]:
    return post(at("logs", ""), list(logs))


def read_logs(body: LogsFilterBody | None = None) -> Call[list[Log]]:
    return post(at("logs", "filter"), body or LogsFilterBody(), list[Log])
