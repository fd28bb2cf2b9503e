"""The flows of the store: SQL only, in `queries`."""
