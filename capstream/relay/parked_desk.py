"""The endpoints of parked payloads: what only was refused for now, and giving it up. Giving up is a command to the courier."""

import asyncio
from dataclasses import dataclass

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from capstream.kernel.clock import Clock, rfc3339
from capstream.kernel.errors import InputError
from capstream.kernel.json import Json, JsonError, loads
from capstream.relay import journal
from capstream.relay.jobs import ParkedFilter
from capstream.relay.ledger import read_parked
from capstream.relay.records import Parked
from capstream.storage.ports import Log, Reading

_PAGE, _MAX_PAGE = 100, 1000
_LOOKED_AT = 100_000


@dataclass(frozen=True, slots=True)
class ParkedDesk:
    """`courier` is read only; `journal` is the receiver's own."""

    courier: Reading
    journal: Log
    clock: Clock

    async def list_parked(self, request: Request) -> Response:
        """Parked payloads in the order of their ids, without bodies; `after` is the last page's `next`."""
        given: dict[str, Json] = dict(request.query_params)
        after, limit = str(given.pop("after", "")), str(given.pop("limit", _PAGE))
        if not (limit.isascii() and limit.isdigit()):
            raise InputError("limit", f"{limit[:20]!r} is no whole number", "send digits")
        wanted = _wanted(given)
        found, last = await asyncio.to_thread(self._find, wanted, after, max(1, min(int(limit), _MAX_PAGE)))
        return JSONResponse({"parked": [_shown(key, parked) for key, parked in found], **({"next": last} if last else {})})

    async def get_parked(self, request: Request) -> Response:
        """One parked payload with its body; `id` as the list shows it."""
        key = request.query_params.get("id", "")
        found = next((parked for each, parked in read_parked(self.courier, keys=[key]) if each == key), None)
        if found is None:
            raise InputError("id", "no payload of this id is parked (any more)", "see the list of parked payloads")
        try:
            payload = loads(found.record.body)
        except JsonError:
            payload = found.record.body.decode(errors="replace")
        return JSONResponse({**_shown(key, found), "payload": payload})

    async def discard_parked(self, request: Request) -> Response:
        """Give up the payloads that the filter in the body matches; what waits behind them goes on. `reason` says why."""
        body = loads(await request.body() or b"{}")
        reason = body.pop("reason", None) if isinstance(body, dict) else None
        if not isinstance(reason, str) or not reason.strip():
            raise InputError("reason", "it is missing", "say in words why nobody needs the payloads")
        wanted = _wanted(body)
        if wanted == ParkedFilter():
            raise InputError("body", "an empty filter means all of them", 'say which: {"sourceKey": "…"} or {"ids": […]}')
        details = {"filter": msgspec.to_builtins(wanted), "reason": reason, "by": request.state.who}
        offset = self.journal.append([journal.command("discard_parked", self.clock(), **details)])
        return JSONResponse({"status": "queued", "journalOffset": offset}, status_code=202)

    def _find(self, wanted: ParkedFilter, after: str, limit: int) -> tuple[list[tuple[str, Parked]], str]:
        found: list[tuple[str, Parked]] = []
        for _ in range(_LOOKED_AT // _PAGE):
            page = read_parked(self.courier, after=after, limit=_PAGE)
            for key, parked in page:
                after = key
                if wanted.means(key, parked):
                    found.append((key, parked))
                    if len(found) == limit:
                        return found, after
            if len(page) < _PAGE:
                return found, ""
        return found, after


def _wanted(body: Json) -> ParkedFilter:
    try:
        return msgspec.convert(body, ParkedFilter)
    except msgspec.ValidationError as error:
        known = ", ".join(field.encode_name for field in msgspec.structs.fields(ParkedFilter))
        raise InputError("body", str(error), f"known members: {known}") from error


def _shown(key: str, parked: Parked) -> Json:
    record = parked.record
    return {
        "id": key,
        "sourceKey": parked.source_key,
        "flow": parked.kind,
        "payloadId": record.id,
        "customerId": record.member,
        "journalOffset": record.offset,
        "attempts": record.attempts,
        "firstRefused": rfc3339(record.first_ms),
        "reason": parked.reason,
        **({"nextTry": rfc3339(parked.due_ms)} if record.attempts else {"isBehind": True}),
    }
