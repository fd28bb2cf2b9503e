"""What the server measures of itself, for Prometheus.

Counting must cost next to nothing on every request, so it is done in plain numbers; the library is imported when somebody asks.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from riverrun.server.db.writer import GroupWriter
from riverrun.server.http.edge import Edge
from riverrun.server.services.loops import Services

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


class Meter:
    """Counts requests by method, route and status; latencies by method and route."""

    def __init__(self) -> None:
        self.requests: dict[tuple[str, str, int], int] = defaultdict(int)
        self.seconds: dict[tuple[str, str], list[float]] = {}

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        self.requests[method, route, status] += 1
        held = self.seconds.get((method, route))
        if held is None:
            held = self.seconds[method, route] = [0.0] * (len(_BOUNDS) + 2)
        held[bisect_left(_BOUNDS, seconds)] += 1
        held[-1] += seconds


def exposition(state: dict[str, Any]) -> bytes:
    """The page that Prometheus reads."""
    from prometheus_client import CollectorRegistry, generate_latest
    from prometheus_client.platform_collector import PlatformCollector
    from prometheus_client.process_collector import ProcessCollector

    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    registry.register(_Collector(state["edge"], state["meter"], state.get("services")))
    return bytes(generate_latest(registry))


class _Collector:
    def __init__(self, edge: Edge, meter: Meter, services: Services | None) -> None:
        self.edge = edge
        self.meter = meter
        self.services = services

    def collect(self) -> Iterator[Any]:
        yield from self._requests()
        yield from self._store()
        if self.services is not None and self.services.loops:
            yield from self._loops(self.services)

    def _requests(self) -> Iterator[Any]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

        requests = CounterMetricFamily("riverrun_requests", "Requests answered.", labels=("method", "route", "status"))
        for (method, route, status), number in list(self.meter.requests.items()):
            requests.add_metric((method, route, str(status)), number)
        yield requests
        latency = HistogramMetricFamily(
            "riverrun_request_seconds", "Seconds from a request's first byte to its answer.", labels=("method", "route")
        )
        for labels, held in list(self.meter.seconds.items()):
            total = 0.0
            buckets: list[tuple[str, float]] = []
            for bound, count in zip((*map(str, _BOUNDS), "+Inf"), held[:-1], strict=True):
                total += count
                buckets.append((bound, total))
            latency.add_metric(labels, buckets, held[-1])
        yield latency
        yield GaugeMetricFamily("riverrun_sockets", "Sockets that are open.", value=self.edge.sockets)

    def _store(self) -> Iterator[Any]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        store = self.edge.store
        waiting = GaugeMetricFamily("riverrun_writer_queue", "Units that wait for the writer.", labels=("queue",))
        for queue, number in store.waiting().items():
            waiting.add_metric((queue,), number)
        yield waiting
        writer = store.writer
        if isinstance(writer, GroupWriter):
            yield CounterMetricFamily("riverrun_writer_groups", "Groups of units committed.", value=writer.groups)
            yield CounterMetricFamily("riverrun_writer_units", "Units in these groups.", value=writer.units)
        for name, counted in sorted(store.counters.items()):
            yield CounterMetricFamily(
                f"riverrun_{name}", f"What was counted as {name.replace('_', ' ')}.", value=counted
            )

    def _loops(self, services: Services) -> Iterator[Any]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        passes = CounterMetricFamily("riverrun_loop_passes", "Passes of a loop.", labels=("loop",))
        done = CounterMetricFamily("riverrun_loop_done", "Things that a loop did.", labels=("loop",))
        seconds = CounterMetricFamily("riverrun_loop_seconds", "Seconds that a loop worked.", labels=("loop",))
        failures = GaugeMetricFamily("riverrun_loop_failures", "Failures of a loop in a row.", labels=("loop",))
        leads = GaugeMetricFamily("riverrun_loop_leads", "Whether this process runs the loop.", labels=("loop",))
        for loop in services.loops:
            health = services.health[loop.name]
            labels = (loop.name,)
            passes.add_metric(labels, health.passes)
            done.add_metric(labels, health.done)
            seconds.add_metric(labels, health.seconds)
            failures.add_metric(labels, health.failures)
            leads.add_metric(labels, float(services.leads(loop)))
        yield from (passes, done, seconds, failures, leads)
