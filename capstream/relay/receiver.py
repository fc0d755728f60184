"""The webhook endpoint: authenticate, journal, answer. Nothing is acknowledged before it is durable.

A 4xx answer loses a webhook for ever and a 5xx blocks the sender's queue, so whatever has the right secret is kept and
answered 200; what it is worth is decided behind the journal. Source: capillary.md 1.5, 1.6.
"""

from dataclasses import dataclass

from capstream.capillary.normalise import peek, split
from capstream.kernel import log
from capstream.kernel.clock import Clock
from capstream.relay.back_pressure import Gate
from capstream.relay.intake import Intake, Pending
from capstream.relay.journal import NO_KEY, Flag, hidden_headers, kept_headers
from capstream.relay.sources import Sources
from capstream.relay.unpacking import unpacked
from capstream.serving import Respond, ThinRequest
from capstream.storage.ports import Log

_PREFIX = "/webhooks/capillary/"
_START = len(_PREFIX)
_HEALTH = "/health"
_METHODS = ("POST", "PUT")
_KEPT_OF_TOO_LARGE = 64 * 1024
_REFRESH_EVERY_MS = 1000
_RETRY_AFTER = b"retry-after: 5\r\n"
_ALLOW = b"allow: POST, PUT\r\n"
_BUSY = b'{"status":"busy","reason":"the relay has too much to do; send the event again"}'
_UNAUTHENTICATED = b'{"status":"unauthenticated","reason":"the secret is missing or wrong"}'
_UNKNOWN = b'{"status":"unknown","reason":"there is no such source"}'
_NOT_ALLOWED = b'{"status":"method_not_allowed","reason":"send POST or PUT"}'
_TOO_LARGE = b'{"status":"too_large","reason":"the body exceeds the limit of %d bytes; its beginning was kept"}'


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiverLimits:
    """What a webhook may be."""

    body_bytes: int = 10 * 1024 * 1024  #: also after unpacking


class Receiver:
    """Handles webhooks as a `serving.ThinHandler`. One for each process, on the event loop's thread."""

    def __init__(self, journal: Log, sources: Sources, *, clock: Clock, gate: Gate, limits: ReceiverLimits | None = None) -> None:
        self._sources = sources
        self._clock = clock
        self._gate = gate
        self._limit = (limits or ReceiverLimits()).body_bytes
        self._intake = Intake(journal, clock)
        self._add = self._intake.add
        self._hidden: dict[bytes, frozenset[bytes]] = {}
        self._next_refresh_ms = 0
        self.flush = self._intake.flush
        self.unwritten_repeats = self._intake.unwritten_repeats

    def handle(self, request: ThinRequest, respond: Respond) -> None:
        """Answer one request, now or after the group's commit."""
        now = self._clock()
        if now >= self._next_refresh_ms:
            self._next_refresh_ms = now + _REFRESH_EVERY_MS
            self._sources.refresh()
        path = request.path
        source_key = path[_START:]
        guard = self._sources.guards.get(source_key)
        if guard is None or request.method not in _METHODS or not path.startswith(_PREFIX):
            self._answer_other(request, respond)
            return
        headers = request.headers
        if not guard.admits(headers, request.peer):
            self._refuse(source_key, respond)
            return
        if not self._gate.is_open(now, source_key):
            respond(429, _BUSY, _RETRY_AFTER)
            return
        body, flags = request.body, 0
        if b"content-encoding" in headers:
            plain = unpacked(headers[b"content-encoding"], body, self._limit)
            body, flags = (body, Flag.PACKED) if plain is None else (plain, 0)
        hidden = self._hidden.get(guard.header) or self._hide(guard.header)
        pending = Pending(respond, NO_KEY, source_key, now, flags, kept_headers(headers, hidden), body)
        limit = guard.body_bytes or self._limit
        if len(body) > limit or len(body) > self._limit:
            self._keep_beginning(pending, min(limit, self._limit))
        elif flags:
            self._add(pending)
        elif body[:1] == b"{":
            self._take(pending)
        else:
            self._take_list(pending)

    def _take(self, pending: Pending) -> None:
        seen = peek(pending.body)
        if seen is not None:
            pending.key = seen.dedupe_key()
            pending.event_id = seen.event_id
        self._add(pending)

    def _take_list(self, pending: Pending) -> None:
        """Keep each element of a JSON array as an entry of its own; what is no proper array is kept as it is."""
        bodies = split(pending.body)
        if len(bodies) <= 1:
            pending.body = bodies[0] if bodies else pending.body
            self._take(pending)
            return
        gathered = _Gathered(pending.respond, len(bodies))
        for index, body in enumerate(bodies):
            part = gathered.part(index)
            self._take(Pending(part, NO_KEY, pending.source_key, pending.received_ms, 0, pending.headers, body))

    def _keep_beginning(self, pending: Pending, limit: int) -> None:
        respond, refusal = pending.respond, _TOO_LARGE % limit

        def answer(status: int, body: bytes, extra: bytes) -> None:
            respond(*((413, refusal, b"") if status == 200 else (status, body, extra)))

        pending.respond, pending.flags, pending.body = answer, Flag.TOO_LARGE, pending.body[:_KEPT_OF_TOO_LARGE]
        self._add(pending)

    def _hide(self, auth_header: bytes) -> frozenset[bytes]:
        hidden = self._hidden[auth_header] = hidden_headers(auth_header)
        return hidden

    def _refuse(self, source_key: str, respond: Respond) -> None:
        log.warning("webhook refused", action="webhook_unauthenticated", source=source_key)
        respond(self._sources.table[source_key].auth.failure_status, _UNAUTHENTICATED, b"")

    def _answer_other(self, request: ThinRequest, respond: Respond) -> None:
        path, query, _ = request.path.partition("?")
        is_health = path.endswith(_HEALTH)
        source_key = path.removesuffix(_HEALTH)[_START:] if path.startswith(_PREFIX) else ""
        if source_key not in self._sources.guards:
            respond(404, _UNKNOWN, b"")
        elif is_health and request.method in ("GET", "HEAD"):
            is_open = self._gate.is_open(self._clock(), source_key)
            respond(200, b'{"status":"%b"}' % (b"ok" if is_open else b"busy"), b"")
        elif is_health or request.method not in _METHODS or not query:
            respond(405, _NOT_ALLOWED, _ALLOW)
        else:  # a query is allowed and means nothing
            self.handle(ThinRequest(request.method, path, request.headers, request.body, request.peer), respond)


class _Gathered:
    """Joins the answers for the elements of one array into one answer."""

    def __init__(self, respond: Respond, count: int) -> None:
        self._respond = respond
        self._answers: list[tuple[int, bytes, bytes]] = [(0, b"", b"")] * count
        self._missing = count

    def part(self, index: int) -> Respond:
        """Return the way to answer the element at `index`."""

        def answer(status: int, body: bytes, extra: bytes) -> None:
            self._answers[index] = (status, body, extra)
            self._missing -= 1
            if not self._missing:
                self._finish()

        return answer

    def _finish(self) -> None:
        failed = next((answer for answer in self._answers if answer[0] != 200), None)
        if failed:  # the sender repeats the whole array; what was kept is a repeat then
            self._respond(*failed)
            return
        parts = [body for _, body, _ in self._answers]
        is_repeat = all(part.startswith(b'{"status":"duplicate"') for part in parts)
        self._respond(200, b'{"status":"%b","events":[%b]}' % (b"duplicate" if is_repeat else b"accepted", b",".join(parts)), b"")
