"""Costly values are settled beside the server: bounded, killed, and not in the way of others."""

import asyncio
import time

import httpx
import pytest

from riverrun.base.errors import UnavailableError
from riverrun.server.templates.settle import Outcome, Request, settle
from riverrun.wire.schedules import Schedule

ENDLESS = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"


def _jinja(template: str) -> dict:
    return {"__prefect_kind": "jinja", "template": template}


async def _many(requests: list[Request]) -> list[Outcome | BaseException]:
    return await asyncio.gather(*(settle(request) for request in requests), return_exceptions=True)


@pytest.mark.slow
def test_what_takes_too_long_is_killed() -> None:
    begun = time.monotonic()
    requests = [
        Request(value=_jinja(ENDLESS)),
        Request(value=_jinja("{% set x = 'a' * 9999999 %}{% for i in range(9999) %}{{ x }}{% endfor %}")),
        Request(value="a" * 40 + "!", hydrate=False, schema={"pattern": "^(a+)+$"}),
        Request(
            value=None, schedules=[Schedule(cron="* * * * *"), Schedule(rrule="FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30")]
        ),
    ]
    template, large, schema, schedule = asyncio.run(_many(requests))
    assert "longer than a second" in template.form_error
    assert large.form_error is not None
    assert "longer than a second" in schema.schema_error
    assert schedule.schedule_error[:2] == (1, "rrule")
    assert time.monotonic() - begun < 15


def test_a_flood_is_sent_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("riverrun.server.templates.settle._WAITING", 2)
    outcomes = asyncio.run(_many([Request(value=_jinja("{{ 1 }}"))] * 7))
    assert sum(isinstance(outcome, UnavailableError) for outcome in outcomes) == 7 - 4  # 2 at work, 2 waiting
    assert {outcome.value for outcome in outcomes if isinstance(outcome, Outcome)} == {"1"}


@pytest.mark.slow
def test_others_are_not_held_up(api: httpx.Client) -> None:
    flow = api.post("/flows/", json={"name": "with templates"}).json()["id"]
    made = api.post("/deployments/", json={"name": "d", "flow_id": flow}).json()["id"]
    path = f"/deployments/{made}/create_flow_run"
    seconds = []

    async def main() -> list[httpx.Response]:
        async with httpx.AsyncClient(base_url=api.base_url, timeout=30) as client:
            hostile = [
                asyncio.create_task(client.post(path, json={"parameters": {"x": _jinja(ENDLESS)}})) for _ in range(4)
            ]
            while not all(task.done() for task in hostile):
                begun = time.perf_counter()
                await client.get(f"/flows/{flow}")
                seconds.append(time.perf_counter() - begun)
            return [task.result() for task in hostile]

    assert [answer.status_code for answer in asyncio.run(main())] == [400] * 4
    assert sorted(seconds)[int(len(seconds) * 0.99)] < 0.5  # a template may take a second
