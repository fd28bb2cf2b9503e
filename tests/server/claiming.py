"""A pool with a deployment, whose runs tests claim."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx

from riverrun.base.ids import uuid7

TEMPLATE = {
    "job_configuration": {"command": "{{ command }}", "env": "{{ env }}", "image": "{{ image }}", "key": "{{ prefect.blocks.secret.k }}",
                          "label": "run-{{ name }}{{ nothing }}"},
    "variables": {"type": "object", "properties": {"command": {"type": "string"}, "env": {"type": "object", "default": {"A": "1", "B": "1"}},
                                                    "image": {"type": "string"}, "name": {"default": "x"}, "nothing": {}}},
}  # fmt: skip


class Place:
    """A pool with one deployment, and workers that claim its runs."""

    def __init__(self, api: httpx.Client, **deployment: Any) -> None:
        self.api = api
        self.pool = f"pool {uuid4()}"
        pool = {"name": self.pool, "type": "process", "base_job_template": TEMPLATE}
        assert api.post("/work_pools/", json=pool).status_code == 201
        self.flow = api.post("/flows/", json={"name": f"flow {uuid4()}"}).json()["id"]
        self.deployment = self.deploy(**deployment)

    def deploy(self, **fields: Any) -> str:
        body = {"name": f"d {uuid4()}", "flow_id": self.flow, "work_pool_name": self.pool, **fields}
        made = self.api.post("/deployments/", json=body)
        assert made.status_code == 201, made.text
        return str(made.json()["id"])

    def run(self, deployment: str | None = None, *, seconds: float = 0.0, **fields: Any) -> str:
        when = datetime.now(UTC) + timedelta(seconds=seconds)
        state = {"type": "SCHEDULED", "state_details": {"scheduled_time": when.isoformat()}}
        made = self.api.post(
            f"/deployments/{deployment or self.deployment}/create_flow_run", json={"state": state, **fields}
        )
        assert made.status_code == 201, made.text
        return str(made.json()["id"])

    def claim(self, worker: Any = None, *, wait: float = 0.0, limit: int = 1, **fields: Any) -> list[dict[str, Any]]:
        body = {"worker": str(worker or uuid4()), "name": "w", "wait": wait, "limit": limit, **fields}
        got = self.api.post(f"/work_pools/{self.pool}/claim", json=body)
        assert got.status_code == 200, got.text
        return list(got.json()["claims"])

    def ids(self, *arguments: Any, **options: Any) -> list[str]:
        return [one["flow_run"]["id"] for one in self.claim(*arguments, **options)]

    def begin(self, run: str, fence: int | None = None) -> dict[str, Any]:
        body = {"writer": str(uuid7()), "transition_id": str(uuid7()), "fence": fence}
        return dict(self.api.post(f"/flow_runs/{run}/begin", json=body).json())

    def end(self, run: str, kind: str = "COMPLETED") -> None:
        answer = self.api.post(f"/flow_runs/{run}/set_state", json={"state": {"type": kind}})
        assert answer.json()["status"] == "ACCEPT", answer.text

    def state(self, run: str) -> dict[str, Any]:
        return dict(self.api.get(f"/flow_runs/{run}").json()["state"])
