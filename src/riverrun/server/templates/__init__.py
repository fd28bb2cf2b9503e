"""Values that people write with templates in them, and the JSON schemas that values must meet.

Templates and schemas come from outside and may be hostile, so what may take long is done in a process that can be killed.
"""
