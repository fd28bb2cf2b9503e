"""Search by words: `error -debug +"time out"`.

Words are or-ed; one with - or ! in front must not occur, one with + must. A phrase stands in double quotes, in which a backslash
keeps a quote. Case does not matter, and a word may be part of a longer one.
"""

import re

import sqlalchemy as sa
from msgspec import Struct

from riverrun.server.db.where import Condition, contains

_TERM = re.compile(r'(?P<sign>[-!+]?)(?:"(?P<phrase>(?:[^"\\]|\\.)*)(?:"|$)|(?P<word>[^\s"]+))', re.DOTALL)
_ESCAPE = re.compile(r'\\(["\\])')
_SIGNS = frozenset("-!+")


class Terms(Struct, kw_only=True):
    """What a query asks for, in lower case."""

    include: list[str]
    exclude: list[str]
    require: list[str]

    def match(self, text: str) -> bool:
        """Whether a text is what is looked for."""
        text = text.lower()
        return (
            (not self.include or any(term in text for term in self.include))
            and not any(term in text for term in self.exclude)
            and all(term in text for term in self.require)
        )

    def condition(self, text: sa.ColumnElement[str]) -> Condition:
        """The same in SQL."""
        parts: list[Condition] = [contains(text, term) for term in self.require]
        parts += [sa.not_(contains(text, term)) for term in self.exclude]
        if self.include:
            parts.append(sa.or_(*(contains(text, term) for term in self.include)))
        return sa.and_(sa.true(), *parts)


def terms(query: str) -> Terms:
    """What a query asks for."""
    found = Terms(include=[], exclude=[], require=[])
    lists = {"": found.include, "-": found.exclude, "!": found.exclude, "+": found.require}
    for match in _TERM.finditer(query):
        word = match["word"]
        term = _ESCAPE.sub(r"\1", match["phrase"]) if word is None else word
        # a sign with nothing behind it is no term
        if term.strip() and (word is None or match["sign"] or term not in _SIGNS):
            lists[match["sign"]].append(term.lower())
    return found
