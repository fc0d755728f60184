"""Reading the parameters of a token request, which clients put in four different places. Source: ims.md 3."""

from collections.abc import Mapping
from urllib.parse import parse_qsl

from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.requests import Request

from capstream.aep.asgi import Scope
from capstream.kernel.json import JsonError, loads


async def read(scope: Scope, headers: Mapping[str, str], body: bytes) -> dict[str, str]:
    """Return the parameters of the body (form, multipart or JSON) over those of the query; unreadable parts count as empty."""
    found = dict(parse_qsl(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True))
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        return found | await _multipart(scope, body)
    if kind == "application/json":
        return found | _json(body)
    return found | dict(parse_qsl(body.decode("latin-1"), keep_blank_values=True, encoding="utf-8"))


def _json(body: bytes) -> dict[str, str]:
    try:
        value = loads(body)
    except (JsonError, UnicodeDecodeError, RecursionError):
        return {}
    return {key: item for key, item in value.items() if isinstance(item, str)} if isinstance(value, dict) else {}


async def _multipart(scope: Scope, body: bytes) -> dict[str, str]:
    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": body, "more_body": False}

    try:
        async with Request(scope, receive).form(max_files=8, max_fields=64) as form:
            return {name: value if isinstance(value, str) else (await value.read()).decode() for name, value in form.items()}
    except (MultiPartException, HTTPException, UnicodeDecodeError):
        return {}
