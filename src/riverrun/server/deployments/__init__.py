"""Deployments: flows that can be run by name, with their schedules, parameters and limits."""
