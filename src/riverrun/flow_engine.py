"""Running a flow by hand, under the names that the peer's users know: a run with given parameters, context or run object.

Calling the flow does the same and more simply. What happens in a run stands in `riverrun.engine.flow_run`.
"""

from collections.abc import AsyncGenerator, Generator, Iterable
from typing import TYPE_CHECKING, Any, Literal

from riverrun.base.errors import FlowRunTimeoutError
from riverrun.context import hydrated_context
from riverrun.engine.flow_run import FlowRunLife
from riverrun.engine.run import arun_flow
from riverrun.engine.run import run_flow as run_life
from riverrun.engine.streams import astream, refuse_return_state, stream
from riverrun.wire.runs import FlowRun

if TYPE_CHECKING:
    import logging

    from riverrun.flows import Flow

__all__ = [
    "FlowRunTimeoutError",
    "run_flow",
    "run_flow_async",
    "run_flow_sync",
    "run_generator_flow_async",
    "run_generator_flow_sync",
]

ReturnType = Literal["state", "result"]


def run_flow(
    flow: "Flow[Any, Any]",
    flow_run: FlowRun | None = None,
    parameters: dict[str, Any] | None = None,
    wait_for: Iterable[Any] | None = None,
    return_type: ReturnType = "result",
    error_logger: "logging.Logger | None" = None,
    context: dict[str, Any] | None = None,
) -> Any:
    """Run a flow: its result or, with `return_type="state"`, its final state; for a generator flow, a generator.

    An async flow gives an awaitable (an async generator). `flow_run` is a run to be run again or for the first time;
    its parameters count where none are given. `context` is what `riverrun.context.serialize_context` gave. Raises what
    the flow raises; that is also told to `error_logger` for a sync flow.
    """
    options = (flow, flow_run, parameters, wait_for, return_type)
    if flow.isgenerator:
        if context:
            raise ValueError(
                f"Flow {flow.name!r} is a generator: it runs in its consumer's context, none can be given."
            )
        return run_generator_flow_async(*options) if flow.isasync else run_generator_flow_sync(*options)
    if flow.isasync:
        return run_flow_async(*options, context)
    try:
        return run_flow_sync(*options, context)
    except Exception:
        if error_logger is not None:
            error_logger.exception("Flow %r raised an exception", flow.name)
        raise


def run_flow_sync(
    flow: "Flow[Any, Any]",
    flow_run: FlowRun | None = None,
    parameters: dict[str, Any] | None = None,
    wait_for: Iterable[Any] | None = None,
    return_type: ReturnType = "result",
    context: dict[str, Any] | None = None,
) -> Any:
    """As `run_flow`, for a flow that is neither async nor a generator."""
    with hydrated_context(context):
        life = _life(flow, flow_run, parameters, wait_for)
        run_life(life)
    return _outcome(life, return_type)


async def run_flow_async(
    flow: "Flow[Any, Any]",
    flow_run: FlowRun | None = None,
    parameters: dict[str, Any] | None = None,
    wait_for: Iterable[Any] | None = None,
    return_type: ReturnType = "result",
    context: dict[str, Any] | None = None,
) -> Any:
    """As `run_flow`, for an async flow that is no generator."""
    with hydrated_context(context):
        life = _life(flow, flow_run, parameters, wait_for)
        await arun_flow(life)
    return _outcome(life, return_type)


def run_generator_flow_sync(
    flow: "Flow[Any, Any]",
    flow_run: FlowRun | None = None,
    parameters: dict[str, Any] | None = None,
    wait_for: Iterable[Any] | None = None,
    return_type: ReturnType = "result",
) -> Generator[Any, Any, Any]:
    """As `run_flow`, for a generator flow that is not async."""
    _refuse_state(flow, return_type)
    return (yield from stream(lambda: _life(flow, flow_run, parameters, wait_for)))


async def run_generator_flow_async(
    flow: "Flow[Any, Any]",
    flow_run: FlowRun | None = None,
    parameters: dict[str, Any] | None = None,
    wait_for: Iterable[Any] | None = None,
    return_type: ReturnType = "result",
) -> AsyncGenerator[Any, Any]:
    """As `run_flow`, for an async generator flow."""
    _refuse_state(flow, return_type)
    async for item in astream(lambda: _life(flow, flow_run, parameters, wait_for)):
        yield item


def _refuse_state(flow: "Flow[Any, Any]", return_type: ReturnType) -> None:
    if return_type != "result":
        refuse_return_state(f"Flow {flow.name!r}")


def _life(
    flow: "Flow[Any, Any]", run: FlowRun | None, parameters: dict[str, Any] | None, wait_for: Iterable[Any] | None
) -> FlowRunLife:
    if parameters is None:
        parameters = {} if run is None else dict(run.parameters or {})
    complete = flow.signature.complete(parameters)
    args, kwargs = flow.signature.split(complete)
    return FlowRunLife(flow, args, kwargs, complete, wait_for, run=run)


def _outcome(life: FlowRunLife, return_type: ReturnType) -> Any:
    error, value = life.verdict(return_type == "state")
    if error is not None:
        raise error
    return value
