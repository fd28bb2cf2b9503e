"""Locks on keys of results: one holder at a time computes what is stored under a key.

`memory` excludes within a process, `filesystem` between the processes of a machine; users may bring their own
implementation of `protocol.LockManager`.
"""
