from typing import TYPE_CHECKING, Any

__all__ = ["get_client"]

if TYPE_CHECKING:
    from riverrun.client.orchestration import get_client


def __getattr__(name: str) -> Any:
    if name == "get_client":  # on first use: the journal, which is below this package too, has no need of it
        from riverrun.client.orchestration import get_client

        return get_client
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
