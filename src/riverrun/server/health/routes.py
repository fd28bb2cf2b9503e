"""Whether the process lives, whether it can do its work, what it has measured, what it offers."""

from typing import Any

from riverrun.server.db import schema
from riverrun.server.db.units import Reader
from riverrun.server.http.table import PUBLIC, Call, Reply, Routes
from riverrun.server.services.loops import reasons_against

routes = Routes("", "Health")


@routes.get("/health", permission=PUBLIC, returns=bool)
async def health(call: Call) -> bool:
    """Whether the process answers; says nothing of the database."""
    return True


@routes.get("/ready", permission=PUBLIC, also=(503,))
async def ready(call: Call) -> Reply:
    """Whether requests can be served and every loop does its work; 503 with the reasons when not."""
    try:
        reasons = await call.store.read(_reasons_in_database(call.state))
    except call.store.database.errors as error:
        first = str(getattr(error, "orig", None) or error).strip().split("\n", 1)[0]
        reasons = [f"The database does not answer: {first}"]
    if call.store.hub.closed:
        reasons.append("The server is stopping.")
    if reasons:
        return Reply(value={"ready": False, "message": " ".join(reasons), "reasons": reasons}, status=503)
    return Reply(value={"ready": True, "message": "OK", "reasons": []})


def _reasons_in_database(state: dict[str, Any]) -> Any:
    def unit(reader: Reader) -> list[str]:
        found = reader.row(schema.VERSION)
        reasons = []
        if found is None or found[0] != schema.HEAD:
            is_at = "no revision" if found is None else found[0]
            reasons.append(
                f"The tables are at {is_at}, this server needs {schema.HEAD}: `riverrun server database upgrade`."
            )
        return reasons + reasons_against(reader, state.get("services"), state.get("loops", []))

    return unit


@routes.get("/metrics", permission="metrics:read", returns=bytes)
async def metrics(call: Call) -> Reply:
    """What Prometheus reads."""
    from riverrun.server.http.metrics import CONTENT_TYPE, exposition

    return Reply(value=exposition(call.state), media_type=CONTENT_TYPE)


@routes.get("/openapi.json", permission=PUBLIC)
async def openapi(call: Call) -> Reply:
    """The interface as an OpenAPI 3.1 document, made on the first request."""
    from riverrun.server.http.openapi import document_of

    return Reply(value=document_of(call.state), media_type="application/json; charset=utf-8")
