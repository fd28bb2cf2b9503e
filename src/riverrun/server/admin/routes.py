"""What clients ask the server about itself."""

from typing import Any

from riverrun.server.db.units import Reader
from riverrun.server.http.errors import HTTPError
from riverrun.server.http.table import PUBLIC, Call, Routes

#: the version of the peer whose protocol this server speaks; its clients refuse another major version
PROTOCOL_VERSION = "3.8.8"

routes = Routes("", "Admin")


@routes.get("/admin/version", permission=PUBLIC, returns=str)
def read_version(reader: Reader) -> str:
    return PROTOCOL_VERSION


@routes.get("/version", permission=PUBLIC, returns=str)
def read_api_version(reader: Reader) -> str:
    return PROTOCOL_VERSION


@routes.get("/hello", permission=PUBLIC, returns=str)
def hello(reader: Reader) -> str:
    return "👋"


@routes.get("/csrf-token", permission=PUBLIC)
async def csrf_token(call: Call, client: str) -> Any:
    """There are no tokens to hand out: other origins are refused by their headers (`server.http.guard`)."""
    raise HTTPError(422, "CSRF protection is disabled.")
