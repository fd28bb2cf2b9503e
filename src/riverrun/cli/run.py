"""`riverrun run`: run a flow from a file or a module, here and now."""

import inspect
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from typing import TYPE_CHECKING, Any

import click

from riverrun.cli.groups import json_option
from riverrun.cli.output import print_json, say, style_error

if TYPE_CHECKING:
    from riverrun.flows import Flow
    from riverrun.wire.states import BaseState


@click.command(epilog="Exit codes: 0 Completed, 1 any other end, 2 wrong command or parameters, 130 Ctrl-C.")
@click.argument("entrypoint")
@click.option(
    "--param", "-p", "params", multiple=True, metavar="NAME=VALUE", help="A parameter; JSON, or text if it is none."
)
@click.option("--params", "params_json", metavar="JSON", help="Parameters as one JSON object; --param goes over it.")
@click.option("--run-name", metavar="NAME", help="Name the flow run.")
@json_option
def run(
    entrypoint: str, *, params: tuple[str, ...], params_json: str | None, run_name: str | None, as_json: bool
) -> None:
    """Run a flow and show how it ended.

    ENTRYPOINT is FILE:FLOW, module:flow or module.flow; the flow may be left out where there is only one.

    \b
    riverrun run etl.py:main --param day=2026-01-31 --param 'sizes=[1, 2]'
    """
    from riverrun.base.errors import MissingFlowError, ScriptError
    from riverrun.entrypoints import load_flow, script_traceback

    try:
        flow = load_flow(entrypoint)
    except ScriptError as error:
        say(script_traceback(error))
        raise click.ClickException(f"{error.path!r} could not be loaded, it raised the error above.") from None
    except MissingFlowError as error:
        raise click.UsageError(str(error)) from None
    if run_name is not None:
        flow = flow.with_options(flow_run_name=run_name)
    parameters = _parameters(flow, params, params_json)
    with _stdout_kept_free(as_json):
        state = _run(flow, parameters)
    if as_json:
        print_json(_document(state))
    else:
        _tell(state)
    if not state.is_completed():
        raise click.exceptions.Exit(1)


# -- parameters -----------------------------------------------------------------------------------------------------------


def _parameters(flow: "Flow[..., Any]", params: tuple[str, ...], params_json: str | None) -> dict[str, Any]:
    import msgspec

    signature = inspect.signature(flow.fn)
    values: dict[str, Any] = {}
    if params_json is not None:
        try:
            values = msgspec.json.decode(params_json, type=dict[str, Any])
        except msgspec.MsgspecError as error:
            raise click.UsageError(f"--params is not a JSON object: {error}") from None
    for text in params:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise click.UsageError(f"--param {text!r} is not of the form NAME=VALUE.")
        values[name] = _value(value, signature.parameters.get(name))
    _check(flow, signature, values)
    return values


def _value(text: str, parameter: inspect.Parameter | None) -> Any:
    import msgspec

    # `--param name=5` for a parameter that is text means "5", not a number that then does not fit
    if parameter is not None and parameter.annotation in {str, "str"} and not text.startswith('"'):
        return text
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text


def _check(flow: "Flow[..., Any]", signature: inspect.Signature, values: Mapping[str, Any]) -> None:
    try:
        signature.bind(**values)
    except TypeError as error:
        shown = str(signature).partition(" -> ")[0]
        raise click.UsageError(f"Flow {flow.name!r} takes {shown}: {error}.") from None


# -- the run --------------------------------------------------------------------------------------------------------------


def _run(flow: "Flow[..., Any]", parameters: dict[str, Any]) -> "BaseState":
    call: Any = flow  # its type says what the user's function returns; with return_state it is a state
    if flow.isgenerator:
        return _drain(call(**parameters))
    outcome = call(**parameters, return_state=True)
    if inspect.iscoroutine(outcome):
        import asyncio

        outcome = asyncio.run(outcome)
    state: BaseState = outcome
    return state


def _drain(items: Any) -> "BaseState":
    """Take everything that a generator flow yields; its run ends with it."""
    from riverrun.wire.states import BaseState, StateType

    async def drain() -> None:
        async for _ in items:
            pass

    try:
        if inspect.isasyncgen(items) or hasattr(items, "__aiter__"):
            import asyncio

            asyncio.run(drain())
        else:
            for _ in items:
                pass
    except Exception as error:  # noqa: BLE001 - the flow's own exception; the run's log has its traceback
        return BaseState(type=StateType.FAILED, message=f"{type(error).__name__}: {error}")
    return BaseState(type=StateType.COMPLETED)


@contextmanager
def _stdout_kept_free(wanted: bool) -> Iterator[None]:
    """Send what the flow and its child processes print to stderr, so that stdout holds the document alone."""
    if not wanted:
        yield
        return
    sys.stdout.flush()
    try:
        kept = os.dup(sys.stdout.fileno())
    except (OSError, ValueError):  # stdout is no file here (a test captures it)
        with redirect_stdout(sys.stderr):
            yield
        return
    try:
        os.dup2(2, 1)
        with redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def _document(state: "BaseState") -> dict[str, Any]:
    import msgspec

    document: dict[str, Any] = {
        "flow_run_id": state.state_details.flow_run_id,
        "state": {"type": state.type.value, "name": state.name, "message": state.message, "timestamp": state.timestamp},
    }
    if state.is_completed() and hasattr(state, "result"):  # the states of a generator's run have none
        result = state.result(raise_on_failure=False)
        try:
            document["result"] = msgspec.to_builtins(result)
        except (TypeError, msgspec.MsgspecError, ValueError):
            document["result_repr"] = repr(result)
    return document


def _tell(state: "BaseState") -> None:
    from riverrun.cli.output import STATE_COLORS

    name = style_error(state.name or state.type.value, fg=STATE_COLORS[state.type.value], bold=True)
    run_id = state.state_details.flow_run_id
    say(f"{name}{f': {state.message}' if state.message else ''}")
    if run_id is not None:
        say(f"See it with: riverrun flow-run inspect {run_id}")
