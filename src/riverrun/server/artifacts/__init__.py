"""Artifacts: what runs leave for people to look at, and the newest one of each key."""
