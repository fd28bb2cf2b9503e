"""Artifacts: what is kept for each kind, whose they are, and that they need no server."""

import asyncio
import json
from uuid import UUID

import pytest
import sqlalchemy as sa

from riverrun import artifacts, flow, task
from riverrun.artifacts import Artifact, LinkArtifact, ProgressArtifact, TableArtifact
from riverrun.wire.journal import ArtifactRecord, FlowRunRecord, TaskRunRecord

#: most tests here need no run around
pytestmark = pytest.mark.filterwarnings("ignore:An artifact was made outside:FutureWarning")


def kept(server, artifact_id):
    return server.get(f"/artifacts/{artifact_id}").json()


@pytest.mark.parametrize(
    ("make", "type_", "data"),
    [
        (lambda: artifacts.create_markdown_artifact("# Hi", key="md", description="d"), "markdown", "# Hi"),
        (
            lambda: artifacts.create_link_artifact("http://x", "X", key="link", description="d"),
            "markdown",
            "[X](http://x)",
        ),
        (
            lambda: artifacts.create_link_artifact("http://x", key="link", description="d"),
            "markdown",
            "[http://x](http://x)",
        ),
        (
            lambda: artifacts.create_table_artifact([{"a": float("nan"), "b": 1}], key="table", description="d"),
            "table",
            '[{"a": null, "b": 1}]',
        ),
        (
            lambda: artifacts.create_table_artifact({"a": [1, float("inf")]}, key="table", description="d"),
            "table",
            '{"a": [1, null]}',
        ),
        (lambda: artifacts.create_image_artifact("http://i", key="image", description="d"), "image", "http://i"),
        (lambda: artifacts.create_progress_artifact(33.0, key="bar", description="d"), "progress", 33.0),
        (lambda: artifacts.create_progress_artifact(-5, key="bar", description="d"), "progress", 0.0),
    ],
)
def test_kinds(server, make, type_, data):
    found = kept(server, make())
    assert (found["type"], found["data"], found["description"]) == (type_, data, "d")


def test_they_belong_to_the_run_around(server):
    @task
    def inside():
        return artifacts.create_markdown_artifact("task", key="inside")

    @flow
    def outside():
        return artifacts.create_markdown_artifact("flow", key="outside"), inside(return_state=True), inside()

    of_flow, state, of_task = outside()
    first, second = kept(server, of_flow), kept(server, of_task)
    assert first["flow_run_id"] is not None
    assert first["task_run_id"] is None
    assert second["flow_run_id"] == first["flow_run_id"]
    assert second["task_run_id"] is not None
    assert kept(server, state.result())["task_run_id"] == str(state.state_details.task_run_id)
    bare = kept(server, artifacts.create_markdown_artifact("nobody's"))
    assert (bare["flow_run_id"], bare["task_run_id"], bare["key"]) == (None, None, None)


def test_progress_moves(server):
    bar = artifacts.create_progress_artifact(0.0, key="moving", description="first")
    assert artifacts.update_progress_artifact(bar, 50.5) == bar
    assert (kept(server, bar)["data"], kept(server, bar)["description"]) == (50.5, "first")
    artifacts.update_progress_artifact(bar, 400, description="second")
    assert (kept(server, bar)["data"], kept(server, bar)["description"]) == (100.0, "second")


def test_get_and_get_or_create(server):
    assert Artifact.get("absent") is None
    made, new = Artifact.get_or_create("once", description="d", data={"a": 1})
    assert new
    again, new = Artifact.get_or_create("once")
    assert (again.id, new) == (made.id, False)
    assert json.loads(Artifact.get("once").data) == {"a": 1}
    link, new = LinkArtifact.get_or_create("a-link", link="http://x")
    assert (link.data, new) == ("[http://x](http://x)", True)
    artifacts.create_markdown_artifact("newer", key="once")
    assert Artifact.get("once").data == "newer"


@pytest.mark.parametrize("key", ["Upper", "under_score", "with space", "ü"])
def test_bad_keys_are_refused(alone, key):
    with pytest.raises(ValueError, match="lowercase letters, numbers, and dashes"):
        artifacts.create_markdown_artifact("x", key=key)


