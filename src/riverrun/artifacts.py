"""Artifacts: what a run leaves for people to look at: markdown, tables, links, pictures, progress.

With a server they are sent to it. Without one, or while it is away, they are a record in the journal, and whoever ingests
the journal keeps them: an artifact never fails the run that makes it for want of a server.
"""

import json
import math
import warnings
from typing import Any
from uuid import UUID

import msgspec

from riverrun.base.clock import now, to_micros
from riverrun.base.errors import UnavailableError
from riverrun.base.ids import uuid7
from riverrun.client import journal
from riverrun.client.calls import artifacts as calls
from riverrun.client.location import api_url
from riverrun.client.talk import Talk, ask
from riverrun.context import FlowRunContext, TaskRunContext
from riverrun.logging import get_logger
from riverrun.utilities.colours import by_colour
from riverrun.utilities.talks import awaiting, talking
from riverrun.wire.artifacts import Artifact as KeptArtifact
from riverrun.wire.artifacts import ArtifactCreate, ArtifactUpdate
from riverrun.wire.filters import ArtifactFilter, ArtifactFilterKey
from riverrun.wire.journal import ArtifactRecord
from riverrun.wire.requests import ArtifactsFilterBody

__all__ = [
    "Artifact",
    "ImageArtifact",
    "LinkArtifact",
    "MarkdownArtifact",
    "ProgressArtifact",
    "TableArtifact",
    "acreate_image_artifact",
    "acreate_link_artifact",
    "acreate_markdown_artifact",
    "acreate_progress_artifact",
    "acreate_table_artifact",
    "aupdate_progress_artifact",
    "create_image_artifact",
    "create_link_artifact",
    "create_markdown_artifact",
    "create_progress_artifact",
    "create_table_artifact",
    "update_progress_artifact",
]

_KEY_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-")

# -- the talks; `client` is taken as the peer takes it and has no effect


def _create(self: "Artifact", client: Any = None) -> Talk[KeptArtifact]:  # noqa: ARG001 - see above
    """Keep this artifact, as one of the run around; gives it as it is kept."""
    flow_run_id, task_run_id = _run_ids()
    if flow_run_id is None and task_run_id is None:
        message = "An artifact was made outside of flow and task runs; this is deprecated. Make it in a flow or a task."
        warnings.warn(message, FutureWarning, stacklevel=2)
    formatted = getattr(self.format, "sync", None)  # a subclass's own `format` has none
    body = ArtifactCreate(
        key=self.key,
        type=self.type,
        description=self.description,
        data=self.format() if formatted is None else formatted(self),
        metadata_=self.metadata_,
        flow_run_id=self.flow_run_id or flow_run_id,
        task_run_id=self.task_run_id or task_run_id,
    )
    if api_url() is not None:
        try:
            return (yield from ask(calls.create_artifact(body)))
        except UnavailableError as error:
            _log_away(error)
    return _journal_new(body)


def _get(cls: "type[Artifact]", key: str | None = None, client: Any = None) -> Talk[KeptArtifact | None]:  # noqa: ARG001
    """The latest artifact of a key, or of all; None if there is none."""
    wanted = ArtifactFilter(key=ArtifactFilterKey(any_=None if key is None else [key]))
    found = yield from ask(calls.read_artifacts(ArtifactsFilterBody(artifacts=wanted, sort="UPDATED_DESC", limit=1)))
    return found[0] if found else None


def _get_or_create(
    cls: "type[Artifact]",
    /,
    key: str | None = None,
    description: str | None = None,
    data: Any = None,
    client: Any = None,  # noqa: ARG001 - see above
    **fields: Any,
) -> Talk[tuple[KeptArtifact, bool]]:
    """The latest artifact of a key, or a new one; and whether it is new."""
    found = yield from _get(cls, key)
    if found is not None:
        return found, False
    return (yield from _create(cls(key=key, description=description, data=data, **fields))), True


# -- kinds of artifacts


class Artifact(ArtifactCreate, kw_only=True):
    """Something to be shown. Its `data` are kept as a JSON document."""

    def __post_init__(self) -> None:
        if self.key is not None and not _KEY_LETTERS.issuperset(self.key):
            raise ValueError(
                f"Artifact key must only contain lowercase letters, numbers, and dashes, such as 'my-report'; got {self.key!r}."
            )

    create = talking(_create)
    acreate = awaiting(_create)
    get = classmethod(talking(_get))
    aget = classmethod(awaiting(_get))
    get_or_create = classmethod(talking(_get_or_create))
    aget_or_create = classmethod(awaiting(_get_or_create))

    async def aformat(self) -> Any:
        """As `format`."""
        return self._formatted()

    @by_colour(aformat)
    def format(self) -> Any:
        """The data as they are kept."""
        return self._formatted()

    def _formatted(self) -> Any:
        return json.dumps(self.data)


class LinkArtifact(Artifact, kw_only=True):
    """A link."""

    link: str
    link_text: str | None = None
    type: str | None = "markdown"

    def _formatted(self) -> str:
        """The link as markdown."""
        return f"[{self.link_text or self.link}]({self.link})"


class MarkdownArtifact(Artifact, kw_only=True):
    """A text with markdown."""

    markdown: str
    type: str | None = "markdown"

    def _formatted(self) -> str:
        """The text."""
        return self.markdown


