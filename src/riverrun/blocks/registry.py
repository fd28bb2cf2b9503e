"""Which class serves a type of blocks, by the type's slug.

Classes enter themselves when they are defined. What is not known yet is looked for among riverrun's own modules, then in
the installed packages that name a module in the entry point group `riverrun.collections`.
"""

from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from riverrun.base.errors import NotFoundError

#: riverrun's own types that are imported when they are asked for
_HOMES = {
    "secret": "riverrun.blocks.system",
    "local-file-system": "riverrun.filesystems",
    "remote-file-system": "riverrun.filesystems",
    "smb": "riverrun.filesystems",
    "webhook": "riverrun.blocks.webhook",
    "slack-webhook": "riverrun.blocks.notifications",
    "ms-teams-webhook": "riverrun.blocks.notifications",
    "discord-webhook": "riverrun.blocks.notifications",
    "mattermost-webhook": "riverrun.blocks.notifications",
    "pager-duty-webhook": "riverrun.blocks.notifications",
    "opsgenie-webhook": "riverrun.blocks.notifications",
    "sendgrid-email": "riverrun.blocks.notifications",
    "twilio-sms": "riverrun.blocks.notifications",
    "custom-webhook": "riverrun.blocks.notifications",
    "apprise-notification": "riverrun.blocks.notifications",
}

_classes: dict[str, type[Any]] = {}


class UnknownBlockType(NotFoundError):
    """No class of blocks is known for this type."""

    code = "block_type_unknown"


def register(slug: str, kind: type[Any]) -> None:
    """Let a class serve a type. Defined again it takes the place of the former; a subclass that inherits the type does not."""
    known = _classes.get(slug)
    if known is None or known not in kind.__mro__:
        _classes[slug] = kind


def lookup(slug: str) -> type[Any]:
    """The class of a type; raises UnknownBlockType."""
    if slug not in _classes and slug in _HOMES:
        import_module(_HOMES[slug])
    if slug not in _classes:
        _load_collections()
    try:
        return _classes[slug]
    except KeyError:
        raise UnknownBlockType(
            f"No block class found for slug {slug!r}. Import the module that defines it, or install the package it is in."
        ) from None


_loaded = False


def _load_collections() -> None:
    """Import what installed packages offer, once."""
    global _loaded
    if _loaded:
        return
    _loaded = True
    for entry in entry_points(group="riverrun.collections"):
        entry.load()
