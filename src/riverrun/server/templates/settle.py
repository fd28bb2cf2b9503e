"""Settle a value: put in what its forms stand for, and hold the outcome against a schema. Schedules are tried here, too.

Quick requests are done in a thread; those with templates, recurrence rules, or a schema that could take long, in a process of
their own that is killed when it takes more than a second or too much memory.
"""

import asyncio
import sys
from datetime import timedelta
from typing import Any
from weakref import WeakKeyDictionary

import msgspec
from msgspec import Struct

from riverrun.base.clock import now
from riverrun.base.errors import UnavailableError
from riverrun.rules import schedules
from riverrun.server.templates import hydration, schemas
from riverrun.wire.schedules import Schedule

_START_SECONDS = 20.0
#: within this a schedule is tried
_AHEAD = timedelta(days=3660)
#: processes at once
_AT_ONCE = 2
#: requests that wait for one; more are sent away
_WAITING = 50


class Request(Struct, kw_only=True):
    """What is to be settled. `schema` None: nothing is checked."""

    value: Any
    hydrate: bool = True
    variables: dict[str, Any] = {}
    schema: dict[str, Any] | None = None
    required: bool = True
    none_with_default: bool = False
    #: schedules of which the next instants are looked for
    schedules: list[Schedule] = []


class Outcome(Struct, kw_only=True):
    """The settled value, or what is wrong: with a form, with the value by the schema, or with the schema."""

    value: Any = None
    form_error: str | None = None
    problem: str | None = None
    schema_error: str | None = None
    #: number of the schedule, its field, and what is wrong with it
    schedule_error: tuple[int, str, str] | None = None
    #: the errors as a page shows them
    errors: list[Any] = []


_decode = msgspec.json.Decoder(Outcome).decode


def _no_templates(_: str) -> str:
    raise AssertionError("templates are rendered in the child process only")


def settle_here(request: Request, render: hydration.Render = _no_templates) -> Outcome:
    """Settle in this thread, however long it takes."""
    for number, schedule in enumerate(request.schedules):
        try:
            schedules.check(schedule)
            schedules.instants(schedule, now(), now() + _AHEAD, 3)
        except schedules.ScheduleError as error:
            return Outcome(schedule_error=(number, error.field, str(error)))
    value = request.value
    if request.hydrate:
        try:
            value = hydration.hydrate(value, request.variables, render)
        except hydration.HydrationError as error:
            return Outcome(form_error=str(error))
    if request.schema is None:
        return Outcome(value=value)
    options = {"required": request.required, "none_with_default": request.none_with_default}
    try:
        found = schemas.errors(value, request.schema, **options)
        said = None if not found else schemas.problem(value, request.schema, **options)
    except schemas.InvalidSchema as error:
        return Outcome(schema_error=str(error))
    return Outcome(value=value, problem=said, errors=schemas.tree(found)["errors"])


def is_costly(request: Request) -> bool:
    if any(isinstance(schedule.rrule, str) for schedule in request.schedules):
        return True
    return _has_templates(request) or (request.schema is not None and schemas.is_costly(request.schema))


def _has_templates(request: Request) -> bool:
    return request.hydrate and any(form[hydration.KIND] == "jinja" for form in hydration.forms(request.value))


async def settle(request: Request) -> Outcome:
    """Settle without holding anybody up."""
    if not is_costly(request):
        return await asyncio.to_thread(settle_here, request)
    return await _in_child(request)


class _Gate:
    """Lets a few processes run at once, and a few requests wait for that."""

    def __init__(self) -> None:
        self.slots = asyncio.Semaphore(_AT_ONCE)
        self.waiting = 0

    async def __aenter__(self) -> None:
        if self.waiting >= _WAITING:
            raise UnavailableError("Too many templates and schemas wait to be worked on; try again in a moment.")
        self.waiting += 1
        try:
            await self.slots.acquire()
        finally:
            self.waiting -= 1

    async def __aexit__(self, *_: object) -> None:
        self.slots.release()


_gates: WeakKeyDictionary[asyncio.AbstractEventLoop, _Gate] = WeakKeyDictionary()


async def _in_child(request: Request) -> Outcome:
    loop = asyncio.get_running_loop()
    async with _gates.setdefault(loop, _Gate()):
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-I",
            "-m",
            "riverrun.server.templates.child",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            answer, _ = await asyncio.wait_for(process.communicate(msgspec.json.encode(request)), _START_SECONDS)
        except TimeoutError:
            answer = b""
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    if process.returncode != 0 or not answer:
        says = "it takes longer than a second or too much memory"
        rules = [number for number, schedule in enumerate(request.schedules) if isinstance(schedule.rrule, str)]
        if rules:
            return Outcome(schedule_error=(rules[0], "rrule", "The rule takes too long to give its next instants."))
        if _has_templates(request):
            return Outcome(form_error=f"Invalid template: {says}.")
        return Outcome(schema_error=f"Invalid schema: {says}.")
    return _decode(answer)
