"""The receiver answers exactly as capillary.md 1.6 says, and acknowledges only what the journal holds."""

import asyncio
import base64
import gzip
import json
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from conftest import SOURCE

from capstream.kernel.json import loads
from capstream.relay.back_pressure import Gate, HighWater
from capstream.relay.journal import Flag, decode
from capstream.relay.receiver import Receiver, ReceiverLimits
from capstream.relay.sources import Sources
from capstream.serving.exchange import ThinRequest
from capstream.storage.ports import StorageUnavailable
from capstream.storage.sqlite import SqliteLog

Answer = tuple[int, Any, bytes]
AUTH = {b"authorization": b"Bearer webhook-secret"}
GATE = Gate(lambda: 0, lambda: 10**12)


def send(receiver: Receiver, *requests: ThinRequest) -> list[Answer]:
    """Return the answers to requests that arrive in one turn of the loop."""
    answers: list[Answer | None] = [None] * len(requests)

    async def turn() -> None:
        for index, request in enumerate(requests):

            def respond(status: int, body: bytes, extra: bytes, index: int = index) -> None:
                assert answers[index] is None, "answered twice"
                answers[index] = (status, loads(body), extra)

            receiver.handle(request, respond)
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    asyncio.run(turn())
    assert all(answers)
    return [answer for answer in answers if answer]


def post(
    body: bytes, headers: dict[bytes, bytes] | None = None, path: str = "/webhooks/capillary/nw", method: str = "POST"
) -> ThinRequest:
    return ThinRequest(method, path, AUTH if headers is None else headers, body, "192.0.2.7")


@pytest.fixture
def receiver(journal: SqliteLog, sources: Sources, clock: Callable[[], int]) -> Receiver:
    return Receiver(journal, sources, clock=clock, gate=GATE)


def entries(journal: SqliteLog) -> list[Any]:
    return [decode(record) for _, record in journal.read(0, 1000)]


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_new_event_is_journalled_then_accepted(receiver: Receiver, journal: SqliteLog, make_event: Any, method: str) -> None:
    ((status, body, _),) = send(receiver, post(make_event(), method=method))
    assert (status, body) == (200, {"status": "accepted", "eventId": "event-1", "journalOffset": 1})
    (entry,) = entries(journal)
    assert entry.body == make_event()
    assert entry.source_key == "nw"
    assert entry.flags == Flag.WEBHOOK


def test_headers_are_kept_without_secrets(receiver: Receiver, journal: SqliteLog, make_event: Any) -> None:
    send(receiver, post(make_event(), {**AUTH, b"x-trace": b"abc", b"cookie": b"c=1", b"host": b"h"}))
    assert entries(journal)[0].headers == b"x-trace: abc"


def test_events_of_one_turn_share_a_commit(receiver: Receiver, journal: SqliteLog, make_event: Any) -> None:
    answers = send(receiver, *(post(make_event(number)) for number in range(1, 6)))
    assert [body["journalOffset"] for _, body, _ in answers] == [1, 2, 3, 4, 5]


def test_repeat_is_a_duplicate_of_the_first_offset(receiver: Receiver, journal: SqliteLog, make_event: Any) -> None:
    send(receiver, post(make_event(1)), post(make_event(2)))
    ((status, body, _),) = send(receiver, post(make_event(2)))
    assert (status, body) == (200, {"status": "duplicate", "eventId": "event-2", "journalOffset": 2})


def test_repeat_in_the_same_group_is_a_duplicate(receiver: Receiver, journal: SqliteLog, make_event: Any) -> None:
    answers = send(receiver, post(make_event()), post(make_event()))
    assert [body["status"] for _, body, _ in answers] == ["accepted", "duplicate"]
    assert [body["journalOffset"] for _, body, _ in answers] == [1, 1]


def test_repeat_in_another_envelope_is_a_duplicate(receiver: Receiver, make_event: Any) -> None:
    send(receiver, post(make_event()))
    ((_, body, _),) = send(receiver, post(json.dumps({"body": json.loads(make_event())}).encode()))
    assert body["status"] == "duplicate"


@pytest.mark.parametrize("same_group", [True, False])
def test_same_id_with_other_data_is_kept_as_a_conflict(
    receiver: Receiver, journal: SqliteLog, make_event: Any, same_group: bool
) -> None:
    first, other = post(make_event()), post(make_event(regularPointsIssued=99))
    answers = send(receiver, first, other) if same_group else send(receiver, first) + send(receiver, other)
    assert [body["status"] for _, body, _ in answers] == ["accepted", "accepted"]
    assert [entry.flags for entry in entries(journal)] == [Flag.WEBHOOK, Flag.CONFLICT]
    ((_, again, _),) = send(receiver, other)
    assert (again["status"], again["journalOffset"]) == ("duplicate", 2)
    ((_, again, _),) = send(receiver, first)
    assert (again["status"], again["journalOffset"]) == ("duplicate", 1)


