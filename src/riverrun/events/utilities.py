"""`emit_event` under the path that users import it from, too; defined in `riverrun.events.emit`."""

from riverrun.events.emit import emit_event

__all__ = ["emit_event"]
