"""Waiting for flow runs, and stopping and resuming them: pause, suspend, resume.

Each function blocks in sync code and is awaited in async code; the names with an `a` in front are always awaited.
"""

from typing import Any
from uuid import UUID

from riverrun.client.talk import Talk, ahold
from riverrun.engine import pausing
from riverrun.utilities.talks import awaiting, talking
from riverrun.wire.runs import FlowRun

__all__ = [
    "apause_flow_run",
    "aresume_flow_run",
    "asuspend_flow_run",
    "pause_flow_run",
    "resume_flow_run",
    "suspend_flow_run",
    "wait_for_flow_run",
]


def _pause(
    wait_for_input: Any = None, timeout: float = 3600, poll_interval: float = 10, key: str | None = None
) -> Talk[Any]:
    """Pause the current flow run until it is resumed, in this process.

    No task begins meanwhile; those under way go on. After `timeout` seconds the run fails with FlowPauseTimeout.
    `wait_for_input` is a subclass of `riverrun.input.RunInput` or any type that pydantic knows: the run can then only be
    resumed with such an input, which this function returns. `key` names the pause: one of a name happens once in a run.
    `poll_interval` is the longest time between two looks at the server.
    """
    return (yield from pausing.pause(wait_for_input, timeout, poll_interval, key))


def _suspend(
    wait_for_input: Any = None, flow_run_id: UUID | None = None, timeout: float | None = None, key: str | None = None
) -> Talk[Any]:
    """Suspend the current flow run, or the one named: its process ends, another goes on when it is resumed.

    The run needs a deployment, for somebody has to start it again; its function then runs from the beginning, so results
    that are to last must be persisted. The arguments are those of `pause_flow_run`.
    """
    return (yield from pausing.suspend(wait_for_input, flow_run_id, timeout, key))


def _resume(flow_run_id: UUID, run_input: dict[str, Any] | None = None) -> Talk[None]:
    """Let a paused or suspended flow run go on, with the input that it waits for.

    Raises NotPausedError if it is not paused, FlowPauseTimeout if it is too late.
    """
    yield from pausing.resume(flow_run_id, run_input)


def _named(name: str, talk: Any) -> Any:
    talk.__name__ = talk.__qualname__ = name
    return talk


pause_flow_run = talking(_named("pause_flow_run", _pause))
apause_flow_run = awaiting(_pause)
suspend_flow_run = talking(_named("suspend_flow_run", _suspend))
asuspend_flow_run = awaiting(_suspend)
resume_flow_run = talking(_named("resume_flow_run", _resume))
aresume_flow_run = awaiting(_resume)


async def wait_for_flow_run(
    flow_run_id: UUID,
    timeout: float | None = 10800,
    poll_interval: float | None = None,  # noqa: ARG001 - as in the peer
    client: Any = None,  # noqa: ARG001 - as in the peer
    log_states: bool = False,
) -> FlowRun:
    """Wait until a flow run has ended and return it. Raises FlowRunWaitTimeout after `timeout` seconds (None: never).

    `poll_interval` and `client` are taken as in the peer and not needed.
    """
    return await ahold(pausing.wait_for_end(flow_run_id, timeout, log_states))