@pytest.mark.parametrize(
    "body", [b"", b"not json", b"{", b'"text"', b"[]", b"\xff\xfe", b'{"eventName":"x"}', b'{"a":NaN}', b"null"]
)
def test_unreadable_content_is_kept_and_accepted(receiver: Receiver, journal: SqliteLog, body: bytes) -> None:
    ((status, answer, _),) = send(receiver, post(body))
    assert (status, answer["status"], answer["eventId"]) == (200, "accepted", None)
    assert entries(journal)[0].body == body


def test_two_unreadable_bodies_are_two_entries(receiver: Receiver, journal: SqliteLog) -> None:
    answers = send(receiver, post(b"x"), post(b"x"))
    assert [body["journalOffset"] for _, body, _ in answers] == [1, 2]


def test_array_is_an_entry_for_each_element(receiver: Receiver, journal: SqliteLog, make_event: Any) -> None:
    array = b" [" + make_event(1) + b"," + make_event(2) + b"," + make_event(1) + b"]"
    ((status, body, _),) = send(receiver, post(array))
    assert status == 200
    assert body["status"] == "accepted"
    assert [event["status"] for event in body["events"]] == ["accepted", "accepted", "duplicate"]
    assert [json.loads(entry.body)["eventId"] for entry in entries(journal)] == ["event-1", "event-2"]
    ((_, body, _),) = send(receiver, post(array))
    assert body["status"] == "duplicate"


