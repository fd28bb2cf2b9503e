"""Whose rows a query may see. Every query takes a Scope; there is no way to read without one."""

from msgspec import Struct

from riverrun.server.db.tables import DEFAULT_WORKSPACE


class Scope(Struct, frozen=True):
    """The workspace that a reader or writer acts in."""

    workspace_id: int = DEFAULT_WORKSPACE


#: the scope of this machine's own store, where nobody signs in
LOCAL = Scope()
