"""The endpoints of privacy requests: whose data has to go, how far that is, and asking for it at once."""

from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from capstream.kernel.clock import Clock, rfc3339
from capstream.kernel.errors import InputError
from capstream.kernel.json import Json, loads
from capstream.relay import privacy
from capstream.relay.eraser import Eraser
from capstream.relay.privacy import GraceDays
from capstream.relay.sweep import Asked, read_asked, read_sweep
from capstream.storage.ports import Reading

_PAGE = 100
_DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class PrivacyDesk:
    """`courier` is read only; `office` is the gateway's own."""

    courier: Reading
    office: Reading
    eraser: Eraser
    clock: Clock
    grace_days: GraceDays

    async def list_privacy(self, request: Request) -> Response:
        """Requests with the identities a work order needs, or (`state=erased`) those that were met; `after` pages."""
        given = request.query_params
        if (state := given.get("state", "open")) not in ("open", "erased"):
            raise InputError("state", f"{state[:20]!r} is unknown", "open or erased")
        read = privacy.read_open if state == "open" else privacy.read_met
        found = read(self.courier, after=given.get("after", ""), limit=_PAGE)
        shown = [self._shown(each) for each in found]
        return JSONResponse({"privacyRequests": shown, **({"next": found[-1]["id"]} if len(found) == _PAGE else {})})

    async def get_privacy(self, request: Request) -> Response:
        """How far the request of one member is, without identities."""
        return JSONResponse(self.found(request.path_params["org"], request.path_params["customer"]))

    def found(self, org_id: str, customer_id: str) -> Json:
        """Return how far the request of one member is: none, asked, waiting, due, erasing or erased."""
        name = f"{org_id}/{customer_id}"
        shown: Json = {"id": name, "orgId": org_id, "customerId": customer_id, "state": "none"}
        if met := privacy.read_met(self.courier, keys=[name]):
            shown = self._shown(met[0])
        if waits := privacy.read_open(self.courier, keys=[name]):
            shown = self._shown(waits[0])
        if any(each.name == name for each in read_asked(self.office, None)):
            shown["state"] = "asked"
        elif name in self._underway():
            shown["state"] = "erasing"
        shown.pop("identities", None)
        return shown

    async def ask_privacy(self, request: Request) -> Response:
        """Take a member out now: `orgId` and `customerId` as the webhooks have them, and a `reason` that names no person."""
        body = loads(await request.body() or b"{}")
        wanted = ("orgId", "customerId", "reason")
        if not isinstance(body, dict) or set(body) != set(wanted) or not all(type(each) is str for each in body.values()):
            raise InputError("body", "exactly orgId, customerId and reason are wanted, as texts", 'send {"orgId": "…", …}')
        for name in ("orgId", "customerId"):
            if not (body[name].isascii() and body[name].isdigit()):
                raise InputError(name, f"{body[name][:20]!r} is no id", "give the number Capillary uses")
        if not body["reason"].strip():
            raise InputError("reason", "it is empty", "say why; name no person")
        who, address = request.state.who, request.client.host if request.client else ""
        asked = Asked(
            org_id=body["orgId"],
            customer_id=body["customerId"],
            reason=body["reason"],
            who=who,
            address=address,
            at_ms=self.clock(),
        )
        self.eraser.ask(asked)
        return JSONResponse({"status": "queued"}, status_code=202)

    def _underway(self) -> set[str]:
        sweep = read_sweep(self.office)
        return {each.name for each in sweep.members} if sweep else set()

    def _shown(self, request: Json) -> Json:
        if "erasedAtMs" in request:
            return {**request, "state": "erased", "erasedAt": rfc3339(request["erasedAtMs"])}
        due_ms = int(request["requestedAtMs"] + self.grace_days() * _DAY_MS)
        state = "erasing" if request["id"] in self._underway() else "due" if due_ms <= self.clock() else "waiting"
        return {**request, "state": state, "dueAt": rfc3339(due_ms)}
