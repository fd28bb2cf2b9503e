"""Keys for indexed texts of any length.

PostgreSQL refuses an index entry above 2,704 bytes, and a flow name or a tag may be longer. Pure functions; no SQL here.
"""

import hashlib

_WHOLE = 200
_PREFIX = 150


def index_key(text: str) -> str:
    """The text itself, or a prefix and a digest of a long one: equal exactly when the texts are."""
    if len(text) <= _WHOLE:
        return text
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{text[:_PREFIX]}~{digest}"
