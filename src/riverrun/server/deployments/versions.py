"""What deployments were: every change of what their runs are made of keeps the former, by a number that counts from 1.

A run says by which number it was made and is executed so, whatever the deployment has become since. The last hundred versions are
kept; a run of an older one takes the present.
"""

from typing import Any
from uuid import UUID

import msgspec
import sqlalchemy as sa
from msgspec import UNSET

from riverrun.base.clock import from_micros
from riverrun.base.errors import ObjectNotFound
from riverrun.server.db import tables as t
from riverrun.server.db.json_text import from_text, to_text
from riverrun.server.db.units import Reader, Transaction
from riverrun.server.deployments import queries
from riverrun.wire.deployments import (
    DeploymentCode,
    DeploymentResponse,
    DeploymentSchedule,
    DeploymentScheduleCreate,
    DeploymentVersion,
)

KEPT = 100
_VERSION = t.deployment_version.c
_decode = msgspec.json.Decoder(DeploymentCode, strict=False).decode
#: fields of a version that deployments have under the same name
FIELDS = tuple(name for name in DeploymentCode.__struct_fields__ if name != "schedules")


def keep(transaction: Transaction, deployment_id: UUID) -> None:
    """Give the deployment as it is a number of its own, if what its runs are made of has changed. Raises ObjectNotFound."""
    row = queries.find(transaction, deployment_id)
    code = _code_of(transaction, row)
    former = None if row.version_number is None else _find(transaction, deployment_id, row.version_number)
    if former == code:
        return
    number = row.version_number or 1
    mine = _VERSION.deployment_id == deployment_id
    if former is not None and _without_anchors(former) == _without_anchors(code):
        changed = sa.update(t.deployment_version).where(mine, _VERSION.number == number)
        transaction.execute(changed.values(document=to_text(code)))
        return
    if row.version_number is not None:
        number += 1
    values = {"deployment_id": deployment_id, "number": number, "workspace_id": transaction.workspace}
    transaction.execute(
        sa.insert(t.deployment_version).values(**values, created=transaction.now, document=to_text(code))
    )
    transaction.execute(sa.delete(t.deployment_version).where(mine, _VERSION.number <= number - KEPT))
    transaction.execute(sa.update(t.deployment).where(t.deployment.c.key == row.key).values(version_number=number))


def delete_all(transaction: Transaction, deployment_id: UUID) -> None:
    transaction.execute(sa.delete(t.deployment_version).where(_VERSION.deployment_id == deployment_id))


def listing(reader: Reader, deployment_id: UUID, limit: int, offset: int) -> list[DeploymentVersion]:
    """The versions of a deployment, the newest first. Raises ObjectNotFound."""
    present = queries.find(reader, deployment_id).version_number
    query = sa.select(t.deployment_version).where(_VERSION.deployment_id == deployment_id)
    rows = reader.rows(query.order_by(_VERSION.number.desc()).limit(limit).offset(offset))
    return [
        DeploymentVersion(
            number=row.number,
            created=from_micros(row.created),
            current=row.number == present,
            **msgspec.structs.asdict(_decode(row.document)),
        )
        for row in rows
    ]


def find(reader: Reader, deployment_id: UUID, number: int) -> DeploymentCode:
    """A version of a deployment; raises ObjectNotFound."""
    code = _find(reader, deployment_id, number)
    if code is None:
        query = sa.select(sa.func.min(_VERSION.number), sa.func.max(_VERSION.number))
        first, last = reader.row(query.where(_VERSION.deployment_id == deployment_id))
        there = "it has none yet" if first is None else f"it has {first} to {last}"
        raise ObjectNotFound(f"Deployment {deployment_id} has no version {number}: {there}.")
    return code


def as_of(reader: Reader, answer: DeploymentResponse, number: int | None) -> DeploymentResponse:
    """A deployment with what its runs are made of as it was in a version; as it is where that is not kept."""
    code = None if number is None else _find(reader, answer.id, number)
    if code is None:
        return answer
    return msgspec.structs.replace(answer, **{name: getattr(code, name) for name in FIELDS})


def schedule_of(schedule: DeploymentSchedule) -> DeploymentScheduleCreate:
    """A schedule as one would give it, whether it is active left out: that is no matter of versions."""
    names = ("schedule", "max_scheduled_runs", "parameters", "slug", "catch_up", "jitter", "max_late", "start", "end")
    given = {name: getattr(schedule, name) for name in names if getattr(schedule, name) is not UNSET}
    return DeploymentScheduleCreate(**given)


def _find(reader: Reader, deployment_id: UUID, number: int) -> DeploymentCode | None:
    query = sa.select(_VERSION.document).where(
        _VERSION.deployment_id == deployment_id,
        _VERSION.number == number,
        _VERSION.workspace_id == reader.workspace,
    )
    text = reader.scalar(query)
    return None if text is None else _decode(text)


def _code_of(reader: Reader, row: Any) -> DeploymentCode:
    schedules = queries.schedules(reader, [row.id]).get(row.id, [])
    code = DeploymentCode(
        version=row.version,
        entrypoint=row.entrypoint,
        path=row.path,
        pull_steps=from_text(row.pull_steps),
        parameters=from_text(row.parameters, {}),
        parameter_openapi_schema=from_text(row.parameter_schema, {}),
        enforce_parameter_schema=bool(row.enforce_parameter_schema),
        job_variables=from_text(row.job_variables, {}),
        storage_document_id=row.storage_document_id,
        infrastructure_document_id=row.infrastructure_document_id,
        schedules=[schedule_of(each) for each in sorted(schedules, key=lambda each: (each.slug or "", each.id))],
    )
    # as it is read again
    return _decode(msgspec.json.encode(code))


def _without_anchors(code: DeploymentCode) -> DeploymentCode:
    """The same where intervals begin at no particular instant: some clients anchor them at the present whenever they deploy."""
    schedules = [
        msgspec.structs.replace(each, schedule=msgspec.structs.replace(each.schedule, anchor_date=UNSET))
        for each in code.schedules
    ]
    return msgspec.structs.replace(code, schedules=schedules)
