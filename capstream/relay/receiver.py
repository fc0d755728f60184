"""The webhook endpoint: authenticate, journal, answer. Nothing is acknowledged before it is durable.

A 4xx answer loses a webhook for ever and a 5xx blocks the sender's queue, so whatever has the right secret is kept and
answered 200; what it is worth is decided behind the journal. Source: capillary.md 1.5, 1.6.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from capstream.capillary.normalise import split
from capstream.capillary.peek import key_and_id
from capstream.kernel import log
from capstream.kernel.clock import Clock
from capstream.relay.back_pressure import Gate
from capstream.relay.intake import Intake, Pending
from capstream.relay.journal import Flag, hidden_headers, kept_headers
from capstream.relay.sources import Sources
from capstream.relay.unpacking import unpacked
from capstream.relay.webhook_auth import Guard
from capstream.serving.exchange import Reply, ReplyBy, Respond, Take, ThinRequest
from capstream.storage.ports import Log

_PREFIX: Final = "/webhooks/capillary/"
_START: Final = len(_PREFIX)
_HEALTH: Final = "/health"
_METHODS: Final = ("POST", "PUT")
_KEPT_OF_TOO_LARGE: Final = 64 * 1024
_REFRESH_EVERY_MS: Final = 1000
_RETRY_AFTER: Final = b"retry-after: 5\r\n"
_ALLOW: Final = b"allow: POST, PUT\r\n"
_BUSY: Final = b'{"status":"busy","reason":"the relay has too much to do; send the event again"}'
_UNAUTHENTICATED: Final = b'{"status":"unauthenticated","reason":"the secret is missing or wrong"}'
_UNKNOWN: Final = b'{"status":"unknown","reason":"there is no such source"}'
_NOT_ALLOWED: Final = b'{"status":"method_not_allowed","reason":"send POST or PUT"}'
_TOO_LARGE: Final = b'{"status":"too_large","reason":"the body exceeds the limit of %d bytes; its beginning was kept"}'


@dataclass(frozen=True, kw_only=True)
class ReceiverLimits:
    """What a webhook may be."""

    body_bytes: int = 10 * 1024 * 1024  #: also after unpacking


class Receiver:
    """Handles webhooks as a `serving.exchange.ThinHandler`. One for each process, on the event loop's thread."""

    def __init__(self, journal: Log, sources: Sources, *, clock: Clock, gate: Gate, limits: ReceiverLimits | None = None) -> None:
        self._sources: Final = sources
        self._clock: Final = clock
        self._gate: Final = gate
        self._limit: Final = (limits or ReceiverLimits()).body_bytes
        self._intake: Final = Intake(journal, clock)
        self._hidden: dict[bytes, frozenset[bytes]] = {}
        self._next_refresh_ms = 0

    def flush(self) -> None:
        """Journal what is only counted yet; call it before the process ends."""
        self._intake.flush()

    def unwritten_repeats(self) -> dict[str, int]:
        """Return, by source key, how many repeats have been answered but not counted in the journal yet."""
        return self._intake.unwritten_repeats()

    def handle(self, request: ThinRequest, respond: Respond) -> None:
        """Answer one request, now or after the group's commit."""
        now = self._now()
        path, headers = request.path, request.headers
        source_key = path[_START:]
        guard = self._sources.guards.get(source_key)
        if guard is None or request.method not in _METHODS or not path.startswith(_PREFIX):
            self._answer_other(request, respond)
            return
        if not guard.admits(headers, request.peer):
            self._refuse(source_key, respond)
            return
        if not self._gate.is_open(now, source_key):
            respond(429, _BUSY, _RETRY_AFTER)
            return
        body, flags = request.body, 0
        if b"content-encoding" in headers:
            plain = unpacked(headers[b"content-encoding"], body, self._limit)
            body, flags = (body, int(Flag.PACKED)) if plain is None else (plain, 0)
        pending = Pending(ReplyBy(respond), source_key, now, self._kept(guard, headers), body)
        pending.flags = flags
        limit = self._limit_of(guard)
        if len(body) > limit:
            self._keep_beginning(pending, limit)
        elif flags:
            self._intake.add(pending)
        else:
            self.take(pending)

    def recognise(self, request: ThinRequest) -> Take | None:
        """Return what takes further requests with the head of `request`, a `serving.exchange.Recognise`."""
        source_key, headers, guards = request.path[_START:], request.headers, self._sources.guards
        guard = guards.get(source_key)
        if guard is None or request.method not in _METHODS or not request.path.startswith(_PREFIX):
            return None
        if b"content-encoding" in headers or guard.header == b"content-length" or not guard.admits(headers, request.peer):
            return None
        if not self.admitted_at(guards, source_key):
            return None
        return _KnownSender(self, source_key, guards, self._kept(guard, headers), self._limit_of(guard)).take

    def admitted_at(self, guards: Mapping[str, Guard], source_key: str) -> int:
        """Return the time, when a sender whom `guards` admitted is admitted still and there is room; 0 otherwise."""
        now = self._now()
        return now if self._sources.guards is guards and self._gate.is_open(now, source_key) else 0

    def take(self, pending: Pending) -> None:
        """Journal a body that is no larger than it may be, then answer it."""
        if pending.body[:1] == b"{":
            self._take_event(pending)
        else:
            self._take_list(pending)

    def _now(self) -> int:
        """Return the time; the webhooks of one commit share it."""
        return self._intake.turn_ms or self._look_at_clock()

    def _look_at_clock(self) -> int:
        now = self._clock()
        if now >= self._next_refresh_ms:
            self._next_refresh_ms = now + _REFRESH_EVERY_MS
            self._sources.refresh()
        return now

    def _limit_of(self, guard: Guard) -> int:
        return min(guard.body_bytes or self._limit, self._limit)

    def _kept(self, guard: Guard, headers: dict[bytes, bytes]) -> bytes:
        hidden = self._hidden.get(guard.header)
        if hidden is None:
            hidden = self._hidden[guard.header] = hidden_headers(guard.header)
        return kept_headers(headers, hidden)

    def _take_event(self, pending: Pending) -> None:
        pending.key, pending.event_id = key_and_id(pending.body)
        self._intake.add(pending)

    def _take_list(self, pending: Pending) -> None:
        """Keep each element of a JSON array as an entry of its own; what is no proper array is kept as it is."""
        bodies = split(pending.body)
        if len(bodies) <= 1:
            pending.body = bodies[0] if bodies else pending.body
            self._take_event(pending)
            return
        gathered = _Gathered(pending.reply, len(bodies))
        for index, body in enumerate(bodies):
            part = _Part(gathered, index)
            self._take_event(Pending(part, pending.source_key, pending.received_ms, pending.headers, body))

    def _keep_beginning(self, pending: Pending, limit: int) -> None:
        pending.reply = _TooLarge(pending.reply, limit)
        pending.flags, pending.body = int(Flag.TOO_LARGE), pending.body[:_KEPT_OF_TOO_LARGE]
        self._intake.add(pending)

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
            respond(200, b'{"status":"ok"}' if is_open else b'{"status":"busy"}', b"")
        elif is_health or request.method not in _METHODS or not query:
            respond(405, _NOT_ALLOWED, _ALLOW)
        else:  # a query is allowed and means nothing
            self.handle(ThinRequest(request.method, path, request.headers, request.body, request.peer), respond)


