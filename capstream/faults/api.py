"""`/capstream/faults`: set, list and clear faults. HTTP Basic, for faults on the token service must not lock the door."""

import base64
import binascii
from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from capstream.faults.model import Switch
from capstream.kernel import log
from capstream.kernel.errors import InputError
from capstream.kernel.json import Json, JsonError, loads

PATH = "/capstream/faults"

MayAdminister = Callable[[str, str], bool]
"""Says whether a client id and its secret are those of an administrator."""


def endpoint(switch: Switch, may: MayAdminister) -> Callable[[Request], Awaitable[Response]]:
    """Return the endpoint: GET, POST (one more), PUT (instead of all), DELETE (all, or one by id)."""

    async def serve(request: Request) -> Response:
        who, secret = _basic(request.headers.get("authorization", ""))
        if not may(who, secret):
            headers = {"www-authenticate": 'Basic realm="capstream"'}
            return _refused(401, "client id and secret of an administrator are needed", headers)
        fault_id = request.url.path.removeprefix(PATH).strip("/")
        try:
            found = await _done(switch, request, fault_id)
        except InputError as error:
            return _refused(400, str(error))
        except JsonError as error:
            return _refused(400, f"the body is not JSON: {error}")
        if request.method != "GET":
            log.warning("faults changed", action="faults_changed", by=who, method=request.method, faults=len(switch.all()))
        return found

    return serve


async def _done(switch: Switch, request: Request, fault_id: str) -> Response:
    match request.method, bool(fault_id):
        case "GET", False:
            return JSONResponse({"faults": shown(switch)})
        case "POST", False:
            (made,) = switch.set([loads(await request.body())], replace=False)
            return JSONResponse(made.shown(), 201)
        case "PUT", False:
            switch.set(_listed(loads(await request.body())), replace=True)
            return JSONResponse({"faults": shown(switch)})
        case "DELETE", _:
            is_cleared = switch.clear(fault_id or None)
            return Response(status_code=204) if is_cleared else _refused(404, f"no fault {fault_id} is set; list them")
    return _refused(405, f"{request.method} {request.url.path} is not served: GET, POST, PUT, DELETE {PATH}")


def shown(switch: Switch) -> list[Json]:
    """Return the faults that are set, as JSON."""
    return [each.shown() for each in switch.all()]


def _listed(body: Json) -> list[Json]:
    faults = body.get("faults") if isinstance(body, dict) else None
    if not isinstance(faults, list):
        raise InputError("faults", "a list is missing", 'send {"faults": [{"route": "inlet", "kind": "status"}]}')
    return faults


def _basic(header: str) -> tuple[str, str]:
    scheme, _, coded = header.partition(" ")
    try:
        who, _, secret = base64.b64decode(coded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    return (who, secret) if scheme.lower() == "basic" else ("", "")


def _refused(status: int, detail: str, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse({"status": status, "title": "Refused", "detail": detail}, status, headers)
