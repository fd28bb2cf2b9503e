"""Runs flows of some deployments from one process: what `flow.serve` and `serve` stand on."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from riverrun.runner.runner import Runner

__all__ = ["Runner"]


def __getattr__(name: str) -> Any:
    if name == "Runner":
        from riverrun.runner.runner import Runner

        return Runner
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
