"""Limits on how much happens at once, across processes and machines: `riverrun.concurrency.sync` and `.asyncio`.

A server keeps the limits. Slots are taken with a lease, which this process renews while it needs them (`leases.py`), so that
slots of a process that died come back by themselves.
"""
