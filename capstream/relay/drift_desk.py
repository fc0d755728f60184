"""The endpoints of schema drift: what changed in the form of webhooks, and that a person has seen it."""

from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from capstream.kernel.clock import Clock
from capstream.kernel.errors import InputError
from capstream.kernel.json import Json, loads
from capstream.relay.drift import Acknowledgements, Notice, read_notices, shown, with_drift
from capstream.storage.ports import Documents, Reading


@dataclass(frozen=True, slots=True)
class DriftDesk:
    """`notices` is the clerk's store and read only; `office` is the gateway's own."""

    notices: Reading
    office: Documents
    clock: Clock

    async def list_drift(self, request: Request) -> Response:
        """Notices of schema drift; `sourceKey` means those of one source, `new=true` those nobody has seen."""
        given = request.query_params
        if given.get("new", "false") not in ("true", "false"):
            raise InputError("new", f"{given['new'][:20]!r} is neither true nor false", "send new=true or leave it out")
        seen = Acknowledgements(self.office).seen()
        found = [
            shown(notice, seen.get(notice.source_key, 0))
            for notice in read_notices(self.notices)
            if given.get("sourceKey") in (None, notice.source_key)
        ]
        return JSONResponse({"notices": [each for each in found if each["isNew"] or given.get("new") != "true"]})

    async def acknowledge_drift(self, request: Request) -> Response:
        """Say that the notices of now were seen: those of `sourceKey`, or all; their alerts are over."""
        body = loads(await request.body() or b"{}")
        if not isinstance(body, dict) or body.keys() - {"sourceKey"} or not isinstance(body.get("sourceKey", ""), str):
            raise InputError("body", "only `sourceKey` is understood", 'send {} or {"sourceKey": "…"}')
        sources = {notice.source_key for notice in read_notices(self.notices)}
        wanted = {body["sourceKey"]} & sources if "sourceKey" in body else sources
        Acknowledgements(self.office).note(sorted(wanted), self.clock())
        return JSONResponse({"acknowledged": sorted(wanted)})

    def told(self, status: Json) -> Json:
        """Return a status with the notices and their alerts."""
        notices: list[Notice] = read_notices(self.notices)
        return with_drift(status, notices, Acknowledgements(self.office).seen())
