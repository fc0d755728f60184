"""Webhooks from before an erasure that come after it are not translated, and their bodies go. Newer ones are new data."""

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from erasing_rig import Erasing
from relay_rig import Rig

from capstream.layout import Layout
from capstream.relay import journal
from capstream.relay.audit import Audit
from capstream.relay.event_index import EventBrowser, EventQuery
from capstream.relay.late_webhooks import read_late
from capstream.relay.ledger import read_states
from capstream.relay.sources import Sources
from capstream.relay.tombstones import Tombstones
from capstream.storage.ports import StorageUnavailable

ORG, GONE, OTHER = "700123", 900000901, 900000902
MAIL = b"member-900000901@example.com"
CASES = Path(__file__).parents[3] / "cases" / "capillary-events"
DAY_MS = 86_400_000


class Crash(BaseException):
    """The process is killed here."""


@pytest.fixture
def erasing(tmp_path: Path, sources: Sources, clock: Any, make_event: Any) -> Iterator[Erasing]:
    """A member was taken out, another is there."""
    layout = Layout(tmp_path / "data")
    layout.journal.parent.mkdir(parents=True)
    rig = Rig(layout.journal.parent, sources, clock)
    found = Erasing(rig, layout)
    rig.receive(make_event(1, customer=GONE), make_event(2, customer=OTHER))
    rig.drain()
    found.ask(ORG, GONE)
    found.run()
    assert MAIL not in in_journal(found)
    rig.clock.advance(3600)
    yield found
    found.close()
    rig.close()


def at(body: bytes, created_ms: int, org: str = ORG) -> bytes:
    return json.dumps({**json.loads(body), "createdAt": created_ms, "orgId": int(org)}).encode()


def in_journal(erasing: Erasing) -> bytes:
    """Every byte of the journal's files."""
    return b"".join(path.read_bytes() for path in erasing.layout.journal.parent.glob("journal.db*"))


def outcomes(erasing: Erasing, **wanted: Any) -> list[tuple[int, str]]:
    browser = EventBrowser(erasing.rig.journal, erasing.rig.documents, erasing.index)
    return [(each["offset"], each["outcome"]) for each in browser.find(EventQuery(**wanted))["events"]]


def members(erasing: Erasing) -> set[str]:
    return {key for key, _ in read_states(erasing.rig.documents, after="", limit=10)}


def is_out_again(erasing: Erasing, offset: int) -> None:
    """Nothing of the late webhook is left, and the books say what became of it."""
    rig = erasing.rig
    assert MAIL not in in_journal(erasing)
    assert (offset, "erased") in outcomes(erasing)
    assert outcomes(erasing, customer_id=str(GONE)) == []
    assert read_late(rig.documents, 10) == []
    assert f"{ORG}/{GONE}" not in members(erasing)
    status = rig.status()
    assert (status["balanced"], status["sources"]["nw"]["skippedByReason"]) == (True, {"erased": 1})


def test_a_late_webhook_is_not_translated_and_its_body_goes(erasing: Erasing, make_event: Any) -> None:
    rig = erasing.rig
    before = len(rig.edge.events())
    rig.receive(make_event(3, customer=GONE))
    late = rig.journal.end()
    erasing.clerk()
    rig.drain()
    assert outcomes(erasing, customer_id=str(GONE)) == [(late, "erased")]
    assert MAIL in in_journal(erasing)
    erasing.run()
    is_out_again(erasing, late)
    assert len(rig.edge.events()) == before
    act = Audit(erasing.office, rig.clock).entries()[-1]
    assert (act["act"], act["who"], act["details"]) == ("erase_late", "capstream", {"journal": 1})
    rig.journal.append([journal.command("replay_range", rig.clock(), range={"toOffset": rig.journal.end()})])
    rig.drain()
    is_out_again(erasing, late)


@pytest.mark.parametrize("indexed_first", [True, False])
def test_the_index_says_no_more_than_the_journal(erasing: Erasing, make_event: Any, indexed_first: bool) -> None:
    rig = erasing.rig
    rig.receive(make_event(3, customer=GONE))
    late = rig.journal.end()
    if indexed_first:
        erasing.clerk()
    rig.drain()
    while read_late(rig.documents, 1):
        erasing.gateway()
        rig.drain()
    erasing.clerk()
    is_out_again(erasing, late)
    assert outcomes(erasing, outcome="erased")[0] == (late, "erased")


