"""Types for fields of blocks."""

from riverrun.types import SecretDict

__all__ = ["SecretDict"]
