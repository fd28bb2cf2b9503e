"""Calls about artifacts."""

from riverrun.client.call import Call, Id, at, delete, patch, post
from riverrun.wire.artifacts import Artifact, ArtifactCollection, ArtifactCreate, ArtifactUpdate
from riverrun.wire.requests import (
    ArtifactsFilterBody,
    ArtifactsLatestFilterBody,
)


def _noun(artifact_id: Id) -> str:
    return f"Artifact {artifact_id}:"


def create_artifact(artifact: ArtifactCreate) -> Call[Artifact]:
    return post(at("artifacts", ""), artifact, Artifact)


def read_artifacts(body: ArtifactsFilterBody | None = None) -> Call[list[Artifact]]:
    return post(at("artifacts", "filter"), body or ArtifactsFilterBody(), list[Artifact])


def read_latest_artifacts(body: ArtifactsLatestFilterBody | None = None) -> Call[list[ArtifactCollection]]:
    """The newest artifact of each key."""
    return post(at("artifacts", "latest", "filter"), body or ArtifactsLatestFilterBody(), list[ArtifactCollection])


def update_artifact(artifact_id: Id, artifact: ArtifactUpdate) -> Call[None]:
    return patch(at("artifacts", artifact_id), artifact, noun=_noun(artifact_id))


def delete_artifact(artifact_id: Id) -> Call[None]:
    return delete(at("artifacts", artifact_id), noun=_noun(artifact_id))