def bare_deflate(body: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(body) + packer.flush()


PACKED: list[tuple[bytes, Callable[[bytes], bytes]]] = [
    (b"gzip", gzip.compress),
    (b" X-GZIP ", gzip.compress),
    (b"gzip", lambda body: gzip.compress(body[:9]) + gzip.compress(body[9:])),
    (b"deflate", zlib.compress),
    (b"deflate", bare_deflate),
    (b"identity", bytes),
    (b"", bytes),
    (b"gzip", bytes),  # plain bodies that only claim to be packed
    (b"br", bytes),
    (b"deflate", lambda body: b"\xef\xbb\xbf " + body),
]


@pytest.mark.parametrize(("encoding", "pack"), PACKED)
def test_packed_body_is_journalled_plain(
    receiver: Receiver, journal: SqliteLog, make_event: Any, encoding: bytes, pack: Callable[[bytes], bytes]
) -> None:
    ((_, answer, _),) = send(receiver, post(pack(make_event()), {**AUTH, b"content-encoding": encoding}))
    assert answer == {"status": "accepted", "eventId": "event-1", "journalOffset": 1}
    (entry,) = entries(journal)
    assert (entry.flags, entry.body.lstrip(b"\xef\xbb\xbf ")) == (Flag.WEBHOOK, make_event())


UNDOABLE = [
    (b"br", b"\x1b\x1f\x00\xf8"),
    (b"zstd", b"\x28\xb5\x2f\xfd"),
    (b"gzip, br", gzip.compress(b"{}", mtime=0)),
    (b"gzip", gzip.compress(b"{}" * 99, mtime=0)[:-9]),
    (b"gzip", gzip.compress(b"{}", mtime=0) + b"more"),
    (b"gzip", gzip.compress(b"", mtime=0) * 1000),
    (b"deflate", b"\xff\xff"),
]


@pytest.mark.parametrize(("encoding", "body"), UNDOABLE)
def test_a_body_that_cannot_be_unpacked_is_kept_as_it_came(
    receiver: Receiver, journal: SqliteLog, encoding: bytes, body: bytes
) -> None:
    ((status, answer, _),) = send(receiver, post(body, {**AUTH, b"content-encoding": encoding}))
    assert (status, answer["status"], answer["eventId"]) == (200, "accepted", None)
    (entry,) = entries(journal)
    assert (entry.flags, entry.headers, entry.body) == (Flag.PACKED, b"content-encoding: " + encoding, body)


@pytest.mark.parametrize("packed", [True, False])
def test_too_large_body_keeps_its_beginning(journal: SqliteLog, sources: Sources, clock: Any, packed: bool) -> None:
    receiver = Receiver(journal, sources, clock=clock, gate=GATE, limits=ReceiverLimits(body_bytes=100_000))
    body = b'{"a":"' + b"x" * 100_000 + b'"}'
    headers = {**AUTH, b"content-encoding": b"gzip"} if packed else AUTH
    ((status, answer, _),) = send(receiver, post(gzip.compress(body) if packed else body, headers))
    assert (status, answer["status"]) == (413, "too_large")
    (entry,) = entries(journal)
    assert (entry.flags, entry.body) == (Flag.TOO_LARGE, body[: 64 * 1024])


@pytest.mark.parametrize(
    "headers", [{}, {b"authorization": b"Bearer wrong"}, {b"authorization": b"Basic webhook-secret"}, {b"authorization": b""}]
)
def test_wrong_secret_is_401_and_keeps_nothing(
    receiver: Receiver, journal: SqliteLog, make_event: Any, headers: dict[bytes, bytes]
) -> None:
    ((status, body, _),) = send(receiver, post(make_event(), headers))
    assert (status, body["status"]) == (401, "unauthenticated")
    assert journal.end() == 0


FORMS = [
    ("bearer", "secret-a", {b"authorization": b"Bearer secret-a"}),
    ("bearer", "secret-a", {b"authorization": b"bearer secret-a"}),
    ("basic", "hook:pass", {b"authorization": b"Basic " + base64.b64encode(b"hook:pass")}),
    ("header", "secret-a", {b"x-webhook-key": b"secret-a"}),
]


@pytest.mark.parametrize(("form", "secret", "headers"), FORMS)
def test_each_form_of_authentication(
    journal: SqliteLog, sources: Sources, clock: Any, make_event: Any, form: str, secret: str, headers: dict[bytes, bytes]
) -> None:
    body = {"form": form, "header": "X-Webhook-Key", "secrets": [secret, "older:pass"]}
    sources.put("other", {"orgId": "o", "auth": body, "ims": {"url": "https://ims.test", "clientId": "c", "clientSecret": "s"}})
    receiver = Receiver(journal, sources, clock=clock, gate=GATE)
    ((status, _, _),) = send(receiver, post(make_event(), headers, "/webhooks/capillary/other"))
    assert status == 200
    assert b"secret" not in entries(journal)[0].headers


def test_both_live_secrets_are_taken_and_the_failure_status_is_the_sources(
    journal: SqliteLog, sources: Sources, clock: Any, make_event: Any
) -> None:
    auth = {"secrets": ["new", "old"], "failureStatus": 503}
    sources.put("other", {"orgId": "o", "auth": auth, "ims": {"url": "https://ims.test", "clientId": "c", "clientSecret": "s"}})
    receiver = Receiver(journal, sources, clock=clock, gate=GATE)
    values = [b"Bearer new", b"Bearer old", b"Bearer older"]
    posts = [post(make_event(), {b"authorization": value}, "/webhooks/capillary/other") for value in values]
    assert [status for status, _, _ in send(receiver, *posts)] == [200, 200, 503]


def test_address_outside_the_allow_list_is_refused(journal: SqliteLog, sources: Sources, clock: Any, make_event: Any) -> None:
    auth = {"secrets": ["s"], "allow": ["198.51.100.0/24"]}
    sources.put("other", {"orgId": "o", "auth": auth, "ims": {"url": "https://ims.test", "clientId": "c", "clientSecret": "s"}})
    receiver = Receiver(journal, sources, clock=clock, gate=GATE)
    request = post(make_event(), {b"authorization": b"Bearer s"}, "/webhooks/capillary/other")
    allowed = ThinRequest(request.method, request.path, request.headers, request.body, "198.51.100.4")
    assert [status for status, _, _ in send(receiver, request, allowed)] == [401, 200]


PATHS = [
    ("POST", "/webhooks/capillary/nobody", 404),
    ("POST", "/webhooks/other/nw", 404),
    ("POST", "/webhooks/capillary/", 404),
    ("GET", "/webhooks/capillary/nobody/health", 404),
    ("GET", "/webhooks/capillary/nw", 405),
    ("DELETE", "/webhooks/capillary/nw", 405),
    ("POST", "/webhooks/capillary/nw/health", 405),
    ("GET", "/webhooks/capillary/nw/health", 200),
    ("HEAD", "/webhooks/capillary/nw/health", 200),
    ("POST", "/webhooks/capillary/nw?from=ens", 200),
]


@pytest.mark.parametrize(("method", "path", "expected"), PATHS)
def test_other_paths_and_methods(receiver: Receiver, make_event: Any, method: str, path: str, expected: int) -> None:
    ((status, _, _),) = send(receiver, post(make_event(), path=path, method=method))
    assert status == expected


def test_disabled_source_is_unknown(receiver: Receiver, sources: Sources, make_event: Any) -> None:
    held = {"orgId": "o", "enabled": False, "ims": {"url": "https://ims.test", "clientId": "client-1"}}
    sources.put("nw", held)
    assert send(receiver, post(make_event()))[0][0] == 404


@pytest.mark.parametrize(("backlog", "free"), [(11, 10**12), (0, 1)])
def test_back_pressure_asks_for_a_retry_and_is_looked_at_once_a_second(
    journal: SqliteLog, sources: Sources, clock: Any, make_event: Any, backlog: int, free: int
) -> None:
    looks: list[int] = []

    def waiting() -> int:
        looks.append(1)
        return backlog if len(looks) == 1 else 0

    def free_bytes() -> int:
        return free if len(looks) == 1 else 10**12

    receiver = Receiver(journal, sources, clock=clock, gate=Gate(waiting, free_bytes, HighWater(backlog=10, free_bytes=100)))
    answers = send(receiver, post(make_event(1)), post(make_event(2)))
    assert [(status, extra) for status, _, extra in answers] == [(429, b"retry-after: 5\r\n")] * 2
    assert len(looks) == 1
    clock.advance(1)
    assert send(receiver, post(make_event(1)))[0][0] == 200
    assert len(looks) == 2


def test_back_pressure_by_the_outboxes_of_one_source_stops_only_that_one(
    journal: SqliteLog, sources: Sources, clock: Any, make_event: Any
) -> None:
    keys = ("eu", "us", "br", "nw")
    for key in keys:
        sources.put(key, SOURCE)
    lanes = {
        "eu/event": {"waiting": 11, "bytes": 1}, "eu/profile": {"waiting": 12, "bytes": 1},  # both too far behind
        "us/event": {"waiting": 9, "bytes": 101},  # more than it may
        "br/profile": {"waiting": 9, "bytes": 1001},  # more than any may that says nothing itself
        "nw/event": {"waiting": 99, "bytes": 1000}, "nw/profile": {"waiting": 10, "bytes": 1000},
    }  # fmt: skip
    mark = HighWater(backlog=10, outbox_bytes=1000)
    gate = Gate(lambda: 0, lambda: 10**12, mark, lanes=lambda: lanes, quotas=lambda: {"us": 100})
    receiver = Receiver(journal, sources, clock=clock, gate=gate)
    answers = send(receiver, *(post(make_event(1), path=f"/webhooks/capillary/{key}") for key in keys))
    assert [status for status, _, _ in answers] == [429, 429, 429, 200]
    lanes.clear()
    clock.advance(1)
    assert send(receiver, post(make_event(2), path="/webhooks/capillary/eu"))[0][0] == 200


class BrokenLog(SqliteLog):
    """A journal whose disk is full."""

    def append(self, records: Any, *, keys: Any = ()) -> int:
        raise StorageUnavailable("database or disk is full")


def test_unwritable_journal_is_503_with_a_body(tmp_path: Any, sources: Sources, clock: Any, make_event: Any) -> None:
    log = BrokenLog(tmp_path / "broken.db")
    receiver = Receiver(log, sources, clock=clock, gate=GATE)
    answers = send(receiver, post(make_event(1)), post(b"[" + make_event(2) + b"," + make_event(3) + b"]"))
    assert [(status, body["status"]) for status, body, _ in answers] == [(503, "unavailable")] * 2
    log.close()


def test_repeats_are_tallied_in_the_journal_once_a_second(
    receiver: Receiver, journal: SqliteLog, make_event: Any, clock: Any
) -> None:
    send(receiver, post(make_event(1)))
    for _ in range(3):
        send(receiver, post(make_event(1)))
    assert receiver.unwritten_repeats() == {"nw": 2}
    assert [loads(entry.body) for entry in entries(journal) if entry.flags & Flag.TALLY] == [{"nw": 1}]
    clock.advance(1)
    send(receiver, post(make_event(2)))
    receiver.flush()
    assert receiver.unwritten_repeats() == {}
    assert [loads(entry.body) for entry in entries(journal) if entry.flags & Flag.TALLY] == [{"nw": 1}, {"nw": 2}]


def test_what_was_acknowledged_is_there_after_a_restart(tmp_path: Any, sources: Sources, clock: Any, make_event: Any) -> None:
    log = SqliteLog(tmp_path / "j.db")
    send(Receiver(log, sources, clock=clock, gate=GATE), *(post(make_event(number)) for number in range(1, 20)))
    log.close()
    log = SqliteLog(tmp_path / "j.db")
    assert len(log.read(0, 100)) == 19
    ((_, body, _),) = send(Receiver(log, sources, clock=clock, gate=GATE), post(make_event(7)))
    assert (body["status"], body["journalOffset"]) == ("duplicate", 7)
    log.close()
