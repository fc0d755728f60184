"""`POST /capstream/keys/rotate`: new keys for a running platform. HTTP Basic with an administrator's client id and secret."""

import base64
import binascii
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from capstream.aep.alerts.signing import Signer
from capstream.aep.ims.tokens import Tokens
from capstream.kernel import log
from capstream.kernel.json import Json, JsonError, loads

PATH = "/capstream/keys/rotate"
KINDS = ("secrets", "tokens", "events")


@dataclass(frozen=True, slots=True)
class KeyDesk:
    """`administers` says whether a client id and its secret may; `reseal` seals the stored secrets with a new key."""

    administers: Callable[[str, str], bool]
    reseal: Callable[[], Awaitable[int]]
    tokens: Tokens
    signer: Signer

    async def rotate(self, request: Request) -> Response:
        """Change the keys the body names: `{"what":["secrets","tokens","events"],"dropOld":false}`."""
        who, secret = _basic(request.headers.get("authorization", ""))
        if not self.administers(who, secret):
            return JSONResponse({"title": "client id and secret of an administrator are needed"}, 401)
        if request.method != "POST":
            return JSONResponse({"title": f"{request.method} is not served: POST {PATH}"}, 405)
        try:
            body = loads(await request.body())
        except (JsonError, UnicodeDecodeError):
            body = None
        if not _is_clear(body):
            return JSONResponse({"title": f'send {{"what": [...], "dropOld": false}}; what is any of {", ".join(KINDS)}'}, 400)
        found = await self._changed(body)
        log.warning("keys changed", action="keys_changed", by=who, what=sorted(found), dropped=body.get("dropOld", False))
        return JSONResponse(found)

    async def _changed(self, body: Json) -> dict[str, int]:
        """Return by kind: how many secrets were sealed, how many keys of tokens are live, which key of events is new."""
        found: dict[str, int] = {}
        if "tokens" in body["what"]:
            found["tokens"] = self.tokens.rotate(drops_old=body.get("dropOld", False))
        if "events" in body["what"]:
            found["events"] = self.signer.rotate()
        if "secrets" in body["what"]:
            found["secrets"] = await self.reseal()
        return found


def _is_clear(body: Json) -> bool:
    if not isinstance(body, dict) or body.keys() - {"what", "dropOld"} or type(body.get("dropOld", False)) is not bool:
        return False
    wanted = body.get("what")
    return isinstance(wanted, list) and bool(wanted) and all(each in KINDS for each in wanted)


def _basic(header: str) -> tuple[str, str]:
    scheme, _, rest = header.partition(" ")
    try:
        client_id, _, secret = base64.b64decode(rest.strip(), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    return (client_id, secret) if scheme.lower() == "basic" else ("", "")
