"""Filters under the module path that users import them from; defined in `wire.filters`.

They are made with keyword arguments: `FlowRunFilter(name=FlowRunFilterName(like_="etl"))`. A dictionary may stand for each
filter inside another.
"""

from enum import StrEnum

from riverrun.wire.filters import *  # noqa: F403 - a face


class Operator(StrEnum):
    """How the fields of one filter go together."""

    and_ = "and_"
    or_ = "or_"


__all__ = [name for name in dir() if "Filter" in name or name == "Operator"]
