"""`emit_event`: tells the server that something happened, without waiting for it.

Events go out in batches from a thread of their own. While the server is away they wait in memory, as many as `MOST_WAITING`;
at the end of the process they get a last chance. Without any server nobody could react to them, so they are dropped.
"""

import atexit
import logging
import os
import threading
import time
from collections import deque
from contextvars import Context, copy_context
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from riverrun.base.clock import now
from riverrun.base.config import settings
from riverrun.base.errors import EventTooLarge, RiverrunError, UnavailableError
from riverrun.base.ids import uuid7
from riverrun.client.location import api_url
from riverrun.context import FlowRunContext, TaskRunContext
from riverrun.events.schemas.events import RESOURCE_ID, RESOURCE_NAME, RESOURCE_ROLE, Event, RelatedResource

LARGEST = 1_500_000
MOST_WAITING = 10_000
_BATCH = 50
#: events farther apart than this do not follow each other
_TIGHT = timedelta(minutes=5)
_LONGEST_PAUSE = 30.0

_logger = logging.getLogger("riverrun.events")


def emit_event(
    event: str,
    resource: dict[str, str],
    occurred: datetime | None = None,
    related: list[dict[str, str]] | list[RelatedResource] | None = None,
    payload: dict[str, Any] | None = None,
    id: UUID | None = None,
    follows: Event | None = None,
    **_ignored: Any,
) -> Event | None:
    """Send an event; gives it, or None where there is no server.

    The run around, its flow and its tags are added to the related resources. Raises EventTooLarge, and ValueError for
    resources without an id.
    """
    occurred = occurred or now()
    made = Event(
        event=event,
        resource={**resource},
        occurred=occurred,
        related=[{**each} for each in related or ()],
        payload=payload or {},
        id=id or uuid7(),
        follows=follows.id if follows is not None and abs(occurred - follows.occurred) < _TIGHT else None,
    )
    told = {each.id for each in made.involved_resources}
    made.related = [*made.related, *(each for each in related_to_run() if each.id not in told)]
    size = made.size_bytes
    if size > LARGEST:
        raise EventTooLarge(size, LARGEST)
    url = api_url()
    if url is None:
        _logger.debug("There is no server, the event %r is dropped", event)
        return None
    _outbox.put(_Waiting(made, url, copy_context()))
    return made


def flush_events(timeout: float | None = None) -> bool:
    """Wait until all events are with the server; False if some still wait after `timeout` seconds."""
    return _outbox.flush(timeout)


# -- what the run around adds


def related_to_run() -> list[RelatedResource]:
    """The runs that the current code belongs to, their flow and deployment, and their tags."""
    flow_run_context, task_run_context = FlowRunContext.get(), TaskRunContext.get()
    flow_run = None if flow_run_context is None else flow_run_context.flow_run
    task_run = None if task_run_context is None else task_run_context.task_run
    found: list[RelatedResource] = []
    tags: set[str] = set()
    if flow_run is not None:
        found.append(as_related("flow-run", flow_run.id, flow_run.name))
        tags.update(flow_run.tags)
    elif task_run is not None and task_run.flow_run_id is not None:
        found.append(as_related("flow-run", task_run.flow_run_id))
    if task_run is not None:
        found.append(as_related("task-run", task_run.id, task_run.name))
        tags.update(task_run.tags)
    if flow_run is not None:
        flow = None if flow_run_context is None else flow_run_context.flow
        if flow_run.flow_id is not None:
            found.append(as_related("flow", flow_run.flow_id, None if flow is None else flow.name))
        if flow_run.deployment_id is not None:
            found.append(as_related("deployment", flow_run.deployment_id))
    return [*found, *(as_related("tag", tag) for tag in sorted(tags))]


def as_related(kind: str, object_id: object, name: str | None = None, role: str | None = None) -> RelatedResource:
    """A resource of one of the house's kinds."""
    labels = {RESOURCE_ID: f"prefect.{kind}.{object_id}", RESOURCE_ROLE: role or kind}
    if name is not None:
        labels[RESOURCE_NAME] = name
    return RelatedResource(labels)


# -- on their way


class _Waiting(NamedTuple):
    event: Event
    url: str
    #: settings of the code that emitted it: keys, headers
    context: Context


class Outbox:
    """Events on their way to the server, and the thread that sends them. A forked child begins with an empty one."""

    def __init__(self) -> None:
        self.begin_empty()

    def begin_empty(self) -> None:
        """Forget what waits, and the thread."""
        self._waiting: deque[_Waiting] = deque()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._sending = 0
        self._dropped = 0
        self._closing = False

    def put(self, waiting: _Waiting) -> None:
        """Let an event go out soon."""
        with self._changed:
            if len(self._waiting) >= MOST_WAITING:
                self._dropped += 1
                if self._dropped == 1:
                    _logger.warning("More than %d events wait for the server; further ones are dropped", MOST_WAITING)
                return
            self._waiting.append(waiting)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="riverrun-events", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until nothing waits any more; False if something does after `timeout` seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._waiting and not self._sending, timeout)

    def close(self) -> None:
        """At the end of the process: what waits gets the time that the journal gets."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        if self._thread is not None and not self.flush(settings().journal_exit_seconds):
            _logger.warning("%d events could not be sent before the process ended", len(self._waiting) + self._sending)

    def _run(self) -> None:
        failures = 0
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting)
                batch = self._take()
            try:
                batch[0].context.run(_send, batch)
                failures = 0
            except UnavailableError as error:
                failures += 1
                if failures == 1:
                    _logger.debug("The server is away, events wait: %s", error)
                with self._changed:
                    self._waiting.extendleft(reversed(batch))
                    self._sending = 0
                self._pause(failures)
                continue
            except RiverrunError as error:
                _logger.warning("The server refused %d events: %s", len(batch), error)
            except Exception:
                # the edge of this thread: it must live on for the events to come
                _logger.exception("%d events could not be sent", len(batch))
            with self._changed:
                self._sending = 0
                self._changed.notify_all()

    def _take(self) -> list[_Waiting]:
        """The next events that go to one server."""
        batch = [self._waiting.popleft()]
        while self._waiting and len(batch) < _BATCH and self._waiting[0].url == batch[0].url:
            batch.append(self._waiting.popleft())
        self._sending = len(batch)
        return batch

    def _pause(self, failures: int) -> None:
        """Wait longer after each failure; at the end of the process not long."""
        until = time.monotonic() + min(0.5 * 2.0**failures, _LONGEST_PAUSE)
        with self._changed:
            while not self._closing and (left := until - time.monotonic()) > 0:
                self._changed.wait(left)
        if self._closing:
            time.sleep(0.2)


def _send(batch: list[_Waiting]) -> None:
    from riverrun.client.calls.events import create_events
    from riverrun.client.http import send

    send(create_events([each.event for each in batch]), retries=0, base_url=batch[0].url)


_outbox = Outbox()
atexit.register(_outbox.close)
os.register_at_fork(after_in_child=_outbox.begin_empty)
