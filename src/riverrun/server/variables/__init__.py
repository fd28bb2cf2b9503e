"""Variables: named JSON values, sealed in the store."""
