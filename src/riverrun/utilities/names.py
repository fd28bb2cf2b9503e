"""Random names and hidden secrets, under the names that the peer's users import."""

from typing import Any

from riverrun.base.names import slug
from riverrun.base.setting import MASK

__all__ = ["generate_slug", "obfuscate", "obfuscate_string"]

#: how long a secret must be for its end to be shown
_LONG = 10


def generate_slug(n_words: int) -> str:
    """A random name of `n_words` words, such as `misty-otter`; raises ValueError for none."""
    if n_words < 1:
        raise ValueError(f"A name needs at least 1 word, not {n_words}")
    return slug(n_words)


def obfuscate_string(s: str, show_tail: bool = False) -> str:
    """Asterisks in the place of a secret; with `show_tail` its last four characters, if it is longer than ten."""
    return MASK[:4] + s[-4:] if show_tail and len(s) > _LONG else MASK


def obfuscate(s: Any, show_tail: bool = False) -> str:
    """As `obfuscate_string`, for anything: the text of pydantic's secrets is hidden already."""
    return obfuscate_string(str(s), show_tail=show_tail)
