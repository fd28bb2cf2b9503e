"""Flows: the names that runs share."""
