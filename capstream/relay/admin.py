"""The relay's own API under `/relay/`: sources, dead letters, replay, status. HTTP Basic with a client id and its secret.

It runs beside the receiver and never writes `courier.db`: what the courier has to do goes through the journal as a command,
so that it survives a crash and happens once.
"""

import asyncio
import base64
import binascii
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from capstream.kernel import log
from capstream.kernel.clock import Clock, rfc3339
from capstream.kernel.errors import InputError
from capstream.kernel.json import Json, JsonError, dumps, loads
from capstream.relay import dead_letters, journal
from capstream.relay.audit import Audit
from capstream.relay.dead_letters import Filter
from capstream.relay.drift_desk import DriftDesk
from capstream.relay.event_index import EventBrowser, EventQuery
from capstream.relay.jobs import Range
from capstream.relay.member_books import member_books
from capstream.relay.parked_desk import ParkedDesk
from capstream.relay.preview import Preview
from capstream.relay.privacy_desk import PrivacyDesk
from capstream.relay.retention import expired_through
from capstream.relay.sources import Sources, masked
from capstream.relay.webhook_auth import webhook_header
from capstream.storage.ports import Documents, Log

Verifier = Callable[[str, str], bool]
"""Says whether a client id and its secret may administer the relay."""

_Endpoint = Callable[[Request], Awaitable[Response]]

