"""Events: what is sent, what the run around adds, and that sending never stops a flow."""

import asyncio
import threading
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from pydantic import BaseModel, ValidationError

from riverrun import flow, get_client, task
from riverrun.base.errors import EventTooLarge, RequestRefused, UnavailableError
from riverrun.context import FlowRunContext
from riverrun.events import Event, RelatedResource, Resource, ResourceSpecification, emit, emit_event
from riverrun.events.emit import flush_events
from riverrun.events.related import related_resources_from_run_context

X = {"prefect.resource.id": "x.1"}


@pytest.fixture
def sent(monkeypatch):
    """The events that go out, as they are given to the server."""
    events = []
    send = emit._send

    def noting(batch):
        send(batch)
        events.extend(each.event for each in batch)

    monkeypatch.setattr(emit, "_send", noting)
    return events


def test_an_event_reaches_the_server(server, sent):
    made = emit_event("my.event", X, payload={"a": [1]}, id=uuid4())
    assert flush_events(5)
    assert sent == [made]
    assert (made.event, made.resource.id, made.payload) == ("my.event", "x.1", {"a": [1]})


def test_the_run_around_is_related(server, sent):
    @task(tags=["of-task"])
    def inside():
        return emit_event("in.task", X)

    @flow
    def outside():
        return emit_event(
            "in.flow", X, related=[{"prefect.resource.id": "y", "prefect.resource.role": "mine"}]
        ), inside()

    of_flow, of_task = outside()
    assert [each.role for each in of_flow.related] == ["mine", "flow-run"]
    assert [each.role for each in of_task.related] == ["flow-run", "task-run", "tag"]
    assert of_task.resource_in_role["flow-run"].id == of_flow.resource_in_role["flow-run"].id
    assert of_task.resource_in_role["tag"].id == "prefect.tag.of-task"
    assert emit_event("outside", X).related == []


def test_what_a_run_is_related_to_with_names(server):
    @flow(name="around")
    def around():
        pass

    async def asks():
        async with get_client() as client:
            assert await related_resources_from_run_context(client) == []
            run = await client.create_flow_run(around, name="r", tags=["b", "a"])
            with FlowRunContext.model_construct(flow_run=run):
                told = await related_resources_from_run_context(client)
                return told, await related_resources_from_run_context(client, exclude={"prefect.tag.a"})

    told, less = asyncio.run(asks())
    assert [(each.role, each.name) for each in told] == [
        ("flow-run", "r"),
        ("flow", "around"),
        ("tag", None),
        ("tag", None),
    ]
    assert [each.id for each in less] == [each.id for each in told if each.id != "prefect.tag.a"]


def test_following(server):
    first = emit_event("one", X)
    assert emit_event("two", X, follows=first).follows == first.id
    late = first.occurred + timedelta(minutes=6)
    assert emit_event("three", X, follows=first, occurred=late).follows is None


def test_without_a_server_events_are_dropped(alone):
    assert emit_event("lost", X) is None


def test_bad_events_are_refused(server):
    with pytest.raises(ValueError, match=r"prefect\.resource\.id"):
        emit_event("x", {"name": "no id"})
    with pytest.raises(ValueError, match=r"prefect\.resource\.role"):
        emit_event("x", X, related=[X])
    with pytest.raises(EventTooLarge):
        emit_event("x", X, payload={"text": "x" * 1_600_000})
    with pytest.raises(ValueError, match="maximum number of related"):
        Event(event="x", resource=X, related=[{**X, "prefect.resource.role": "r"}] * 101)


def test_events_wait_while_the_server_is_away(server, monkeypatch):
    """In their order, and together with those that come meanwhile."""
    tried, arrived = threading.Event(), []
    monkeypatch.setattr(emit, "_LONGEST_PAUSE", 0.01)

    def send(batch):
        if not tried.is_set():
            tried.set()
            raise UnavailableError("away")
        arrived.extend(each.event.event for each in batch)

    monkeypatch.setattr(emit, "_send", send)
    emit_event("first", X)
    assert tried.wait(5)
    emit_event("second", X)
    assert flush_events(5)
    assert arrived == ["first", "second"]


