"""Automations: triggers and the actions they start. They are kept and checked here; nothing evaluates them yet."""
