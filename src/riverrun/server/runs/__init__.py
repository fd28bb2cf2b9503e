"""The runs of the store: SQL only, in `queries`."""