def test_formats(alone):
    assert TableArtifact(table=[[1, "é"]]).format() == '[[1, "\\u00e9"]]'
    assert ProgressArtifact(progress=7).format() == 7.0
    assert Artifact(data={"a": 1}).format() == '{"a": 1}'
    assert asyncio.run(LinkArtifact(link="x").aformat()) == "[x](x)"

    async def asks():
        link = LinkArtifact(link="x")
        return await link.format(), link.format(_sync=True)

    assert asyncio.run(asks()) == ("[x](x)", "[x](x)")


def test_a_kind_of_ones_own(server):
    class Note(Artifact, kw_only=True):
        text: str

        def format(self):
            return self.text.upper()

    async def leaves():
        return await Note(text="a", key="note").acreate()

    assert asyncio.run(leaves()).data == "A"
    assert Note(text="b", key="note").create().data == "B"


def test_outside_of_runs_is_deprecated(server):
    with pytest.warns(FutureWarning, match="outside of flow and task runs"):
        artifacts.create_link_artifact("x")
    with pytest.warns(FutureWarning):
        asyncio.run(artifacts.acreate_link_artifact("x"))


def test_async_code_awaits(server):
    @flow
    async def leaving():
        bar = await artifacts.create_progress_artifact(1.0)
        await artifacts.aupdate_progress_artifact(bar, 2.0)
        await artifacts.update_progress_artifact(bar, 3.0)
        await artifacts.acreate_table_artifact([[1]], key="from-async")
        return bar, await Artifact.get("from-async"), await LinkArtifact(link="x", key="async-link").create()

    bar, table, link = asyncio.run(leaving())
    assert kept(server, bar)["data"] == 3.0
    assert table.data == "[[1]]"
    assert kept(server, link.id)["data"] == "[x](x)"


# -- without a server


def test_without_a_server_they_go_into_the_journal(alone):
    @task
    def inside():
        return artifacts.create_table_artifact([[1]], key="table")

    @flow
    def leaving():
        bar = artifacts.create_progress_artifact(10, key="bar", description="d")
        artifacts.update_progress_artifact(bar, 20)
        return bar, inside()

    bar, table = leaving()
    records = [record for record in alone.records if isinstance(record, ArtifactRecord)]
    (flow_run,) = [record.id for record in alone.records if isinstance(record, FlowRunRecord)]
    (task_run,) = [record.id for record in alone.records if isinstance(record, TaskRunRecord)]
    made, moved, other = records
    assert UUID(bytes=made.id) == bar
    assert (made.key, made.type, made.description, made.data) == ("bar", "progress", "d", b"10.0")
    assert (made.flow_run_id, made.task_run_id) == (flow_run, None)
    assert (moved.id, moved.data, moved.key, moved.description) == (made.id, b"20.0", None, None)
    assert UUID(bytes=other.id) == table
    assert (other.flow_run_id, other.task_run_id) == (flow_run, task_run)


def test_a_server_that_is_away_fails_no_flow(alone, monkeypatch):
    from riverrun.base import config

    monkeypatch.setenv("RIVERRUN_API_URL", "http://127.0.0.1:9/api")
    monkeypatch.setenv("RIVERRUN_CLIENT_MAX_RETRIES", "0")
    config.reload()

    async def leaving():
        return await artifacts.create_markdown_artifact("x", key="away")

    assert artifacts.create_markdown_artifact("x", key="away")
    assert asyncio.run(leaving())
    assert [record.key for record in alone.records if isinstance(record, ArtifactRecord)] == ["away", "away"]


def test_the_journal_of_this_machine_becomes_rows(alone, tmp_path):
    """From the call to the table, with the store that a server would open."""
    from riverrun.base.ids import uuid7
    from riverrun.server.db import schema, tables
    from riverrun.server.db.engine import open_database
    from riverrun.server.ingest import ingest_records
    from riverrun.wire.journal import encode

    @flow
    def leaving():
        bar = artifacts.create_progress_artifact(10, key="bar")
        artifacts.update_progress_artifact(bar, 20)

    leaving()
    with open_database(f"sqlite:///{tmp_path / 'store.db'}") as database:
        schema.upgrade(database)
        ingest_records(database, uuid7().bytes, list(enumerate(map(encode, alone.records), start=1)))
        with database.read() as connection:
            (row,) = connection.execute(sa.select(tables.artifact)).mappings()
            (run,) = connection.execute(sa.select(tables.flow_run)).mappings()
    assert (row["artifact_key"], row["type"], row["data"]) == ("bar", "progress", "20.0")
    assert row["flow_run_id"] == run["id"]
