"""Calls about artifacts."""

from uuid import UUID

from riverrun.client.call import Call, at
from riverrun.wire.artifacts import Artifact, ArtifactCollection, ArtifactCreate, ArtifactUpdate
from riverrun.wire.requests import ArtifactsFilterBody, ArtifactsLatestFilterBody


def create_artifact(artifact: ArtifactCreate) -> Call[Artifact]:
    """Make an artifact; one of the same key becomes the latest of it."""
    return Call("POST", "/artifacts/", Artifact, body=artifact)


def read_artifact(artifact_id: UUID) -> Call[Artifact]:
    """An artifact by its id."""
    return Call("GET", at("artifacts", artifact_id), Artifact, noun="Artifact:")


def read_artifacts(body: ArtifactsFilterBody | None = None) -> Call[list[Artifact]]:
    """Artifacts, all versions of each key."""
    return Call("POST", "/artifacts/filter", list[Artifact], body=body or ArtifactsFilterBody())


def read_latest_artifacts(body: ArtifactsLatestFilterBody | None = None) -> Call[list[ArtifactCollection]]:
    """The latest artifact of each key."""
    return Call("POST", "/artifacts/latest/filter", list[ArtifactCollection], body=body or ArtifactsLatestFilterBody())


def update_artifact(artifact_id: UUID, artifact: ArtifactUpdate) -> Call[None]:
    """Change an artifact's data or description."""
    return Call("PATCH", at("artifacts", artifact_id), body=artifact, noun="Artifact:")


def delete_artifact(artifact_id: UUID) -> Call[None]:
    """Delete an artifact."""
    return Call("DELETE", at("artifacts", artifact_id), noun="Artifact:")
