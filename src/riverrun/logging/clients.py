"""A client for the stream of log lines, under the name that users import."""

from riverrun.client.sockets import AsyncSubscriber, asubscribe_logs
from riverrun.wire.filters import LogFilter
from riverrun.wire.logs import Log

__all__ = ["PrefectLogsSubscriber", "get_logs_subscriber"]

PrefectLogsSubscriber = AsyncSubscriber


def get_logs_subscriber(
    filter: LogFilter | None = None, reconnection_attempts: int = 10, reconnect_on_clean_close: bool = False
) -> AsyncSubscriber[Log]:
    """The log lines that pass the filter, as they come: `async with ... as subscriber: async for log in subscriber`."""
    return asubscribe_logs(
        filter, reconnection_attempts=reconnection_attempts, reconnect_on_clean_close=reconnect_on_clean_close
    )