class TableArtifact(Artifact, kw_only=True):
    """A table: `{column: values}`, a list of `{column: value}`, or a list of rows."""

    table: dict[str, list[Any]] | list[Any]
    type: str | None = "table"

    def _formatted(self) -> str:
        """The table as JSON; numbers that JSON lacks are null."""
        return json.dumps(_without_nan(self.table))


class ProgressArtifact(Artifact, kw_only=True):
    """How far something is, in percent."""

    progress: float
    type: str | None = "progress"

    def _formatted(self) -> float:
        """The percentage, brought to between 0 and 100."""
        return _bounded(self.progress)


class ImageArtifact(Artifact, kw_only=True):
    """A picture that lies at a public URL."""

    image_url: str
    type: str | None = "image"

    def _formatted(self) -> str:
        """The URL."""
        return self.image_url


def _without_nan(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_without_nan(part) for part in value]
    if isinstance(value, dict):
        return {key: _without_nan(part) for key, part in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _bounded(progress: float) -> float:
    bounded = max(0.0, min(float(progress), 100.0))
    if bounded != progress:
        get_logger("artifacts").warning("A progress of %s%% is out of bounds and taken as %s%%", progress, bounded)
    return bounded


# -- functions for each kind: the id of a new artifact


def _link(
    link: str, link_text: str | None = None, key: str | None = None, description: str | None = None, client: Any = None
) -> Talk[UUID]:
    """Leave a link; gives the artifact's id. A key (small letters, digits, dashes) makes it findable."""
    return _new(LinkArtifact(key=key, description=description, link=link, link_text=link_text), client)


def _markdown(markdown: str, key: str | None = None, description: str | None = None) -> Talk[UUID]:
    """Leave a text with markdown; gives the artifact's id. A key (small letters, digits, dashes) makes it findable."""
    return _new(MarkdownArtifact(key=key, description=description, markdown=markdown))


def _table(
    table: dict[str, list[Any]] | list[dict[str, Any]] | list[list[Any]],
    key: str | None = None,
    description: str | None = None,
) -> Talk[UUID]:
    """Leave a table; gives the artifact's id. A key (small letters, digits, dashes) makes it findable."""
    return _new(TableArtifact(key=key, description=description, table=table))


def _progress(progress: float, key: str | None = None, description: str | None = None) -> Talk[UUID]:
    """Leave a bar of progress (percent); gives the artifact's id, by which `update_progress_artifact` moves it."""
    return _new(ProgressArtifact(key=key, description=description, progress=progress))


def _image(image_url: str, key: str | None = None, description: str | None = None) -> Talk[UUID]:
    """Leave a picture that lies at a public URL; gives the artifact's id."""
    return _new(ImageArtifact(key=key, description=description, image_url=image_url))


def _new(artifact: Artifact, client: Any = None) -> Talk[UUID]:
    kept = yield from _create(artifact, client)
    assert kept.id is not None
    return kept.id


def _update_progress(
    artifact_id: UUID,
    progress: float,
    description: str | None = None,
    client: Any = None,  # noqa: ARG001 - see above
) -> Talk[UUID]:
    """Move a bar of progress; gives the artifact's id again."""
    value = _bounded(progress)
    if api_url() is not None and artifact_id not in _journalled:
        change = ArtifactUpdate(data=value)
        if description is not None:
            change.description = description
        try:
            yield from ask(calls.update_artifact(artifact_id, change))
            return artifact_id
        except UnavailableError as error:
            _log_away(error)
    record = ArtifactRecord(
        artifact_id.bytes, to_micros(now()), description=description, data=msgspec.json.encode(value)
    )
    journal.append(record)
    return artifact_id


create_link_artifact = talking(_link)
acreate_link_artifact = awaiting(_link)
create_markdown_artifact = talking(_markdown)
acreate_markdown_artifact = awaiting(_markdown)
create_table_artifact = talking(_table)
acreate_table_artifact = awaiting(_table)
create_progress_artifact = talking(_progress)
acreate_progress_artifact = awaiting(_progress)
create_image_artifact = talking(_image)
acreate_image_artifact = awaiting(_image)
update_progress_artifact = talking(_update_progress)
aupdate_progress_artifact = awaiting(_update_progress)


# -- without a server

#: artifacts that went into the journal: their changes must go the same way, for order
_journalled: set[UUID] = set()


def _journal_new(body: ArtifactCreate) -> KeptArtifact:
    made = now()
    kept = KeptArtifact(
        id=uuid7(),
        created=made,
        updated=made,
        **{name: getattr(body, name) for name in ArtifactCreate.__struct_fields__},
    )
    assert kept.id is not None
    _journalled.add(kept.id)
    journal.append(
        ArtifactRecord(
            kept.id.bytes,
            to_micros(made),
            body.key,
            body.type,
            body.description,
            msgspec.json.encode(body.data),
            None if body.flow_run_id is None else body.flow_run_id.bytes,
            None if body.task_run_id is None else body.task_run_id.bytes,
        )
    )
    return kept


def _log_away(error: Exception) -> None:
    get_logger("artifacts").debug("The server is away, the artifact goes into the journal: %s", error)


def _run_ids() -> tuple[UUID | None, UUID | None]:
    """The ids of the flow run and the task run around."""
    flow_run_context, task_run_context = FlowRunContext.get(), TaskRunContext.get()
    if task_run_context is not None:
        run = task_run_context.task_run
        return run.flow_run_id, run.id
    if flow_run_context is not None and flow_run_context.flow_run is not None:
        return flow_run_context.flow_run.id, None
    return None, None
