"""A connection whose known heads are not parsed again answers, keeps and closes as one on which every head is parsed."""

import asyncio
import gzip
import json
import tempfile
from contextlib import ExitStack, closing
from itertools import pairwise
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from webhook_wire import Wire

from capstream.relay.back_pressure import Gate
from capstream.relay.receiver import Receiver, ReceiverLimits
from capstream.relay.sources import Sources
from capstream.relay.vault import Vault
from capstream.serving.exchange import recognise_nobody
from capstream.storage.sqlite import SqliteDocuments, SqliteLog

LIMIT = 700
KEY = b"qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqo="
SECRETS = ("first-secret", "other-secret")
SOURCE: dict[str, Any] = {"orgId": "o", "ims": {"url": "https://ims.test", "clientId": "c", "clientSecret": "s"}}
NOW_MS = 1_732_000_000_000

_NW = b"POST /webhooks/capillary/nw HTTP/1.1\r\n"
_FIRST = b"authorization: Bearer first-secret\r\n"
_SIZE = b"content-length: %d\r\n\r\n"

_HEADS = (
    _NW + b"Host: h\r\nAuthorization: Bearer first-secret\r\nContent-Length: %d\r\n\r\n",
    _NW + b"host: h\r\ncontent-length:%d\r\nauthorization: bearer other-secret\r\nx-a: 1\r\n\r\n",
    b"PUT /webhooks/capillary/small HTTP/1.1\r\nx-key: first-secret\r\ncontent-length:  %d\r\n\r\n",
    b"POST /webhooks/capillary/length HTTP/1.1\r\n" + _SIZE,
)
_ODD_HEADS = (
    _NW.replace(b"nw", b"nw?a=1") + _FIRST + _SIZE,
    _NW.replace(b"1.1", b"1.0") + _FIRST + _SIZE,
    _NW + _FIRST + b"content-length: 0%d\r\n\r\n",
    _NW + _FIRST + b"x-a: 1\r\nx-a: 2\r\n" + _SIZE,
    _NW + _FIRST + b"x: content-length\r\n" + _SIZE,
    _NW + _FIRST + b"connection: close\r\n" + _SIZE,
    _NW + _FIRST + b"expect: 100-continue\r\n" + _SIZE,
    _NW + _SIZE,
    b"GET /plain HTTP/1.1\r\n" + _SIZE,
)


def _event(number: int, blanks: int) -> bytes:
    return json.dumps({"eventName": "pointsIssued", "eventId": f"e-{number}", "orgId": 7, "data": {"a": " " * blanks}}).encode()


_TWELVE = b'{"data": {}}'  # its size is the secret of a source
_BODIES = st.one_of(
    st.builds(_event, st.integers(1, 6), st.integers(0, LIMIT)),
    st.sampled_from(
        [_TWELVE, b"", b"{", b"not json", b"[%b,%b]" % (_event(1, 0), _event(2, 3)), b"\r\n\r\n", b"x" * (LIMIT + 5)]
    ),
)


@st.composite
def _damaged(draw: st.DrawFn, head: bytes) -> bytes:
    """Return a request whose head differs in a byte."""
    changed = bytearray(head % len(_TWELVE))
    changed[draw(st.integers(0, len(changed) - 1))] = draw(st.sampled_from(b"\r\n :aZ09\t\x00\xff"))
    return bytes(changed) + _TWELVE


def _chunked(body: bytes) -> bytes:
    return _NW + _FIRST + b"transfer-encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)


def _packed(body: bytes) -> bytes:
    packed = gzip.compress(body, mtime=0)
    return _NW + _FIRST + b"content-encoding: gzip\r\n" + _SIZE % len(packed) + packed


def _request(head: bytes, body: bytes) -> bytes:
    return head % len(body) + body


_OTHERS = st.one_of(
    st.builds(_request, st.sampled_from(_HEADS + _ODD_HEADS), _BODIES),
    st.builds(_chunked, st.just(b'{"a":1}')),
    st.builds(_packed, _BODIES),
)


_BETWEEN = st.sampled_from(["turn", "turn", "turn", "turn", "nothing", "nothing", "secret", "gate", "second"])


@st.composite
def _conversations(draw: st.DrawFn) -> list[bytes | str]:
    """Return packets and what happens between them: a sender's requests, others among them, cut mostly where they end."""
    head = draw(st.sampled_from(_HEADS))
    own = st.builds(_request, st.just(head), _BODIES)
    first = _request(head, _TWELVE)
    stream, cuts = first, {len(first), *draw(st.lists(st.integers(1, 3000), max_size=2))}
    for request in draw(st.lists(st.one_of(own, own, _damaged(head), _damaged(head), _OTHERS), min_size=1, max_size=6)):
        stream += request
        if draw(st.integers(0, 3)):
            cuts.add(len(stream))
    steps: list[bytes | str] = []
    for start, end in pairwise(sorted(cut for cut in {0, *cuts, len(stream)} if cut <= len(stream))):
        steps += [stream[start:end], draw(_BETWEEN)]
    return steps


class _Door:
    """A receiver with stores of its own and one connection."""

    def __init__(self, folder: Path, stack: ExitStack, *, knows: bool) -> None:
        self.journal = stack.enter_context(closing(SqliteLog(folder / "journal.db")))
        documents = stack.enter_context(closing(SqliteDocuments(folder / "sources.db")))
        self._now, self._backlog, self._secret = NOW_MS, 0, 0
        self._sources = Sources(documents, Vault(KEY))
        self._put()
        gate = Gate(lambda: self._backlog, lambda: 10**12)
        limits = ReceiverLimits(body_bytes=LIMIT)
        receiver = Receiver(self.journal, self._sources, clock=lambda: self._now, gate=gate, limits=limits)
        self.wire = Wire(receiver.handle, receiver.recognise if knows else recognise_nobody, LIMIT)

    def _put(self) -> None:
        secret = SECRETS[self._secret]
        self._sources.put("nw", SOURCE | {"auth": {"secrets": [secret]}})
        auth = {"form": "header", "header": "X-Key", "secrets": [secret]}
        self._sources.put("small", SOURCE | {"auth": auth, "bodyBytes": 300})
        self._sources.put("length", SOURCE | {"auth": {"form": "header", "header": "Content-Length", "secrets": ["12"]}})

    async def do(self, step: bytes | str) -> None:
        match step:
            case bytes():
                self.wire.receive(step)
            case "turn":
                await asyncio.sleep(0)
                await asyncio.sleep(0)
            case "secret":
                self._secret = 1 - self._secret
                self._put()
            case "gate":
                self._backlog = 10**9 - self._backlog
            case "second":
                self._now += 1000


async def _played(folder: Path, steps: list[bytes | str], *, knows: bool) -> tuple[Any, ...]:
    with ExitStack() as stack:
        door = _Door(folder, stack, knows=knows)
        for step in [*steps, "turn"]:
            await door.do(step)
        door.wire.lose()
        return door.wire.sent, door.wire.closed, b"".join(door.wire.elsewhere), door.journal.read(0, 100)


def _seen(steps: list[bytes | str], *, knows: bool) -> tuple[Any, ...]:
    """Return what sender, other protocol and journal have at the end."""
    with tempfile.TemporaryDirectory() as name:
        return asyncio.run(_played(Path(name), steps, knows=knows))


@settings(max_examples=200)
@given(_conversations())
def test_known_heads_change_nothing(steps: list[bytes | str]) -> None:
    assert _seen(steps, knows=True) == _seen(steps, knows=False)
