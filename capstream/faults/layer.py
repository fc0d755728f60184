"""The one place where faults act: an ASGI layer around the platform. While none is set a call passes it untouched."""

import asyncio
from collections.abc import Callable

from capstream.aep.asgi import AsgiApp, Receive, Scope, Send, headers_of
from capstream.faults.mixed import mixed
from capstream.faults.model import Fault, Switch
from capstream.faults.wire import Taken, answer, replayed, send_taken, taken_of
from capstream.kernel.json import dumps

_SPARED = ("/capstream/", "/relay/", "/webhooks/", "/health", "/metrics")
"""Not the platform Adobe has: the switch itself must stay in reach."""

ServiceOf = Callable[[str, str], str]
Revoke = Callable[[str], None]


def with_faults(app: AsgiApp, switch: Switch, service_of: ServiceOf, revoke: Revoke) -> AsgiApp:
    """Return `app` behind the switch. `revoke` makes an access token bad for good."""

    async def layer(scope: Scope, receive: Receive, send: Send) -> None:
        if switch.is_off() or scope["type"] != "http" or f"{scope['path']}/".startswith(_SPARED):
            await app(scope, receive, send)
            return
        fault = switch.strike(scope["method"], scope["path"], service_of(scope["method"], scope["path"]))
        if fault is None:
            await app(scope, receive, send)
        elif fault.kind == "revoke":
            revoke(headers_of(scope).get("authorization", "").removeprefix("Bearer "))
            await app(scope, receive, send)
        elif fault.kind == "delay":
            await asyncio.sleep(fault.delay_s)
            await app(scope, receive, send)
        elif fault.kind == "mixed_207":
            await mixed(app, fault, scope, receive, send)
        else:
            await _broken(app, fault, scope, receive, send)

    return layer


async def _broken(app: AsgiApp, fault: Fault, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer in a way that is wrong as a whole."""
    is_handled = fault.handled or fault.kind not in ("status", "reset")
    taken = await taken_of(app, scope, receive) if is_handled else None
    match fault.kind:
        case "status":
            await _refuse(fault, send)
        case "wrong_json" if taken:
            await answer(send, taken.status, b'{"unexpected": [', [(b"content-type", b"application/json")])
        case "drip" if taken:
            await send_taken(send, taken, piece=fault.bytes, pause_s=fault.delay_s)
        case "half" if taken:
            await send_taken(send, Taken(taken.status, taken.headers, taken.body), upto=len(taken.body) // 2)
            await _hang_up(scope, receive, "capstream.close")
        case "reset":
            await _hang_up(scope, receive, "capstream.reset")


async def _refuse(fault: Fault, send: Send) -> None:
    """Answer the fault's status in the form most services have."""
    headers = [(b"content-type", b"application/json")]
    if fault.retry_after_s is not None:
        headers.append((b"retry-after", str(fault.retry_after_s).encode()))
    body = {
        "type": "about:blank",
        "status": fault.status,
        "title": "Fault",
        "detail": "a fault is set: capstream faults list",
    }
    await answer(send, fault.status, dumps(body), headers)


async def _hang_up(scope: Scope, receive: Receive, way: str) -> None:
    """End the connection and wait until the server has noticed."""
    scope["extensions"][way]()
    listen = replayed(b"", receive)
    while (await listen())["type"] != "http.disconnect":
        pass
