"""The order in which postings leave, and what is done to them on the way."""

from collections.abc import Iterator

import pytest

from capstream.capillary.events import NormalisedEvent
from capstream.capillary.normalise import normalise
from capstream.capillary.programme.distort import HUGE_BYTES, Envelope, Malformation, malform, wrap
from capstream.capillary.programme.events import SimEvent
from capstream.kernel.json import JsonError, dumps, loads
from capstream.relay.faults import NO_FAULTS, Faults, Feed, Posting

START_MS = 1_700_000_000_000


def event(number: int, kind: str = "pointsExpired") -> SimEvent:
    data = {"customerIdentifiers": {"customerId": 900000101, "instore": {"externalId": "UK-101"}}, "pointsExpired": 5.0}
    created_ms = START_MS + number * 1000
    body = {
        "eventName": kind,
        "eventId": f"e{number}",
        "orgId": 700123,
        "refId": "700123_1",
        "apiRequestId": "r",
        "createdAt": created_ms,
    }
    return SimEvent({**body, "data": data, "loyaltyEventId": None}, created_ms, 900000101, kind)


def drained(feed: Feed) -> list[Posting]:
    postings: list[Posting] = []
    while (posting := feed.next()) is not None:
        postings.append(posting)
    return postings


def steps(count: int, size: int = 2) -> Iterator[list[SimEvent]]:
    for start in range(0, count, size):
        yield [event(number) for number in range(start, start + size)]


def test_without_faults_every_event_leaves_once_and_in_order() -> None:
    postings = drained(Feed(steps(10), NO_FAULTS, seed=1))
    assert [loads(posting.raw)["eventId"] for posting in postings] == [f"e{number}" for number in range(10)]


def test_the_engine_is_asked_only_for_what_is_wanted() -> None:
    asked: list[int] = []

    def watched() -> Iterator[list[SimEvent]]:
        for place, step in enumerate(steps(10)):
            asked.append(place)
            yield step

    feed = Feed(watched(), NO_FAULTS, seed=1)
    feed.next()
    feed.next()
    assert asked == [0]


def test_a_closed_feed_ends_after_the_step_and_gives_out_what_it_holds() -> None:
    faults = Faults(duplicates=1.0, late_duplicates=1.0, out_of_order=0.0, missing_event_id=0.0)
    feed = Feed(steps(10), faults, seed=1)
    first = feed.next()
    feed.close()
    rest = drained(feed)
    assert first is not None
    assert sorted(posting.event.event_id for posting in [first, *rest]) == ["e0"] * 3 + ["e1"] * 3
    assert feed.events == 2


def test_nothing_is_lost_however_it_is_shuffled() -> None:
    faults = Faults(duplicates=0.2, late_duplicates=0.1, out_of_order=0.5, missing_event_id=0.0)
    postings = drained(Feed(steps(200), faults, seed=1))
    firsts = [posting.event.event_id for posting in postings if posting.is_first]
    assert sorted(firsts) == sorted(f"e{number}" for number in range(200))
    assert firsts != [f"e{number}" for number in range(200)]
    assert any(posting.is_duplicate for posting in postings)
    assert {posting.raw for posting in postings} == {dumps(event(number).body) for number in range(200)}


def test_the_same_seed_gives_the_same_postings() -> None:
    one, two = (drained(Feed(steps(100), Faults(out_of_order=0.3), seed=9)) for _ in range(2))
    assert [posting.raw for posting in one] == [posting.raw for posting in two]


def test_some_kinds_come_without_their_id() -> None:
    feed = Feed(iter([[event(1, "promotionEarned"), event(2)]]), Faults(missing_event_id=1.0, out_of_order=0), seed=1)
    assert ["eventId" in loads(posting.raw) for posting in drained(feed) if posting.is_first] == [False, True]


@pytest.mark.parametrize("envelope", list(Envelope))
def test_every_envelope_is_the_same_event(envelope: Envelope) -> None:
    read = normalise(dumps(wrap(event(1).body, envelope)), START_MS)
    assert isinstance(read, NormalisedEvent)
    assert (read.envelope, read.event_id, read.event_name, read.created_at_ms) == (
        envelope.value,
        "e1",
        "pointsExpired",
        START_MS + 1000,
    )
    assert read.data["pointsExpired"] == 5


@pytest.mark.parametrize("how", [how for how in Malformation if how.is_readable])
def test_readable_malformations_keep_the_event(how: Malformation) -> None:
    spoilt = malform(event(1).body, how)
    text = spoilt.raw.removeprefix(b"\xef\xbb\xbf")
    read = loads(text)
    read = read[0] if isinstance(read, list) else read
    assert read["eventId"] == "e1"
    assert spoilt.raw != dumps(event(1).body) or spoilt.headers


@pytest.mark.parametrize(
    "how", [Malformation.TRUNCATED, Malformation.EMPTY, Malformation.NOT_JSON, Malformation.NAN, Malformation.INVALID_UTF8]
)
def test_some_malformations_are_no_json(how: Malformation) -> None:
    with pytest.raises((JsonError, UnicodeDecodeError)):
        loads(malform(event(1).body, how).raw)


def test_other_malformations() -> None:
    body = event(1).body
    assert "eventName" not in loads(malform(body, Malformation.MISSING_EVENT_NAME).raw)
    assert "customerIdentifiers" not in loads(malform(body, Malformation.MISSING_CUSTOMER_ID).raw)["data"]
    assert loads(malform(body, Malformation.DATA_NULL).raw)["data"] is None
    assert len(malform(body, Malformation.HUGE_BODY).raw) > HUGE_BYTES
    assert malform(body, Malformation.WRONG_SECRET).headers == {"authorization": "Bearer wrong"}
    assert loads(malform(body, Malformation.UNKNOWN_EVENT_NAME).raw)["eventId"] == "spoilt-e1"


def test_unreadable_ones_are_additional() -> None:
    feed = Feed(
        steps(4), Faults(malformed={Malformation.TRUNCATED: 1.0}, out_of_order=0, duplicates=0, late_duplicates=0), seed=1
    )
    postings = drained(feed)
    assert [posting.is_spoilt for posting in postings] == [True, False] * 4


def test_whole_seconds_only_where_order_does_not_matter() -> None:
    assert Malformation.CREATED_AT_IN_SECONDS.fits("promotionEarned")
    assert not Malformation.CREATED_AT_IN_SECONDS.fits("pointsIssued")
