"""Blocks: typed, named configuration kept on a server. Loads nothing; `riverrun.blocks.core` has the base class."""