def test_events_that_are_refused_do_not_stop_others(server, monkeypatch):
    arrived = []

    def send(batch):
        if batch[0].event.event == "bad":
            raise RequestRefused("no")
        arrived.extend(each.event.event for each in batch)

    monkeypatch.setattr(emit, "_send", send)
    emit_event("bad", X)
    assert flush_events(5)
    emit_event("good", X)
    assert flush_events(5)
    assert arrived == ["good"]


def test_only_so_many_wait(server, monkeypatch):
    monkeypatch.setattr(emit, "MOST_WAITING", 2)
    monkeypatch.setattr(emit, "_outbox", outbox := emit.Outbox())
    monkeypatch.setattr(outbox, "_thread", threading.current_thread())  # none that takes them out
    for _ in range(4):
        emit_event("x", X)
    assert len(outbox._waiting) == 2
    assert outbox._dropped == 2
    outbox.begin_empty()


# -- the schemas


def test_resources():
    resource = Resource({"prefect.resource.id": f"prefect.flow-run.{(given := uuid4())}", "prefect.resource.name": "n"})
    assert (resource.name, resource.prefect_object_id("prefect.flow-run")) == ("n", given)
    assert Resource.model_validate(resource) is resource
    assert resource.root == resource.model_dump() == dict(resource)
    with pytest.raises(ValueError, match="does not start with"):
        resource.prefect_object_id("prefect.flow")
    assert RelatedResource({**resource, "prefect.resource.role": "r"}).role == "r"
    assert resource.has_all_labels({"prefect.resource.name": "n"})
    assert not resource.has_all_labels({"prefect.resource.name": "m"})
    assert Resource.model_validate_json(resource.model_dump_json()) == resource
    for wrong in (
        {},
        {"prefect.resource.id": ""},
        11,
        {"prefect.resource.id": "x", **{str(n): "" for n in range(500)}},
    ):
        with pytest.raises(ValidationError, match="Resource"):
            Resource.model_validate(wrong)
    with pytest.raises(ValidationError, match=r"prefect\.resource\.role"):
        RelatedResource(resource)
    with pytest.raises(ValidationError, match="related"):
        Event(event="x", resource=X, related=[{**X, "prefect.resource.role": "r"}] * 101)

    class Holder(BaseModel):
        resource: Resource

    assert Holder(resource=dict(resource)).resource.id == resource.id
    with pytest.raises(ValueError, match="resource"):
        Holder(resource={})


def test_labels_are_found():
    event = Event(
        event="x",
        resource={**X, "color": "red", "related:odd:color": "own"},
        related=[{"prefect.resource.id": "y", "prefect.resource.role": "r", "color": "blue"}],
        occurred=datetime(2026, 1, 1, tzinfo=UTC),
    )
    assert event.find_resource_label("color") == "red"
    assert event.find_resource_label("related:r:color") == "blue"
    assert event.find_resource_label("related:none:color") is None
    assert event.find_resource_label("related:odd:color") == "own"
    assert [each.id for each in event.involved_resources] == ["x.1", "y"]
    assert event.resources_in_role["none"] == []
    assert event.size_bytes == len(event.model_dump_json())


@pytest.mark.parametrize(
    ("specification", "matches"),
    [
        ({}, True),
        ({"prefect.resource.id": "x.1"}, True),
        ({"prefect.resource.id": "x.*"}, True),
        ({"prefect.resource.id": ["y.*", "x.1"]}, True),
        ({"prefect.resource.id": "!x.1"}, False),
        ({"prefect.resource.id": "!y.*"}, True),
        ({"prefect.resource.id": "x.1", "other": "*"}, False),
    ],
)
def test_specifications(specification, matches):
    assert ResourceSpecification(specification).matches(X) is matches
    assert ResourceSpecification(specification).includes([X]) is matches
    assert ResourceSpecification({"prefect.resource.id": "x.*"}).matches_every_resource_of_kind("x")


def test_a_client_and_a_subscriber(server):
    """What one sends, the other gets."""
    from riverrun.events import get_events_client, get_events_subscriber

    async def main():
        wanted = {"event": {"prefix": ["face."]}}
        async with get_events_subscriber(filter=wanted) as events, get_events_client() as client:
            await client.emit(Event(event="face.sent", resource=X))  # before the stream is asked for the first time
            return await anext(events)

    received = asyncio.run(main())
    assert (received.event, received.resource.id) == ("face.sent", "x.1")
    assert received.received >= received.occurred
