"""The logs of the store: SQL only, in `queries`."""
