"""The relay's own API: credentials, sources, dead letters, replay through the journal, status."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from capstream.kernel.clock import rfc3339
from capstream.relay import privacy
from capstream.relay.admin import Admin
from capstream.relay.audit import Audit
from capstream.relay.dead_letters import DeadLetter
from capstream.relay.drift import DriftBook
from capstream.relay.drift_desk import DriftDesk
from capstream.relay.eraser import Eraser, Pace
from capstream.relay.event_index import EventBrowser
from capstream.relay.journal import Entry, Flag, decode, encode
from capstream.relay.ledger import Ledger, parked_key
from capstream.relay.parked_desk import ParkedDesk
from capstream.relay.preview import Preview
from capstream.relay.privacy_desk import PrivacyDesk
from capstream.relay.records import Parked, Record
from capstream.relay.settlement import Settlement
from capstream.relay.sources import Sources
from capstream.relay.status import status_of
from capstream.storage.sqlite import SqliteDocuments, SqliteLog
from capstream.storage.sqlite_index import SqliteIndex

AUTH = ("client-1", "ims-secret")
NOW = 1_732_000_000_000


@pytest.fixture
def call(
    journal: SqliteLog, courier_db: SqliteDocuments, sources: Sources, clock: Any, index: SqliteIndex, office_db: SqliteDocuments
) -> Callable[..., httpx.Response]:
    eraser = Eraser(
        journal,
        office_db,
        courier=courier_db,
        finds=office_db,
        clock=clock,
        pace=Pace,
        digest=bytes,
        audit=Audit(office_db, clock),
    )
    app = Admin(
        journal=journal,
        courier=courier_db,
        sources=sources,
        verify=lambda *given: given == AUTH,
        clock=clock,
        status_now=lambda: status_of(courier_db, journal, {}),
        browser=EventBrowser(journal, courier_db, index),
        preview=Preview(journal, courier_db, sources),
        audit=Audit(office_db, clock),
        drift=DriftDesk(office_db, office_db, clock),
        parked=ParkedDesk(courier_db, journal, clock),
        change_key=lambda: 2,
        privacy=PrivacyDesk(courier_db, office_db, eraser, clock, lambda: 7.0),
    ).app()

    def send(method: str, path: str, *, auth: tuple[str, str] | None = AUTH, **options: Any) -> httpx.Response:
        async def main() -> httpx.Response:
            transport = httpx.ASGITransport(app=app)
            async with httpx.AsyncClient(transport=transport, base_url="http://relay.test") as client:
                return await client.request(method, path, auth=auth, **options)

        return asyncio.run(main())

    return send


def letter(number: int, **facts: Any) -> DeadLetter:
    given: dict[str, Any] = {
        "class_": "INVALID_BODY",
        "reason": "the body is not JSON",
        "source_key": "nw",
        "payload": b'{"a":1}',
        **facts,
    }
    return DeadLetter(id=f"{NOW + number:013d}-{number}-webhook-0", journal_offset=number, first_seen=NOW + number, **given)


@pytest.fixture
def letters(courier_db: SqliteDocuments) -> list[DeadLetter]:
    found = [letter(number, customer_id=str(number % 2)) for number in range(1, 6)]
    found.append(letter(6, class_="PLATFORM_REJECTED", flow="event", payload=b"not json", last_status=400, last_body="{}"))
    settlement = Settlement()
    settlement.dead = {each.id: each for each in found}
    Ledger(courier_db).settle(settlement)
    return found


def commands(journal: SqliteLog) -> list[Any]:
    entries = [decode(record) for _, record in journal.read(0, 100)]
    assert all(entry.flags == Flag.COMMAND for entry in entries)
    return [json.loads(entry.body) for entry in entries]


@pytest.mark.parametrize("auth", [None, ("client-1", "wrong"), ("other", "ims-secret")])
@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/relay/status"), ("PUT", "/relay/sources/x"), ("POST", "/relay/dead-letters/replay")]
)
def test_nothing_without_credentials(call: Any, journal: SqliteLog, method: str, path: str, auth: Any) -> None:
    response = call(method, path, auth=auth)
    assert response.status_code == 401
    assert response.headers["www-authenticate"].startswith("Basic")
    assert journal.end() == 0


@pytest.mark.parametrize("header", ["Bearer x", "Basic", "Basic !!!", "Basic bm9jb2xvbg=="])
def test_malformed_credentials_are_refused(call: Any, header: str) -> None:
    assert call("GET", "/relay/status", auth=None, headers={"authorization": header}).status_code == 401


def test_sources_are_put_shown_masked_and_deleted(call: Any) -> None:
    body = {
        "orgId": "o",
        "auth": {"secrets": ["s"]},
        "ims": {"url": "https://ims.test", "clientId": "c", "clientSecret": "secret-x"},
    }
    made = call("PUT", "/relay/sources/other", json=body)
    assert made.status_code == 200
    assert "secret-x" not in made.text
    assert call("GET", "/relay/sources/other").json() == made.json()
    assert {source["key"] for source in call("GET", "/relay/sources").json()["sources"]} == {"nw", "other"}
    assert call("DELETE", "/relay/sources/other").status_code == 204
    assert call("DELETE", "/relay/sources/other").status_code == 404
    assert call("GET", "/relay/sources/other").status_code == 404


@pytest.mark.parametrize(("body", "path"), [({"orgId": "o"}, "source x"), ([], "source x"), ({"unknown": 1}, "unknown")])
def test_a_wrong_source_names_the_field(call: Any, body: Any, path: str) -> None:
    response = call("PUT", "/relay/sources/x", json=body)
    assert response.status_code == 400
    assert response.json()["error"]["path"] == path
    assert response.json()["error"]["cure"]


def test_a_body_that_is_not_json_is_refused(call: Any) -> None:
    assert call("PUT", "/relay/sources/x", content=b"{").status_code == 400


def test_letters_are_listed_by_page_and_filter(call: Any, letters: list[DeadLetter]) -> None:
    first = call("GET", "/relay/dead-letters", params={"limit": 4}).json()
    rest = call("GET", "/relay/dead-letters", params={"limit": 4, "after": first["next"]}).json()
    assert [each["id"] for each in first["deadLetters"] + rest["deadLetters"]] == [each.id for each in letters]
    assert "next" not in rest
    assert "payload" not in first["deadLetters"][0]
    by_class = call("GET", "/relay/dead-letters", params={"class": "PLATFORM_REJECTED"}).json()["deadLetters"]
    assert [each["journalOffset"] for each in by_class] == [6]
    by_customer = call("GET", "/relay/dead-letters", params={"customerId": "0", "untilMs": str(NOW + 4)}).json()["deadLetters"]
    assert [each["journalOffset"] for each in by_customer] == [2]


def test_one_letter_is_shown_with_its_payload(call: Any, letters: list[DeadLetter]) -> None:
    shown = call("GET", f"/relay/dead-letters/{letters[0].id}").json()
    assert shown["payload"] == {"a": 1}
    assert (shown["class"], shown["journalOffset"], shown["sourceKey"], shown["attempts"]) == ("INVALID_BODY", 1, "nw", 1)
    shown = call("GET", f"/relay/dead-letters/{letters[5].id}").json()
    assert (shown["payload"], shown["lastStatus"], shown["lastBody"]) == ("not json", 400, "{}")
    assert call("GET", "/relay/dead-letters/none").status_code == 404


def test_export_is_one_letter_a_line(call: Any, letters: list[DeadLetter]) -> None:
    lines = call("GET", "/relay/dead-letters/export").text.splitlines()
    assert [json.loads(line)["id"] for line in lines] == [each.id for each in letters]


def test_replay_and_discard_become_commands_in_the_journal(
    call: Any, letters: list[DeadLetter], journal: SqliteLog, courier_db: SqliteDocuments
) -> None:
    version = courier_db.version()
    key = letters[0].id
    answers = [
        call("POST", f"/relay/dead-letters/{key}/replay"),
        call("POST", f"/relay/dead-letters/{key}/replay", json={"payload": {"b": 2}}),
        call("POST", f"/relay/dead-letters/{key}/discard"),
        call("DELETE", f"/relay/dead-letters/{key}"),
        call("POST", "/relay/dead-letters/replay", json={"class": "INVALID_BODY"}),
        call("POST", "/relay/dead-letters/discard", json={"sinceMs": 0, "reason": "told twice"}),
        call("POST", "/relay/replay", json={"fromOffset": 3}),
    ]
    assert [(answer.status_code, answer.json()["journalOffset"]) for answer in answers] == [
        (202, number) for number in range(1, 8)
    ]
    assert commands(journal) == [
        {"command": "replay_letters", "filter": {"ids": [key]}},
        {"command": "replay_letters", "filter": {"ids": [key]}, "payload": {"b": 2}},
        {"command": "discard_letters", "filter": {"ids": [key]}, "reason": "", "by": "client-1"},
        {"command": "discard_letters", "filter": {"ids": [key]}, "reason": "", "by": "client-1"},
        {"command": "replay_letters", "filter": {"class": "INVALID_BODY"}},
        {"command": "discard_letters", "filter": {"sinceMs": 0}, "reason": "told twice", "by": "client-1"},
        {"command": "replay_range", "range": {"fromOffset": 3, "toOffset": 6}},
    ]
    assert courier_db.version() == version


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/relay/dead-letters/replay", {}),
        ("/relay/dead-letters/replay", {"klass": "x"}),
        ("/relay/dead-letters/discard", {"ids": "x"}),
        ("/relay/dead-letters/discard", {"sinceMs": 0}),
        ("/relay/dead-letters/discard", {"sinceMs": 0, "reason": " "}),
        ("/relay/dead-letters/discard", {"sinceMs": 0, "reason": 1}),
        ("/relay/replay", {"from": 1}),
    ],
)
def test_unclear_commands_are_refused(call: Any, journal: SqliteLog, path: str, body: Any) -> None:
    response = call("POST", path, json=body)
    assert response.status_code == 400
    assert response.json()["error"]["cure"]
    assert journal.end() == 0


@pytest.mark.parametrize(
    "path", ["/relay/events/" + "9" * 30, "/relay/events?before=" + "9" * 20, "/relay/events?sinceMs=" + "9" * 19]
)
def test_numbers_that_fit_no_store_are_refused(call: Any, path: str) -> None:
    response = call("GET", path)
    assert response.status_code == 400
    assert "digits" in response.json()["error"]["cure"]


@pytest.mark.parametrize("action", ["replay", "discard"])
def test_letters_that_do_not_exist_are_404(call: Any, action: str) -> None:
    assert call("POST", f"/relay/dead-letters/none/{action}").status_code == 404


def test_status_of_an_empty_relay(call: Any) -> None:
    found = call("GET", "/relay/status").json()
    assert found["balanced"] is True
    assert found["journal"]["pending"] == 0
    assert found["waiting"] == {"parked": 0, "held": 0, "outbox": 0, "deadLetters": 0}


def test_acts_are_kept_with_who_did_what_and_without_values(call: Any, letters: list[DeadLetter], clock: Any) -> None:
    call("POST", "/relay/sources/nw/rotate", json={"secret": "a-new-secret"})
    clock.advance(1)
    call("POST", "/relay/sources/nw/retire")
    call("PUT", "/relay/sources/x", json={"orgId": "o"})
    call("GET", f"/relay/dead-letters/{letters[0].id}")
    call("GET", "/relay/status")
    call("DELETE", "/relay/sources/nw", auth=("client-1", "wrong"))
    page = call("GET", "/relay/audit", params={"limit": 2}).json()
    rest = call("GET", "/relay/audit", params={"after": page["next"]})
    acts = page["acts"] + rest.json()["acts"]
    assert [(act["act"], act["target"], act["status"], act["who"]) for act in acts] == [
        ("rotate_secret", "nw", 200, "client-1"),
        ("retire_secret", "nw", 200, "client-1"),
        ("put_source", "x", 400, "client-1"),
        ("get_letter", letters[0].id, 200, "client-1"),
    ]
    assert acts[0]["details"] == {"members": ["secret"]}
    assert "a-new-secret" not in json.dumps(acts)
    since = call("GET", "/relay/audit", params={"sinceMs": str(NOW + 1000)}).json()["acts"]
    assert [act["act"] for act in since] == [act["act"] for act in acts[1:]]


def test_a_rotation_shows_the_header_once(call: Any, sources: Sources) -> None:
    made = call("POST", "/relay/sources/nw/rotate").json()
    assert made["liveSecrets"] == 2
    secret = made["webhookHeaders"]["Authorization"].removeprefix("Bearer ")
    assert sources.guards["nw"].admits({b"authorization": b"Bearer " + secret.encode()}, "192.0.2.1")
    assert secret not in call("GET", "/relay/sources/nw").text
    assert call("POST", "/relay/sources/nw/retire").json() == {"liveSecrets": 1}
    assert call("POST", "/relay/sources/none/rotate").status_code == 400
    assert call("POST", "/relay/sources/nw/rotate", json={"secrets": 1}).status_code == 400


def test_a_replay_by_time_names_the_offsets_and_can_be_previewed(
    call: Any, journal: SqliteLog, clock: Any, make_event: Any
) -> None:
    for number in range(1, 6):
        journal.append([encode(Entry("nw", clock(), 0, b"", make_event(number)))])
        clock.advance(60)
    wanted = {"sinceMs": NOW + 60_000, "untilMs": NOW + 180_000}
    assert call("POST", "/relay/replay/preview", json={**wanted, "samples": 1}).json()["events"] == 2
    assert call("POST", "/relay/replay", json=wanted).status_code == 202
    queued = json.loads(decode(journal.get(6) or b"").body)["range"]
    assert (queued["fromOffset"], queued["toOffset"]) == (2, 3)
    assert call("POST", "/relay/replay/preview", json={"translation": {"no": 1}}).json()["error"]["path"] == "no"


def test_drift_is_listed_and_acknowledged(call: Any, office_db: SqliteDocuments, make_event: Any) -> None:
    DriftBook(office_db).look([(3, Entry("nw", NOW, 0, b"", make_event(1, newcomer=1)))], is_behind=False)
    (notice,) = call("GET", "/relay/drift").json()["notices"]
    assert notice == {
        "sourceKey": "nw", "eventName": "pointsIssued", "what": "unknown_field", "path": "/data/newcomer", "found": "number",
        "firstOffset": 3, "count": 1, "firstSeen": rfc3339(NOW), "lastSeen": rfc3339(NOW), "isNew": True,
    }  # fmt: skip
    assert call("GET", "/relay/drift?sourceKey=eu").json() == {"notices": []}
    assert call("GET", "/relay/drift?new=perhaps").status_code == 400
    assert call("POST", "/relay/drift/acknowledge", json={"source": "nw"}).status_code == 400
    assert call("POST", "/relay/drift/acknowledge", json={"sourceKey": "nw"}).json() == {"acknowledged": ["nw"]}
    assert call("GET", "/relay/drift?new=true").json() == {"notices": []}
    assert call("POST", "/relay/drift/acknowledge", json={"sourceKey": "none"}).json() == {"acknowledged": []}


def test_parked_payloads_are_listed_shown_and_given_up(call: Any, courier_db: SqliteDocuments, journal: SqliteLog) -> None:
    settlement = Settlement()
    for number, attempts in ((1, 3), (2, 0)):
        record = Record(f"p-{number}", "901", b'{"a":1}', 7, attempts=attempts, first_ms=NOW)
        settlement.parked[parked_key("nw", "event", record.id)] = Parked("nw", "event", NOW + 1000, "503: busy", record)
    Ledger(courier_db).settle(settlement)
    found = call("GET", "/relay/parked?sourceKey=nw&limit=1").json()
    assert [each["id"] for each in call("GET", f"/relay/parked?after={found['next']}").json()["parked"]] == ["nw/event/p-2"]
    found = found["parked"]
    assert [each["id"] for each in found] == ["nw/event/p-1"]
    assert call("GET", "/relay/parked?flow=profile").json() == {"parked": []}
    assert found[0]["reason"] == "503: busy"
    shown = call("GET", "/relay/parked/payload?id=nw/event/p-2").json()
    assert (shown["payload"], shown["isBehind"]) == ({"a": 1}, True)
    assert call("GET", "/relay/parked/payload?id=other").status_code == 400
    for body in ({"sourceKey": "nw"}, {"sourceKey": "nw", "reason": " "}, {"reason": "x"}, {"flow": "other", "reason": "x"}):
        assert call("POST", "/relay/parked/discard", json=body).status_code == 400
    assert call("POST", "/relay/parked/discard", json={"ids": ["nw/event/p-1"], "reason": "old"}).status_code == 202
    command = json.loads(decode(journal.get(journal.end()) or b"").body)
    assert command == {"command": "discard_parked", "filter": {"ids": ["nw/event/p-1"]}, "reason": "old", "by": "client-1"}
    acts = [act["act"] for act in call("GET", "/relay/audit").json()["acts"]]
    assert acts.count("discard_parked") == 5
    assert "get_parked" in acts


def test_a_member_can_be_asked_to_go_and_is_found_in_each_state(call: Any, courier_db: SqliteDocuments, clock: Any) -> None:
    where = "/relay/privacy-requests/700123/7"
    assert call("GET", where).json() == {"id": "700123/7", "orgId": "700123", "customerId": "7", "state": "none"}
    body = {"orgId": "700123", "customerId": "7", "identities": {"email": "member-0001@example.com"}, "requestedAtMs": clock()}
    settlement = Settlement()
    settlement.privacy = [("700123/7", json.dumps(body).encode())]
    Ledger(courier_db).settle(settlement)
    assert (call("GET", where).json()["state"], "identities" in call("GET", where).json()) == ("waiting", False)
    (listed,) = call("GET", "/relay/privacy-requests").json()["privacyRequests"]
    assert (listed["state"], listed["identities"], listed["dueAt"]) == ("waiting", body["identities"], "2024-11-26T07:06:40.000Z")
    clock.advance(7 * 86_400)
    assert call("GET", where).json()["state"] == "due"
    asked = call("POST", "/relay/privacy-requests", json={"orgId": "700123", "customerId": "7", "reason": "request 7"})
    assert asked.status_code == 202
    assert call("GET", where).json()["state"] == "asked"
    act = call("GET", "/relay/audit").json()["acts"][-1]
    assert (act["act"], act["details"]["reason"]) == ("ask_privacy", "request 7")
    with courier_db.transaction() as transaction:
        privacy.meet(transaction, "700123/7", {"erasedAtMs": clock(), "command": 1}, erased={}, linked=())
    assert call("GET", "/relay/privacy-requests").json() == {"privacyRequests": []}
    (met,) = call("GET", "/relay/privacy-requests", params={"state": "erased"}).json()["privacyRequests"]
    assert (met["state"], met["customerId"]) == ("erased", "7")


@pytest.mark.parametrize(
    "body",
    [{}, [], {"orgId": "1", "customerId": "x", "reason": "r"}, {"orgId": "1", "customerId": "2", "reason": " "},
     {"orgId": 1, "customerId": "2", "reason": "r"}, {"orgId": "1", "customerId": "2", "reason": "r", "more": "x"}],
)  # fmt: skip
def test_an_unclear_privacy_request_is_refused(call: Any, body: Any) -> None:
    assert call("POST", "/relay/privacy-requests", json=body).status_code == 400
    assert call("GET", "/relay/privacy-requests", params={"state": "new"}).status_code == 400
