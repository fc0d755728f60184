"""Marked personal data goes through the whole relay, failures included; neither logs nor metrics hold any of it."""

import asyncio
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fake_edge import failing, received, refusing
from relay_rig import Rig

from capstream.capillary.translation_config import TranslationConfig
from capstream.kernel import log
from capstream.kernel.metrics import exposition
from capstream.measures import of_relay
from capstream.relay.alerting import AlertLog, Thresholds
from capstream.relay.audit import Audit
from capstream.relay.back_pressure import Gate
from capstream.relay.drift import DriftBook, read_notices, with_drift
from capstream.relay.event_index import follow
from capstream.relay.receiver import Receiver, ReceiverLimits
from capstream.relay.redaction import without_values
from capstream.relay.sources import Sources
from capstream.relay.watch import Watch
from capstream.serving.exchange import ThinRequest
from capstream.storage.ports import StorageUnavailable
from capstream.storage.sqlite import SqliteDocuments, SqliteLog
from capstream.storage.sqlite_index import SqliteIndex

NAME, MAIL, PHONE, CARD, CRM = "Zebedeemark", "zebedeemark@example.com", "447700931337", "CARD-ZM-5550", "CRM-ZM-777"
MARKS = ("zebedeemark", "7700931337", "ZM-5550", "ZM-777")
ECHO = f"value '{MAIL}' of \"{NAME}\" with phone +{PHONE} is not valid, neither is {MAIL}"


@pytest.fixture
def rig(tmp_path: Path, sources: Sources, clock: Any) -> Iterator[Rig]:
    found = Rig(tmp_path, sources, clock)
    yield found
    found.close()


@pytest.fixture
def lines() -> Iterator[list[str]]:
    """Every log line of every logger, down to debug, as the server writes it."""
    written: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            written.append(self.format(record))

    handler = Keep(logging.DEBUG)
    handler.setFormatter(log.formatter())
    root, ours = logging.getLogger(), logging.getLogger("capstream")
    before = root.level, ours.level
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    ours.setLevel(logging.DEBUG)
    yield written
    root.removeHandler(handler)
    root.setLevel(before[0])
    ours.setLevel(before[1])


def person(make_event: Any, number: int, **data: Any) -> bytes:
    instore = {"email": MAIL, "mobile": PHONE, "externalId": CRM, "cardnumber": CARD}
    identifiers = {"customerId": 901, "firstName": NAME, "lastName": NAME, "instore": instore}
    return bytes(make_event(number, **{"customerIdentifiers": identifiers, **data}))


def receive(rig: Rig, sources: Sources, log_file: Any, *bodies: bytes) -> list[int]:
    statuses: list[int] = []
    gate = Gate(lambda: 0, lambda: 10**12)
    receiver = Receiver(log_file, sources, clock=rig.clock, gate=gate, limits=ReceiverLimits(body_bytes=4000))

    async def turn() -> None:
        for body in bodies:
            headers = {b"authorization": b"Bearer webhook-secret", b"x-person": MAIL.encode()}
            request = ThinRequest("POST", "/webhooks/capillary/nw", headers, body, "192.0.2.7")
            receiver.handle(request, lambda status, _body, _extra: statuses.append(status))
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    asyncio.run(turn())
    return statuses


class FullDisk(SqliteLog):
    """A journal whose disk is full."""

    def append(self, records: Any, *, keys: Any = ()) -> int:
        raise StorageUnavailable("database or disk is full")


