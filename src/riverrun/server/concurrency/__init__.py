"""Concurrency limits: limits with names, the slots of which are rows, and limits of tags on top of them."""
