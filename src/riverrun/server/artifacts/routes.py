"""Artifacts over HTTP."""

from uuid import UUID

from riverrun.server.artifacts import logic
from riverrun.server.db.units import Reader, Transaction
from riverrun.server.http.pages import page
from riverrun.server.http.table import Routes
from riverrun.wire.artifacts import Artifact, ArtifactCollection, ArtifactCreate, ArtifactUpdate
from riverrun.wire.requests import (
    ArtifactsCountBody,
    ArtifactsFilterBody,
    ArtifactsLatestCountBody,
    ArtifactsLatestFilterBody,
)

READ, WRITE = "artifacts:read", "artifacts:write"
routes = Routes("/artifacts", "Artifacts")


@routes.post("/", permission=WRITE, status=201, also=(200,), returns=Artifact)
def create_artifact(transaction: Transaction, body: ArtifactCreate) -> Artifact:
    return logic.create(transaction, body)


@routes.get("/{id}", permission=READ, returns=Artifact, errors=(404,))
def read_artifact(reader: Reader, id: UUID) -> Artifact:
    return logic.answer(logic.find(reader, id))


@routes.get("/{key}/latest", permission=READ, returns=Artifact, errors=(404,))
def read_latest_artifact(reader: Reader, key: str) -> Artifact:
    return logic.latest(reader, key)


@routes.post("/filter", permission=READ, returns=list[Artifact])
def read_artifacts(reader: Reader, body: ArtifactsFilterBody | None) -> list[Artifact]:
    body = body or ArtifactsFilterBody()
    return logic.page(reader, body, page(body.limit))


@routes.post("/latest/filter", permission=READ, returns=list[ArtifactCollection])
def read_latest_artifacts(reader: Reader, body: ArtifactsLatestFilterBody | None) -> list[ArtifactCollection]:
    """The newest artifact of each key."""
    body = body or ArtifactsLatestFilterBody()
    return logic.latest_page(reader, body, page(body.limit))


@routes.post("/count", permission=READ, returns=int)
def count_artifacts(reader: Reader, body: ArtifactsCountBody | None) -> int:
    return logic.count(reader, body or ArtifactsCountBody())


@routes.post("/latest/count", permission=READ, returns=int)
def count_latest_artifacts(reader: Reader, body: ArtifactsLatestCountBody | None) -> int:
    return logic.count(reader, body or ArtifactsLatestCountBody(), only_latest=True)


@routes.patch("/{id}", permission=WRITE, status=204, errors=(404,))
def update_artifact(transaction: Transaction, id: UUID, body: ArtifactUpdate) -> None:
    logic.update(transaction, id, body)


@routes.delete("/{id}", permission=WRITE, status=204, errors=(404,))
def delete_artifact(transaction: Transaction, id: UUID) -> None:
    logic.delete(transaction, id)
