"""Journals of processes that run flows, and their signs of life."""
