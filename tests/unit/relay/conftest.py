"""Pieces the relay's tests share: real stores in a temporary folder, a clock that stands still, events."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from relay_rig import Rig

from capstream.relay.event_index import FACETS
from capstream.relay.sources import Sources
from capstream.relay.vault import Vault
from capstream.storage.sqlite import SqliteDocuments, SqliteLog
from capstream.storage.sqlite_index import SqliteIndex

KEY = b"qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqo="
SOURCE: dict[str, Any] = {
    "orgId": "0A7D42FC5DB9D3360A495FD3@AdobeOrg",
    "auth": {"secrets": ["webhook-secret"]},
    "inletUrl": "https://platform.test/collection/9d41",
    "profileFlowId": "flow-profile",
    "eventFlowId": "flow-event",
    "ims": {"url": "https://ims.test", "clientId": "client-1", "clientSecret": "ims-secret"},
}


class FixedClock:
    """A clock that moves only when told."""

    def __init__(self, now_ms: int = 1_732_000_000_000) -> None:
        self.now_ms = now_ms

    def __call__(self) -> int:
        return self.now_ms

    def advance(self, seconds: float) -> None:
        self.now_ms += int(seconds * 1000)


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock()


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[SqliteLog]:
    log = SqliteLog(tmp_path / "journal.db")
    yield log
    log.close()


@pytest.fixture
def sources_db(tmp_path: Path) -> Iterator[SqliteDocuments]:
    documents = SqliteDocuments(tmp_path / "sources.db")
    yield documents
    documents.close()


@pytest.fixture
def courier_db(tmp_path: Path) -> Iterator[SqliteDocuments]:
    documents = SqliteDocuments(tmp_path / "courier.db")
    yield documents
    documents.close()


@pytest.fixture
def office_db(tmp_path: Path) -> Iterator[SqliteDocuments]:
    documents = SqliteDocuments(tmp_path / "admin.db")
    yield documents
    documents.close()


@pytest.fixture
def index(tmp_path: Path) -> Iterator[SqliteIndex]:
    found = SqliteIndex(tmp_path / "events.db", FACETS)
    yield found
    found.close()


@pytest.fixture
def vault() -> Vault:
    return Vault(KEY)


@pytest.fixture
def sources(sources_db: SqliteDocuments) -> Sources:
    found = Sources(sources_db, Vault(KEY))
    found.put("nw", SOURCE)
    return found


@pytest.fixture
def rig(tmp_path: Path, sources: Sources, clock: FixedClock) -> Iterator[Rig]:
    found = Rig(tmp_path, sources, clock)
    yield found
    found.close()


@pytest.fixture
def make_event() -> Callable[..., bytes]:
    """Return a maker of webhook bodies: a pointsIssued of one member unless told otherwise."""

    def make(number: int = 1, *, customer: int = 900000101, name: str = "pointsIssued", **data: Any) -> bytes:
        return json.dumps(event_body(number, customer=customer, name=name, **data)).encode()

    return make


def event_body(number: int, *, customer: int = 900000101, name: str = "pointsIssued", **data: Any) -> dict[str, Any]:
    """Return one webhook body as JSON."""
    points = {
        "totalPointsIssued": 10,
        "regularPointsIssued": 10,
        "programCurrentPoints": 10 * number,
        "programLifetimePoints": 10 * number,
        "loyaltyProgramId": 4101,
        "loyaltyProgramDetails": {
            "id": 4101,
            "name": "Circle",
            "isDefault": True,
            "tiers": [{"tierNumber": 1, "tierName": "Bronze"}],
        },
    }
    base = points if name == "pointsIssued" else {}
    return {
        "eventName": name,
        "eventId": f"event-{number}",
        "orgId": 700123,
        "refId": f"700123_{number}",
        "apiRequestId": "request-1",
        "createdAt": 1_731_000_000_000 + number * 1000,
        "data": {
            **base,
            "customerIdentifiers": {"customerId": customer, "instore": {"email": f"member-{customer}@example.com"}},
            **data,
        },
    }
