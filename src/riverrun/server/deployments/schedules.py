"""What is done with the schedules of a deployment."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
import sqlalchemy as sa
from msgspec import UNSET

from riverrun.base.clock import to_micros
from riverrun.base.errors import ConflictError, ObjectNotFound
from riverrun.base.ids import uuid7
from riverrun.rules.schedules import EARLIEST, LATEST
from riverrun.server.db import tables as t
from riverrun.server.db.json_text import to_text
from riverrun.server.db.units import Reader, Transaction
from riverrun.server.http.errors import HTTPError, InvalidRequest
from riverrun.server.http.pages import short
from riverrun.server.templates.settle import Request, settle
from riverrun.wire.deployments import DeploymentScheduleCreate, DeploymentScheduleUpdate
from riverrun.wire.schedules import Schedule

table = t.deployment_schedule
#: schedules of one deployment
MOST = 100
Given = DeploymentScheduleCreate | DeploymentScheduleUpdate


async def check(given: Sequence[Given], *path: str, listed: bool = False) -> None:
    """Raises InvalidRequest for a schedule that cannot be. `path`: where they stand in the body; `listed`: as a list there."""
    if len(given) > MOST:
        raise InvalidRequest(("body", *path), f"There are {len(given)} schedules; a deployment has at most {MOST}.")
    places = [place for place, one in enumerate(given) if isinstance(one.schedule, Schedule)]
    schedules = [given[place].schedule for place in places]
    at: list[tuple[str | int, ...]] = [
        ("body", *path, place) if listed else ("body", *path) for place in range(len(given))
    ]
    for place, one in enumerate(given):
        for name in ("start", "end"):
            _check_instant(getattr(one, name), *at[place], name)
        short(one.slug if isinstance(one.slug, str) else None, *at[place][1:], "slug")
    outcome = await settle(Request(value=None, hydrate=False, schedules=schedules))  # type: ignore[arg-type]
    if outcome.schedule_error is not None:
        number, field, says = outcome.schedule_error
        raise InvalidRequest((*at[places[number]], "schedule", field), says)


def _check_instant(instant: Any, *loc: str | int) -> None:
    if isinstance(instant, datetime) and not EARLIEST.year < instant.year < LATEST.year:
        raise InvalidRequest(loc, f"The year {instant.year} is out of range: schedules run after 1970, before 2200.")


def _rows(reader: Reader, deployment_id: UUID) -> list[Any]:
    return reader.rows(sa.select(table).where(table.c.deployment_id == deployment_id).order_by(table.c.key))


def create(transaction: Transaction, deployment_id: UUID, given: Sequence[Given]) -> list[UUID]:
    """Make schedules; their ids. Raises ConflictError for slugs that are taken."""
    taken = {row.slug for row in _rows(transaction, deployment_id) if row.slug is not None}
    made = []
    for one in given:
        slug = one.slug if isinstance(one.slug, str) else None
        if slug is not None and slug in taken:
            raise ConflictError(f"Schedule slugs must be unique within a deployment; there is {slug!r} already.")
        taken.add(slug)
        made.append(uuid7())
        transaction.execute(
            sa.insert(table).values(
                id=made[-1],
                workspace_id=transaction.workspace,
                created=transaction.now,
                updated=transaction.now,
                deployment_id=deployment_id,
                schedule=msgspec.json.encode(one.schedule).decode(),
                active=0 if one.active is False else 1,
                max_scheduled_runs=one.max_scheduled_runs or None,
                parameters=to_text(one.parameters or None),
                slug=slug,
                mark=transaction.now,
                next_fill=0,
                **_own(one),
            )
        )
    return made


def _own(given: Given) -> dict[str, Any]:
    """The columns of riverrun's own fields that are given."""
    values: dict[str, Any] = {
        name: getattr(given, name) for name in ("jitter", "max_late") if getattr(given, name) is not UNSET
    }
    if given.catch_up is not UNSET:
        values["catch_up"] = None if given.catch_up == "all" else given.catch_up
    for name, instant in (("start_time", given.start), ("end_time", given.end)):
        if instant is not UNSET:
            values[name] = None if instant is None else to_micros(instant)
    return values