class _KnownSender:
    """Takes the webhooks of a connection that proved the secret: until sources change, its head proves it again."""

    def __init__(self, receiver: Receiver, source_key: str, guards: Mapping[str, Guard], headers: bytes, limit: int) -> None:
        self._receiver: Final = receiver
        self._source_key: Final = source_key
        self._guards: Final = guards
        self._headers: Final = headers
        self._limit: Final = limit

    def take(self, body: bytes, reply: Reply) -> bool:
        """Journal a body and answer it, a `serving.exchange.Take`."""
        now = self._receiver.admitted_at(self._guards, self._source_key)
        if not now or len(body) > self._limit:
            return False
        self._receiver.take(Pending(reply, self._source_key, now, self._headers, body))
        return True


class _TooLarge(Reply):
    """Refuses a body, once its beginning is kept."""

    def __init__(self, reply: Reply, limit: int) -> None:
        self._reply: Final = reply
        self._limit: Final = limit

    def give(self, status: int, body: bytes, extra: bytes) -> None:
        if status == 200:
            self._reply.give(413, _TOO_LARGE % self._limit, b"")
        else:
            self._reply.give(status, body, extra)


class _Gathered:
    """Joins the answers for the elements of one array into one answer."""

    def __init__(self, reply: Reply, count: int) -> None:
        self._reply: Final = reply
        self._answers: list[tuple[int, bytes, bytes]] = [(0, b"", b"")] * count
        self._missing = count

    def put(self, index: int, answer: tuple[int, bytes, bytes]) -> None:
        """Note the answer for one element; with the last one, answer the sender."""
        self._answers[index] = answer
        self._missing -= 1
        if not self._missing:
            self._finish()

    def _finish(self) -> None:
        for status, body, extra in self._answers:
            if status != 200:  # the sender repeats the whole array; what was kept is a repeat then
                self._reply.give(status, body, extra)
                return
        parts = [body for _, body, _ in self._answers]
        is_repeat = all(part.startswith(b'{"status":"duplicate"') for part in parts)
        word = b"duplicate" if is_repeat else b"accepted"
        self._reply.give(200, b'{"status":"%b","events":[%b]}' % (word, b",".join(parts)), b"")


class _Part(Reply):
    """The answer for one element."""

    def __init__(self, gathered: _Gathered, index: int) -> None:
        self._gathered: Final = gathered
        self._index: Final = index

    def give(self, status: int, body: bytes, extra: bytes) -> None:
        self._gathered.put(self._index, (status, body, extra))
