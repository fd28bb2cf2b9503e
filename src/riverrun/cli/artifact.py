"""`riverrun artifact`: what runs left for people to look at."""

from typing import Any
from uuid import UUID

import click

from riverrun.cli.groups import Group, confirm, json_option
from riverrun.cli.output import exactly_when, print_fields, print_json, say, when, write
from riverrun.cli.things import as_text, either, show_list


@click.group(cls=Group)
def artifact() -> None:
    """Look at artifacts and delete them."""


@artifact.command()
@click.option("--limit", type=click.IntRange(1, 200), default=100, show_default=True, help="At most this many.")
@click.option("-a", "--all", "every", is_flag=True, help="All versions, not only the latest of each key.")
@json_option
def ls(limit: int, every: bool, as_json: bool) -> None:
    """List artifacts, the latest version of each key, the newest first."""
    from riverrun.client.calls import artifacts as calls
    from riverrun.client.http import send
    from riverrun.wire.requests import ArtifactsFilterBody, ArtifactsLatestFilterBody

    found: list[Any] = (
        send(calls.read_artifacts(ArtifactsFilterBody(sort="UPDATED_DESC", limit=limit)))
        if every
        else send(calls.read_latest_artifacts(ArtifactsLatestFilterBody(sort="UPDATED_DESC", limit=limit)))
    )
    columns = ("ID", "Key", "Type", "Description", "Updated")
    show_list(found, columns, _row, as_json=as_json, nothing="No artifacts.")


def _row(found: Any) -> tuple[str, ...]:
    artifact_id = getattr(found, "latest_id", None) or found.id
    return str(artifact_id), found.key or "-", found.type or "-", found.description or "-", when(found.updated)


@artifact.command()
@click.argument("key")
@click.option("--limit", type=click.IntRange(1, 200), default=10, show_default=True, help="At most this many versions.")
@json_option
def inspect(key: str, limit: int, as_json: bool) -> None:
    """Show the versions of an artifact, the newest first."""
    found = _versions(key, limit)
    if as_json:
        print_json([each.model_dump(mode="json") for each in found])
        return
    for each in found:
        fields = [
            ("ID", str(each.id)),
            ("Key", each.key or "-"),
            ("Type", each.type or "-"),
            ("Description", each.description or "-"),
            ("Flow run", str(each.flow_run_id or "-")),
            ("Task run", str(each.task_run_id or "-")),
            ("Created", exactly_when(each.created)),
            ("Updated", exactly_when(each.updated)),
            ("Data", as_text(each.data)),
        ]
        print_fields(fields)
        if each is not found[-1]:
            write("")


@artifact.command()
@click.argument("key", required=False)
@click.option("--id", "artifact_id", type=click.UUID, help="One version, by its id.")
def delete(key: str | None, artifact_id: UUID | None) -> None:
    """Delete all versions of an artifact, or one of them."""
    from riverrun.client.calls.artifacts import delete_artifact
    from riverrun.client.http import send

    either(key, artifact_id, "a KEY or --id")
    if artifact_id is not None:
        confirm(f"Delete the artifact {artifact_id}?")
        send(delete_artifact(artifact_id))
        say(f"Deleted artifact {artifact_id}.")
        return
    assert key is not None
    found = _versions(key, 200)
    confirm(f"Delete {len(found)} versions of the artifact {key!r}?")
    count = 0
    while found:
        for each in found:
            assert each.id is not None
            send(delete_artifact(each.id))
            count += 1
        found = _versions(key, 200, missing_ok=True) if len(found) == 200 else []
    say(f"Deleted {count} version{'' if count == 1 else 's'} of the artifact {key!r}.")


def _versions(key: str, limit: int, *, missing_ok: bool = False) -> list[Any]:
    from riverrun.base.errors import ObjectNotFound
    from riverrun.client.calls.artifacts import read_artifacts
    from riverrun.client.http import send
    from riverrun.wire.filters import ArtifactFilter, ArtifactFilterKey
    from riverrun.wire.requests import ArtifactsFilterBody

    wanted = ArtifactFilter(key=ArtifactFilterKey(any_=[key]))
    found = send(read_artifacts(ArtifactsFilterBody(artifacts=wanted, sort="UPDATED_DESC", limit=limit)))
    if not found and not missing_ok:
        raise ObjectNotFound(f"There is no artifact {key!r}.")
    return found