def start_again(transaction: Transaction, deployment_id: UUID, *, afresh: bool = False) -> None:
    """Let the scheduler make the coming runs of a deployment once more, for those that it made are about to be removed.

    Call it before they are: the scheduler locks the schedule, too, and must not put them in between. `afresh` forgets what was
    missed until now.
    """
    for row in transaction.rows(sa.select(table).where(table.c.deployment_id == deployment_id).with_for_update()):
        # the runs of instants just past may be waiting for the end of their jitter, and go with the coming ones
        back = max(row.updated, transaction.now - (0 if afresh else int((row.jitter or 0) * 1_000_000)))
        mark = back if afresh or row.mark is None else min(row.mark, back)
        values = {"mark": mark, "filled": None, "next_fill": 0}
        transaction.execute(sa.update(table).where(table.c.key == row.key).values(values))


def delete_all(transaction: Transaction, deployment_id: UUID) -> None:
    transaction.execute(sa.delete(table).where(table.c.deployment_id == deployment_id))


def update(transaction: Transaction, deployment_id: UUID, schedule_id: UUID, body: DeploymentScheduleUpdate) -> None:
    """Change the fields that the body has; raises ObjectNotFound, ConflictError."""
    mine = sa.and_(table.c.id == schedule_id, table.c.deployment_id == deployment_id)
    row = transaction.row(sa.select(table).where(mine))
    if row is None:
        raise ObjectNotFound(f"Schedule {schedule_id} not found.")
    values: dict[str, Any] = {"updated": transaction.now}
    if isinstance(body.slug, str) and body.slug != row.slug:
        others = {other.slug for other in _rows(transaction, deployment_id)}
        if body.slug in others:
            raise ConflictError(f"Schedule slugs must be unique within a deployment; there is {body.slug!r} already.")
    if body.slug is not UNSET:
        values["slug"] = body.slug
    if isinstance(body.active, bool):
        values["active"] = int(body.active)
    if isinstance(body.schedule, Schedule):
        values["schedule"] = msgspec.json.encode(body.schedule).decode()
    if body.max_scheduled_runs is not UNSET:
        values["max_scheduled_runs"] = body.max_scheduled_runs
    if body.parameters is not UNSET:
        values["parameters"] = to_text(body.parameters or None)
    values |= {**_own(body), "mark": transaction.now, "filled": None, "next_fill": 0}
    transaction.execute(sa.update(table).where(mine).values(**values))


def delete(transaction: Transaction, deployment_id: UUID, schedule_id: UUID) -> None:
    """Remove one schedule; raises ObjectNotFound."""
    mine = sa.and_(table.c.id == schedule_id, table.c.deployment_id == deployment_id)
    if not transaction.execute(sa.delete(table).where(mine)).rowcount:
        raise ObjectNotFound(f"Schedule {schedule_id} not found.")


# -- the schedules of a changed deployment ----------------------------------------------------------------------------------


def change(transaction: Transaction, deployment_id: UUID, given: Sequence[DeploymentScheduleUpdate]) -> None:
    """Bring the schedules of a deployment to those that are given.

    Where all that are there have slugs, they are changed by slug (`replaces` names the slug of one that gets a new one) and
    those that are not named stay; given ones must then have slugs. Otherwise the given ones take the place of all.
    """
    rows = _rows(transaction, deployment_id)
    by_slug = {row.slug: row.id for row in rows}
    if not rows or None in by_slug:
        delete_all(transaction, deployment_id)
        create(transaction, deployment_id, [one for one in given if isinstance(one.schedule, Schedule)])
        return
    if not all(isinstance(one.slug, str) and one.slug for one in given):
        raise HTTPError(422, "Provide a slug for each schedule: the deployment's schedules are known by their slugs.")
    replaced = [one.replaces for one in given if one.replaces]
    for slug in replaced:
        if replaced.count(slug) > 1:
            raise HTTPError(422, f"Several schedules replace the one with the slug {slug!r}; only one can.")
    for one in given:
        if one.replaces and one.slug in by_slug and one.slug not in replaced:
            raise HTTPError(
                422,
                f"The schedule {one.replaces!r} cannot become {one.slug!r}: a schedule of that slug already exists.",
            )
    # renamed ones give up their slugs first, so that two may change theirs
    transaction.execute(
        sa.update(table).where(table.c.deployment_id == deployment_id, table.c.slug.in_(replaced)).values(slug=None)
    )
    new = []
    for one in given:
        known = by_slug.get(one.replaces or one.slug)
        if known is not None:
            update(transaction, deployment_id, known, one)
        elif isinstance(one.schedule, Schedule):
            new.append(one)
        else:
            raise HTTPError(422, f"There is no schedule {one.slug!r} to change, and a new one needs its 'schedule'.")
    create(transaction, deployment_id, new)