def test_what_is_newer_is_a_new_relationship_that_late_webhooks_do_not_touch(erasing: Erasing, make_event: Any) -> None:
    rig = erasing.rig
    rig.receive(at(make_event(4, customer=GONE), rig.clock()))
    rig.drain()
    assert f"{ORG}/{GONE}" in members(erasing)
    state = dict(read_states(rig.documents, after="", limit=10))[f"{ORG}/{GONE}"]
    rig.receive(make_event(3, customer=GONE))
    erasing.run()
    assert dict(read_states(rig.documents, after="", limit=10))[f"{ORG}/{GONE}"] == state
    assert rig.status()["sources"]["nw"]["skippedByReason"] == {"erased": 1}
    assert [outcome for _, outcome in outcomes(erasing, customer_id=str(GONE))] == ["processed"]


@pytest.mark.parametrize(
    ("change", "is_late"),
    [
        ({}, True),
        ({"customer": OTHER}, False),
        ({"org": "700124"}, False),
        ({"created": None}, False),  # when it was is not known: it came later
    ],
)
def test_only_what_was_before_and_is_the_members_is_left_out(
    erasing: Erasing, make_event: Any, change: dict[str, Any], is_late: bool
) -> None:
    body = make_event(3, customer=change.get("customer", GONE))
    erasing.rig.receive(at(body, change.get("created", 1_731_000_003_000), change.get("org", ORG)))
    erasing.rig.drain()
    assert erasing.rig.status()["sources"]["nw"]["skippedByReason"] == ({"erased": 1} if is_late else {})


def test_a_late_merge_with_the_member_is_left_out(erasing: Erasing) -> None:
    text = (CASES / "loyaltyCustomerMerge.json").read_text()
    body = text.replace("900000101", str(OTHER)).replace("900000555", str(GONE)).encode()
    erasing.rig.receive(at(body, 1_731_000_003_000))
    erasing.run()
    assert members(erasing) == {f"{ORG}/{OTHER}"}
    assert str(GONE).encode() not in erasing.rig.journal.get(erasing.rig.journal.end() - 1)  # type: ignore[operator]
    assert erasing.rig.status()["balanced"]


@pytest.mark.parametrize("point", ["translated", "settled"])
def test_the_courier_may_die_at_any_step(erasing: Erasing, make_event: Any, point: str) -> None:
    rig, left = erasing.rig, [1]

    def die(name: str) -> None:
        if left[0] and name == point:
            left[0] -= 1
            raise Crash(name)

    rig.receive(make_event(3, customer=GONE))
    late = rig.journal.end()
    with contextlib.suppress(Crash):
        rig.drain(checkpoint=die)
    assert left == [0]
    erasing.run()
    is_out_again(erasing, late)


def test_the_gateway_may_die_before_it_tells_that_the_body_is_out(erasing: Erasing, make_event: Any) -> None:
    rig = erasing.rig
    rig.receive(make_event(3, customer=GONE))
    late = rig.journal.end()
    rig.drain()
    append, rig.journal.append = rig.journal.append, _fails  # type: ignore[method-assign]
    with pytest.raises(StorageUnavailable):
        _again_and_again(erasing.gateway)
    rig.journal.append = append  # type: ignore[method-assign]
    assert read_late(rig.documents, 10) == [late]
    erasing.run()
    is_out_again(erasing, late)


def _again_and_again(act: Callable[[], object]) -> None:
    while True:
        act()


def _fails(*_: Any, **__: Any) -> int:
    raise StorageUnavailable("the process is killed here")


def test_memory_holds_no_member(erasing: Erasing) -> None:
    found = Tombstones(erasing.rig.documents)
    assert found.hashes == {hash(f"{ORG}/{GONE}")}
    assert not found.cover([(ORG, str(OTHER))], 0)
    assert found.cover([(ORG, str(OTHER)), (ORG, str(GONE))], 0)
    assert not found.cover([(ORG, str(GONE))], erasing.rig.clock())
