"""Bounded numbers: what a column of either database holds."""

from typing import Annotated, Final

from msgspec import Meta

INT_MAX: Final = 2**63 - 1

Int = Annotated[int, Meta(ge=-INT_MAX - 1, le=INT_MAX)]
NonNegative = Annotated[int, Meta(ge=0, le=INT_MAX)]
Positive = Annotated[int, Meta(ge=1, le=INT_MAX)]
#: what 32-bit columns hold
Count = Annotated[int, Meta(ge=0, le=2**31 - 1)]
