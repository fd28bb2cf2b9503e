"""Blocks: types, their schemas, documents of values with secrets."""
