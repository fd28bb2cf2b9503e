"""Inputs of flow runs: what is sent to a run while it waits or works."""