_T = TypeVar("_T")
_PAGE = 100
_DIGITS = 18  #: of numbers in a query: more would not fit the stores
_MAX_PAGE = 1000
_PERSONAL = ("get_event", "get_letter", "export_letters", "list_privacy", "list_members", "get_parked")
"""Readings that show personal data: they are noted as administrative acts too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Admin:
    """The endpoints. `courier` is read only; `journal` is the receiver's own."""

    journal: Log
    courier: Documents
    sources: Sources
    verify: Verifier
    clock: Clock
    status_now: Callable[[], Json]
    browser: EventBrowser
    preview: Preview
    audit: Audit
    drift: DriftDesk
    parked: ParkedDesk
    privacy: PrivacyDesk
    change_key: Callable[[], int]  #: seals the stored secrets with a new key; returns how many there were

    def app(self) -> Starlette:
        """Return the ASGI application; its routes carry the full path."""
        letters = "/relay/dead-letters"
        table: list[tuple[str, list[str], _Endpoint]] = [
            ("/relay/status", ["GET"], self.status),
            ("/relay/sources", ["GET"], self.list_sources),
            ("/relay/sources/{key}", ["GET"], self.get_source),
            ("/relay/sources/{key}", ["PUT"], self.put_source),
            ("/relay/sources/{key}", ["DELETE"], self.delete_source),
            ("/relay/sources/{key}/rotate", ["POST"], self.rotate_secret),
            ("/relay/sources/{key}/retire", ["POST"], self.retire_secret),
            ("/relay/keys/rotate", ["POST"], self.rotate_keys),
            ("/relay/audit", ["GET"], self.list_audit),
            ("/relay/drift", ["GET"], self.drift.list_drift),
            ("/relay/drift/acknowledge", ["POST"], self.drift.acknowledge_drift),
            ("/relay/replay", ["POST"], self.replay_range),
            ("/relay/events", ["GET"], self.list_events),
            ("/relay/events/{offset}", ["GET"], self.get_event),
            ("/relay/privacy-requests", ["GET"], self.privacy.list_privacy),
            ("/relay/privacy-requests", ["POST"], self.privacy.ask_privacy),
            ("/relay/privacy-requests/{org}/{customer}", ["GET"], self.privacy.get_privacy),
            ("/relay/members", ["GET"], self.list_members),
            ("/relay/replay/preview", ["POST"], self.preview_replay),
            ("/relay/parked", ["GET"], self.parked.list_parked),
            ("/relay/parked/payload", ["GET"], self.parked.get_parked),
            ("/relay/parked/discard", ["POST"], self.parked.discard_parked),
            (letters, ["GET"], self.list_letters),
            (f"{letters}/discarded", ["GET"], self.list_discarded),
            (f"{letters}/export", ["GET"], self.export_letters),
            (f"{letters}/replay", ["POST"], self.replay_letters),
            (f"{letters}/discard", ["POST"], self.discard_letters),
            (f"{letters}/{{id}}", ["GET"], self.get_letter),
            (f"{letters}/{{id}}/replay", ["POST"], self.replay_letter),
            (f"{letters}/{{id}}/discard", ["POST"], self.discard_letter),
            (f"{letters}/{{id}}", ["DELETE"], self.discard_letter),
        ]
        routes = [Route(path, self._guarded(endpoint), methods=methods) for path, methods, endpoint in table]
        return Starlette(routes=routes)

    def _guarded(self, endpoint: _Endpoint) -> _Endpoint:
        async def guarded(request: Request) -> Response:
            who = self._admitted(request.headers.get("authorization", ""))
            if who is None:
                log.warning("administrator refused", action="admin_unauthenticated", address=_address(request))
                headers = {"www-authenticate": 'Basic realm="capstream relay"'}
                return _error(401, "authorization", "client id or secret is missing or wrong", headers=headers)
            request.state.who = who
            response = await _answered(endpoint, request)
            if request.method != "GET" or endpoint.__name__ in _PERSONAL:
                await self._note(request, endpoint.__name__, who, response.status_code)
            return response

        return guarded

    async def _note(self, request: Request, act: str, who: str, status: int) -> None:
        target = ", ".join(str(value) for value in request.path_params.values())
        self.audit.note(
            who=who, address=_address(request), act=act, target=target, status=status, details=_names_in(await request.body())
        )

    def _admitted(self, header: str) -> str | None:
        """Return the client id of the caller; None when it may not administer."""
        scheme, _, rest = header.partition(" ")
        if scheme.lower() != "basic":
            return None
        try:
            client_id, found, secret = base64.b64decode(rest.strip(), validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return None
        return client_id if found and self.verify(client_id, secret) else None

    async def status(self, _request: Request) -> Response:
        """Counters, lag, what waits, how the dataflows are doing."""
        return JSONResponse(self.status_now())

    async def list_sources(self, _request: Request) -> Response:
        """All sources, secrets masked."""
        self.sources.refresh()
        return JSONResponse({"sources": [masked(source) for source in self.sources.stored()]})

    async def get_source(self, request: Request) -> Response:
        """One source, secrets masked."""
        key = request.path_params["key"]
        self.sources.refresh()
        found = next((source for source in self.sources.stored() if source.key == key), None)
        return JSONResponse(masked(found)) if found else _missing("source", key)

    async def put_source(self, request: Request) -> Response:
        """Store a source; secrets that are absent or `xxxx` stay as they are."""
        body = loads(await request.body())
        return JSONResponse(masked(self.sources.put(request.path_params["key"], body)))

    async def delete_source(self, request: Request) -> Response:
        """Remove a source; its webhooks are answered 404 from now on."""
        key = request.path_params["key"]
        return Response(status_code=204) if self.sources.delete(key) else _missing("source", key)

    async def rotate_secret(self, request: Request) -> Response:
        """Make another secret live beside the present one; the answer is the only place that shows it."""
        body = loads(await request.body() or b"{}")
        if not isinstance(body, dict) or body.keys() - {"secret"} or not isinstance(body.get("secret", ""), str):
            raise InputError("body", "only `secret` is understood", 'send {} or {"secret": "…"}')
        source, secret = self.sources.rotate(request.path_params["key"], body.get("secret", ""))
        headers = webhook_header(source.auth.form, source.auth.header, secret)
        return JSONResponse({"webhookHeaders": headers, "liveSecrets": len(source.auth.digests)})

    async def retire_secret(self, request: Request) -> Response:
        """Take the older of two live secrets out of use."""
        source = self.sources.retire(request.path_params["key"])
        return JSONResponse({"liveSecrets": len(source.auth.digests)})

    async def rotate_keys(self, _request: Request) -> Response:
        """Seal the stored secrets with a new key; webhook secrets stay valid."""
        return JSONResponse({"secrets": self.change_key()})

    async def list_audit(self, request: Request) -> Response:
        """Administrative acts, oldest first; `after` is the id the last page ended with."""
        given = _numbers(request, "sinceMs", "limit")
        limit = max(1, min(int(given.get("limit", _PAGE)), _MAX_PAGE))
        found = self.audit.entries(after=given.get("after", ""), since_ms=given.get("sinceMs", 0), limit=limit)
        return JSONResponse({"acts": found, **({"next": found[-1]["id"]} if len(found) == limit else {})})

    async def list_members(self, request: Request) -> Response:
        """Balances of members as their events add up, in the order of `org/customer`; `after` is the last page's `next`."""
        given = _numbers(request, "limit")
        key, limit = str(given.get("sourceKey", "")), max(1, min(int(given.get("limit", _PAGE)), _MAX_PAGE))
        self.sources.refresh()
        config = self.sources.translations.get(key)
        if config is None:
            return _missing("source", key)
        after, only = str(given.get("after", "")), str(given.get("only", ""))
        return JSONResponse(await asyncio.to_thread(member_books, self.courier, config, after=after, limit=limit, only=only))

    async def list_events(self, request: Request) -> Response:
        """Received webhooks, newest first, by id, kind, member, time and outcome; `next` is the next page's `before`."""
        wanted = _converted(_numbers(request, "sinceMs", "untilMs", "before", "limit"), EventQuery)
        return JSONResponse(await asyncio.to_thread(self.browser.find, wanted))

    async def get_event(self, request: Request) -> Response:
        """One received webhook as it came, with what became of it."""
        offset = _whole("offset", request.path_params["offset"])
        found = await asyncio.to_thread(self.browser.show, offset)
        return JSONResponse(found) if found else _missing("event in the journal", str(offset))

    async def list_letters(self, request: Request) -> Response:
        """Dead letters, oldest first; `after` is the id the last page ended with."""
        wanted, after, limit = _query(request)
        found = await asyncio.to_thread(dead_letters.find, self.courier, wanted, after=after, limit=limit)
        page: dict[str, Json] = {"deadLetters": [dead_letters.shown(letter, with_payload=False) for letter in found]}
        if len(found) == limit:
            page["next"] = found[-1].id
        return JSONResponse(page)

    async def export_letters(self, request: Request) -> Response:
        """Dead letters with payloads, one JSON object a line."""
        wanted, after, _ = _query(request)

        async def lines() -> AsyncIterator[bytes]:
            last = after
            while found := dead_letters.find(self.courier, wanted, after=last, limit=_MAX_PAGE):
                last = found[-1].id
                yield b"".join(dumps(dead_letters.shown(letter, with_payload=True)) + b"\n" for letter in found)

        return StreamingResponse(lines(), media_type="application/x-ndjson")

    async def get_letter(self, request: Request) -> Response:
        """One dead letter with its payload."""
        key = request.path_params["id"]
        letter = dead_letters.get(self.courier, key)
        return JSONResponse(dead_letters.shown(letter, with_payload=True)) if letter else _missing("dead letter", key)

    async def replay_letter(self, request: Request) -> Response:
        """Try one dead letter again, with `{"payload": …}` in place of what it holds when given."""
        key = request.path_params["id"]
        if dead_letters.get(self.courier, key) is None:
            return _missing("dead letter", key)
        body = loads(await request.body() or b"{}")
        if not isinstance(body, dict) or body.keys() - {"payload"}:
            raise InputError("body", "only `payload` is understood", 'send {} or {"payload": …}')
        edited = {"payload": body["payload"]} if "payload" in body else {}
        return self._queue("replay_letters", filter={"ids": [key]}, **edited)

    async def discard_letter(self, request: Request) -> Response:
        """Forget one dead letter."""
        key = request.path_params["id"]
        if dead_letters.get(self.courier, key) is None:
            return _missing("dead letter", key)
        body = loads(await request.body() or b"{}")
        if not isinstance(body, dict) or body.keys() - {"reason"}:
            raise InputError("body", "only `reason` is understood", 'send {} or {"reason": "…"}')
        return self._discard({"ids": [key]}, body.get("reason", ""), request)

    async def replay_letters(self, request: Request) -> Response:
        """Try all dead letters again that the filter in the body matches."""
        return self._queue("replay_letters", filter=await _filter(request))

    async def discard_letters(self, request: Request) -> Response:
        """Forget all dead letters that the filter in the body matches."""
        body = loads(await request.body() or b"{}")
        reason = body.pop("reason", "") if isinstance(body, dict) else ""
        wanted = _checked_filter(body)
        if isinstance(reason, str) and not reason.strip():
            raise InputError("reason", "it is missing", "say in words why nobody needs the letters")
        return self._discard(wanted, reason, request)

    def _discard(self, wanted: Json, reason: Json, request: Request) -> Response:
        if not isinstance(reason, str):
            raise InputError("reason", "it is no text", "say why in words")
        return self._queue("discard_letters", filter=wanted, reason=reason, by=request.state.who)

    async def list_discarded(self, request: Request) -> Response:
        """Dead letters that were given up, newest webhook first, with who, when and why; `next` is the next `before`."""
        found = dead_letters.find_discarded(self.courier, before=request.query_params.get("before", ""), limit=_PAGE)
        shown = [
            {**dead_letters.shown(each.letter, with_payload=False), "discardedAt": rfc3339(each.at_ms)}
            | {"discardedBy": each.who, "discardReason": each.reason}
            for _, each in found
        ]
        return JSONResponse({"discarded": shown, **({"next": found[-1][0]} if len(found) == _PAGE else {})})

    async def preview_replay(self, request: Request) -> Response:
        """What a replay would change; `translation` compares the present settings with those, `samples` is how many to show."""
        body = loads(await request.body() or b"{}")
        if not isinstance(body, dict):
            raise InputError("body", "it is no object", "send a range")
        proposed, samples = body.pop("translation", None), body.pop("samples", 20)
        if not isinstance(proposed, dict | None) or not isinstance(samples, int):
            raise InputError("body", "translation is no object, or samples no number", "send settings of the translation")
        wanted = self._range(_converted(body, Range))
        return JSONResponse(await asyncio.to_thread(self.preview.compare, wanted, proposed, max(0, min(samples, 200))))

    def _range(self, wanted: Range) -> Range:
        """Return a range with its offsets narrowed to its times."""
        end = self.journal.end()
        first, last = max(wanted.from_offset, 1), min(wanted.to_offset or end, end)
        if wanted.since_ms is not None:
            first = max(first, expired_through(self.journal, last, wanted.since_ms) + 1)
        if wanted.until_ms is not None:
            last = min(last, expired_through(self.journal, last, wanted.until_ms))
        return msgspec.structs.replace(wanted, from_offset=first, to_offset=max(last, 0))

    async def replay_range(self, request: Request) -> Response:
        """Translate and deliver journal entries again; the payloads keep their `_id`s."""
        wanted = self._range(_converted(loads(await request.body() or b"{}"), Range))
        return self._queue("replay_range", range=msgspec.to_builtins(wanted))

    def _queue(self, name: str, **details: Json) -> Response:
        offset = self.journal.append([journal.command(name, self.clock(), **details)])
        return JSONResponse({"status": "queued", "journalOffset": offset}, status_code=202)


def _query(request: Request) -> tuple[Filter, str, int]:
    given = _numbers(request, "sinceMs", "untilMs", "limit")
    after, limit = str(given.pop("after", "")), int(given.pop("limit", _PAGE))
    return _converted(given, Filter), after, max(1, min(limit, _MAX_PAGE))


def _numbers(request: Request, *names: str) -> dict[str, Json]:
    """Return the query with the values of `names` as numbers."""
    given: dict[str, Json] = dict(request.query_params)
    return given | {name: _whole(name, given[name]) for name in names if name in given}


def _whole(name: str, value: str) -> int:
    if not (value.isascii() and value.isdigit()) or len(value) > _DIGITS:
        raise InputError(name, f"{value!r} is no whole number of up to {_DIGITS} digits", "send digits")
    return int(value)


async def _filter(request: Request) -> Json:
    return _checked_filter(loads(await request.body() or b"{}"))


def _checked_filter(body: Json) -> Json:
    wanted = _converted(body, Filter)
    if wanted == Filter():
        raise InputError("body", "an empty filter means every dead letter", 'say so: {"sinceMs": 0}')
    return body


def _converted(body: Json, shape: type[_T]) -> _T:
    try:
        return msgspec.convert(body, shape)
    except msgspec.ValidationError as error:
        raise InputError("body", str(error), f"known members: {', '.join(_names(shape))}") from error


def _names(shape: type) -> list[str]:
    return [field.encode_name for field in msgspec.structs.fields(shape)]


async def _answered(endpoint: _Endpoint, request: Request) -> Response:
    try:
        return await endpoint(request)
    except InputError as error:
        return _error(400, error.path, error.reason, error.cure)
    except (JsonError, UnicodeDecodeError, RecursionError) as error:
        return _error(400, "body", str(error), "send JSON")


def _address(request: Request) -> str:
    return request.client.host if request.client else ""


def _names_in(body: bytes) -> Json:
    """Return what an audit entry may tell of a body: the names of its members, and a reason that was given."""
    try:
        content = loads(body) if body else None
    except (JsonError, UnicodeDecodeError, RecursionError):
        return None
    if not isinstance(content, dict) or not content:
        return None
    reason = content.get("reason")
    return {"members": sorted(content)} | ({"reason": reason} if isinstance(reason, str) else {})


def _missing(what: str, key: str) -> Response:
    return _error(404, key, f"there is no such {what}")


def _error(status: int, path: str, reason: str, cure: str = "", headers: dict[str, str] | None = None) -> Response:
    return JSONResponse({"error": {"path": path, "reason": reason, "cure": cure}}, status_code=status, headers=headers)
