"""Filters of events under the module path that users import them from; defined in `wire.filters`."""

from riverrun.wire.filters import (
    AutomationFilter,
    AutomationFilterCreated,
    AutomationFilterName,
    EventAnyResourceFilter,
    EventFilter,
    EventIDFilter,
    EventNameFilter,
    EventOccurredFilter,
    EventRelatedFilter,
    EventResourceFilter,
    EventTextFilter,
)

__all__ = [
    "AutomationFilter",
    "AutomationFilterCreated",
    "AutomationFilterName",
    "EventAnyResourceFilter",
    "EventFilter",
    "EventIDFilter",
    "EventNameFilter",
    "EventOccurredFilter",
    "EventRelatedFilter",
    "EventResourceFilter",
    "EventTextFilter",
]