def everything(rig: Rig, sources: Sources, make_event: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each thing go wrong once that can go wrong with an event."""
    refusal = {"status": 400, "message": ECHO, "report": {"message": ECHO}}
    rig.edge.script(
        failing("flow-event", httpx.Response(503, text=ECHO)),
        failing("flow-profile", httpx.Response(500, json={"message": ECHO, "detail": ECHO})),
        failing("flow-event", httpx.ConnectError(ECHO)),
        failing("flow-event", httpx.Response(207, text=ECHO)),
        failing("flow-event", httpx.Response(404, json={"title": ECHO})),
        lambda flow, messages: received([refusal] * len(messages)) if flow == "flow-profile" else None,
        refusing(lambda message: message["_id"].endswith("event-1"), message=ECHO),
        refusing(lambda message: message["_id"].endswith("event-2"), status=500, message=ECHO),
    )
    journal = rig.journal
    cut = person(make_event, 3)[:-40]
    bodies = [person(make_event, 1), person(make_event, 2), cut, person(make_event, 1, note=MAIL)]
    bodies += [person(make_event, 4, regularPointsIssued=MAIL), person(make_event, 5, note=MAIL * 500)]
    assert sorted(receive(rig, sources, journal, *bodies)) == [200, 200, 200, 200, 200, 413]
    full = FullDisk(tmp_path / "full.db")
    receive(rig, sources, full, person(make_event, 8))
    full.close()
    rig.drain()

    no_zone = TranslationConfig(org_zone=f"/{ECHO}")  # unchecked: a bug made on purpose, whose error says too much
    lots = [{"points": 10, "expiryAt": "2025-01-31"}]
    with monkeypatch.context() as patched:
        patched.setattr(rig.sources, "translations", {"nw": no_zone})
        receive(rig, sources, journal, person(make_event, 9, regularPointsBreakup=lots))
        rig.drain()


def test_neither_logs_nor_metrics_hold_personal_data(
    rig: Rig,
    sources: Sources,
    make_event: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    lines: list[str],
    index: SqliteIndex,
    office_db: SqliteDocuments,
) -> None:
    everything(rig, sources, make_event, tmp_path, monkeypatch)
    drift = SqliteDocuments(tmp_path / "drift.db")
    strange = {MAIL: 1, f"of {PHONE}": {NAME: MAIL}, "newMember": MAIL, "customFields": MAIL}
    rig.receive(person(make_event, 20), person(make_event, 21, **strange), person(make_event, 22, eventName=MAIL))
    follow(rig.journal, index, DriftBook(drift))
    limits = {"free_bytes": lambda: 0, "thresholds": lambda: Thresholds(lag_s=0), "sources": lambda: ["nw"]}
    watch = Watch(journal=rig.journal, courier=rig.documents, clock=rig.clock, **limits)
    AlertLog().tell(watch.state()["alerts"])
    Audit(office_db, rig.clock).note(who="client-1", address="192.0.2.1", act="get_letter", target="x", status=200)
    status = with_drift(rig.status() | watch.state(), read_notices(drift), {})
    drift.close()
    assert len(status["drift"]) >= 3
    AlertLog().tell(status["alerts"])
    metrics = exposition(of_relay(status)).decode()

    classes = {letter.class_ for letter in rig.letters()}
    assert {
        "INVALID_BODY",
        "INVALID_FIELD",
        "PLATFORM_REJECTED",
        "TOO_LARGE",
        "TRANSLATION_BUG",
        "CONFLICTING_DUPLICATE",
    } <= classes
    told = "\n".join(lines)
    for action in ("flow_retrying", "flow_paused", "translation_bug", "journal_unavailable", "alert_raised", "audit"):
        assert f'"action":"{action}"' in told, action
    kept = json.dumps([letter.reason + str(letter.payload) for letter in rig.letters()])
    assert all(mark in kept for mark in MARKS), "the marks are where they may be"
    for place, text in (("log", told), ("metrics", metrics)):
        assert [mark for mark in MARKS if mark.lower() in text.lower()] == [], place


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (ECHO, "value … of … with phone … is not valid, neither is …"),
        ("429: too many requests, wait 30 s", "429: too many requests, wait 30 s"),
        ("card 5550 1234 9876", "card …"),
        ("the token endpoint answered 503", "the token endpoint answered 503"),
        ("", ""),
    ],
)
def test_values_are_taken_out_of_texts_of_others(text: str, shown: str) -> None:
    assert without_values(text) == shown


def test_an_error_is_told_by_kind_and_place(lines: list[str]) -> None:
    try:
        raise StorageUnavailable("database or disk is full")
    except StorageUnavailable as error:
        log.error("failed", action="failed", exc=error)
    (line,) = lines
    error = json.loads(line)["error"]
    assert error.endswith("StorageUnavailable: database or disk is full")
    assert "test_relay_personal_data.py" in error
