"""Journals and signs of life over HTTP; riverrun's own operations."""

import msgspec

from riverrun.server.http import bodies
from riverrun.server.http.errors import InvalidRequest
from riverrun.server.http.table import Call, Reply, Routes
from riverrun.server.ingest.unit import JournalGap
from riverrun.server.journal import logic
from riverrun.wire.presence import JournalAnswer, JournalBody, Presence, PresenceBody

routes = Routes("", "Journal")
MAX_BYTES = 32 * 1024 * 1024
_decode = msgspec.msgpack.Decoder(JournalBody).decode


@routes.post(
    "/journal", permission="runs:write", returns=JournalAnswer, body=JournalBody, errors=(409,), max_bytes=MAX_BYTES
)
async def take_journal(call: Call, raw_body: bytes) -> JournalAnswer | Reply:
    """Take records of a journal (application/x-msgpack); answered when they are committed."""
    try:
        body = _decode(raw_body)
    except msgspec.ValidationError as error:
        raise bodies.invalid(error) from None
    except (msgspec.DecodeError, RecursionError, ValueError) as error:
        raise InvalidRequest(("body",), f"The body is not msgpack: {error}") from None
    try:
        return await logic.take(call.store, call.caller, body)
    except JournalGap as gap:
        return Reply(status=409, value={"detail": str(gap), "expected": gap.expected})


@routes.post("/presence", permission="runs:write", returns=Presence)
async def presence(call: Call, body: PresenceBody) -> Presence:
    """A sign of life; answered when there is something to tell, or after `wait` seconds."""
    return await logic.presence(call.store, call.caller, body)
