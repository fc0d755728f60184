"""capstream's own endpoints beside Adobe's: health, metrics, the platform's status, SQL. Source: none of Adobe's; ADR 0001."""

import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from capstream.aep.call import Caller, Sandbox
from capstream.kernel.json import Json, JsonError, loads
from capstream.serving.exchange import Respond, ThinRequest
from capstream.serving.port import AsgiApp, Receive, Scope, Send

Endpoint = Callable[[Request], Awaitable[Response]]
Verify = Callable[[str], Caller | None]
Query = Callable[[str, int, Sandbox], Awaitable[Json]]


def asgi(endpoint: Endpoint) -> AsgiApp:
    """Return an endpoint as an ASGI application."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        response = await endpoint(Request(scope, receive, send))
        await response(scope, receive, send)

    return app


def mounted(mounts: Sequence[tuple[str, AsgiApp]]) -> AsgiApp:
    """Return an application that serves each of `mounts` below its prefix, and 404 elsewhere."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        found = next((each for prefix, each in mounts if f"{scope['path']}/".startswith(f"{prefix}/")), None)
        if found is None:
            await _refused(404, f"{scope['path']} is not served here")(scope, receive, send)
        else:
            await found(scope, receive, send)

    return app


def no_relay(_: ThinRequest, respond: Respond) -> None:
    """Answer webhooks where no relay runs."""
    respond(404, b'{"status":"unknown","reason":"no relay runs on this server"}', b"")


def health(run: Path, roles: tuple[str, ...]) -> Endpoint:
    """Answer 200 while every one of `roles` runs, 503 naming those that do not."""

    async def endpoint(_: Request) -> Response:
        missing = [role for role in roles if not _runs(run / f"{role}.pid")]
        if missing:
            return JSONResponse({"status": "starting", "missing": missing}, 503)
        return JSONResponse({"status": "ready"})

    return endpoint


def _runs(file: Path) -> bool:
    try:
        os.kill(int(file.read_text()), 0)
    except (OSError, ValueError):
        return False
    return True


def metrics(read: Callable[[], bytes]) -> Endpoint:
    """Answer the metrics in Prometheus' text form."""

    async def endpoint(_: Request) -> Response:
        return PlainTextResponse(read(), media_type="text/plain; version=0.0.4; charset=utf-8")

    return endpoint


def files(read: Callable[[str], bytes | None], media_type: str) -> Endpoint:
    """Answer the file that the last part of the path names, 404 when there is none."""

    async def endpoint(request: Request) -> Response:
        content = read(request.url.path.rpartition("/")[2])
        return _refused(404, "no such file") if content is None else Response(content, media_type=media_type)

    return endpoint


def platform_api(
    verify: Verify,
    sandbox_of: Callable[[Caller, str], Sandbox | None],
    *,
    may_query: Callable[[Caller, Sandbox], bool],
    status: Callable[[], Json],
    query: Query,
) -> Endpoint:
    """Answer `/capstream/status` and `/capstream/query` to callers with an access token."""

    async def endpoint(request: Request) -> Response:
        caller = verify(request.headers.get("authorization", "").removeprefix("Bearer "))
        if caller is None:
            return _refused(401, "the access token is missing or not valid")
        sandbox = sandbox_of(caller, request.headers.get("x-sandbox-name", ""))
        if sandbox is None:
            return _refused(404, "no sandbox of that name")
        if (request.method, request.url.path) == ("GET", "/capstream/status"):
            return JSONResponse(status())
        if (request.method, request.url.path) == ("POST", "/capstream/query"):
            if not may_query(caller, sandbox):
                return _refused(403, f"The permission manage-queries is missing in sandbox {sandbox.name}.")
            return await _queried(request, query, sandbox)
        return _refused(404, f"{request.method} {request.url.path} is not an endpoint")

    return endpoint


async def _queried(request: Request, query: Query, sandbox: Sandbox) -> Response:
    try:
        body = loads(await request.body())
    except JsonError as error:
        return _refused(400, f"the body is not JSON: {error}")
    if not isinstance(body, Mapping) or not isinstance(body.get("sql"), str):
        return _refused(400, 'sql is missing; send {"sql": "select ..."}')
    limit = body.get("limit", 1000)
    if not isinstance(limit, int) or limit < 1:
        return _refused(400, "limit is not a positive integer")
    answer = await query(body["sql"], limit, sandbox)
    return _refused(400, answer["error"]["message"]) if "error" in answer else JSONResponse(answer)


def _refused(status: int, detail: str) -> Response:
    return JSONResponse({"status": status, "title": "Refused", "detail": detail}, status)
