"""The convergence rules one by one, the log and its checkpoint, the stored form. Source: capillary.md 7.5."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from capstream.capillary import lots
from capstream.capillary.ledger import Op, holder, ledger_of
from capstream.capillary.member_log import LOG_KEPT_MS, LOG_LIMIT, drop_names, parts_of_names, seal_names, unseal_names
from capstream.capillary.records import Book, Fact, Lot, MemberState, Schedule
from capstream.capillary.results import Answered, Failed
from capstream.capillary.state import absorb, dump, load, meet, record

Published = Callable[..., dict[str, Any]]
AT = 1_730_000_000_000


def _issued(published: Published, current: float, **event: Any) -> dict[str, Any]:
    return published("pointsIssued", programCurrentPoints=current, **event)


def test_change_of_the_same_instant_does_not_move_a_stated_value(desk: Any, published: Published) -> None:
    desk.take(_issued(published, 100.0, _createdAt=AT))
    desk.take(published("pointsTransferredReceived", _createdAt=AT, customerIdentifiers={"customerId": 900000101}))
    assert desk.profile()["loyalty"]["points"] == 100
    late = published(
        "pointsTransferredReceived", _eventId="later", _createdAt=AT + 1, customerIdentifiers={"customerId": 900000101}
    )
    desk.take(late)
    assert desk.profile()["loyalty"]["points"] == 175


@pytest.mark.parametrize(("first_log", "second_log", "winner"), [(5, 4, 100), (4, 5, 200), (5, None, 200), (None, 4, 200)])
def test_tie_goes_to_the_larger_log_id_else_to_the_larger_event_id(
    desk: Any, published: Published, first_log: int | None, second_log: int | None, winner: int
) -> None:
    desk.take(_issued(published, 200.0, _createdAt=AT, _eventId="b", _eventLogId=second_log))
    desk.take(_issued(published, 100.0, _createdAt=AT, _eventId="a", _eventLogId=first_log))
    assert desk.profile()["loyalty"]["points"] == winner


def _details(**changes: Any) -> dict[str, Any]:
    item = {"programId": 4101, "loyaltyPoints": 500.0, "lifetimePoints": 900.5, "redeemed": 300, "expired": 100.5, "returned": 7}
    item |= {"adjusted": 0, "delayedPoints": 12, "cumulativePurchases": 1234.56, "slabSNo": 2, "currentSlab": "Silver"}
    item |= {"slabExpiryDate": "2025-10-31T23:59:59+05:30", "nextSlab": "Gold", "nextSlabSerialNumber": 3}
    return {"data": [item | changes], "warnings": [], "errors": []}


def test_api_answer_is_a_seed_of_its_own_time(desk: Any, published: Published) -> None:
    answers = {"C3:700123:900000101": Answered(_details(), AT + 5000)}
    desk.take(published("pointsExpired", _createdAt=AT), answers)
    loyalty = desk.profile()["loyalty"]
    assert (loyalty["points"], loyalty["expiredPoints"]) == (500, 100.5), "the answer already reflects the event"
    assert (loyalty["tier"], loyalty["nextTier"], loyalty["tierExpiryDate"]) == ("Silver", "Gold", "2025-10-31T18:29:59.000Z")
    assert loyalty["lifetimePurchases"] == 1234.56
    desk.take(published("pointsExpired", _eventId="before-the-answer", _createdAt=AT + 4000))
    desk.take(published("pointsExpired", _eventId="after-the-answer", _createdAt=AT + 6000))
    loyalty = desk.profile()["loyalty"]
    assert (loyalty["points"], loyalty["expiredPoints"]) == (450, 150.5)
    assert desk.profile()["capillary"]["asOf"] == "2024-10-27T03:33:26.000Z"


def test_failed_or_odd_answers_change_nothing_but_are_noted(desk: Any, published: Published) -> None:
    desk.take(published("pointsExpired"), {"C3:700123:900000101": Failed("timed out")})
    before = desk.profile()
    outcome = desk.take(published("pointsExpired"), {"C3:700123:900000101": Answered({"data": "none"}, AT)})
    assert outcome.notes == ["C3: /data must be a list"]
    assert desk.profile() == before


def test_schedule_answer_replaces_the_lots_and_ends_the_guessing(desk: Any, published: Published) -> None:
    desk.take(published("pointsRedeemed", _createdAt=AT))
    assert desk.profile()["capillary"]["quality"] == ["schedule_approximate"]
    schedule = {
        "expirySchedules": [{"points": 60.0, "expiryDate": "2025-01-31 23:59:59", "programId": 4101, "expiryType": "fixed"}]
    }
    desk.take(published("pointsExpiryChange", _createdAt=AT + 1), {"C6:700123:900000101": Answered(schedule, AT + 2)})
    body = desk.profile()
    assert body["loyalty"]["pointsExpiration"] == [{"pointsExpiring": 60, "pointsExpirationDate": "2025-01-31T23:59:59.000Z"}]
    assert "quality" not in body["capillary"]


def test_customer_answer_completes_identities_and_attributes(desk: Any, published: Published) -> None:
    identifiers = [{"type": "mobile", "value": "447700900101"}, {"type": "email", "value": "Member-0001@Example.com"}]
    profile = {
        "source": "INSTORE",
        "identifiers": identifiers,
        "attribution": {"createDate": "2020-01-02T03:04:05Z"},
        "fields": {"a": "b"},
    }
    answer = {
        "id": 900000101,
        "profiles": [profile],
        "loyaltyInfo": {"loyaltyType": "loyalty"},
        "extendedFields": {"city": "Bath"},
    }
    body = published(
        "customerUpdated", _createdAt=AT, customerIdentifiers={"customerId": 900000101}, customFields=[], extendedFields=[]
    )
    desk.take(body, {"C2:700123:900000101": Answered(answer, AT + 10)})
    found = desk.profile()
    assert found["identityMap"]["email"][0]["id"] == "member-0001@example.com"
    assert found["identityMap"]["phone"][0]["id"] == "+447700900101"
    assert found["loyalty"]["joinDate"] == "2020-01-02T03:04:05.000Z"
    assert found["capillary"]["customFields"] == {"a": "b"}
    assert found["capillary"]["extendedFields"] == {"city": "Bath"}


def _fact(number: int, at: int, received: int) -> Fact:
    return Fact(at, None, f"e{number}", "", received, [[Op.ADD, "4101", 3, 1000]])


def _seeded() -> MemberState:
    state = MemberState()
    meet(state, AT)
    record(state, Fact(AT, None, "seed", "", AT, [[Op.ZERO_SEED, ""], [Op.SEEDED, ""]]))
    return state


def test_facts_leave_the_log_after_30_days_and_stay_counted() -> None:
    state = _seeded()
    for number in range(1, 11):
        record(state, _fact(number, AT + number, AT + number))
    record(state, _fact(11, AT + LOG_KEPT_MS, AT + LOG_KEPT_MS + 100))
    assert state.log_count == 1
    assert ledger_of(state.book).accounts["4101"].expired == 11_000
    assert not record(state, _fact(5, AT + 5, AT + LOG_KEPT_MS + 200)), "older than the checkpoint: never counted twice"
    assert record(state, _fact(12, AT + 12, AT + LOG_KEPT_MS + 200)), "late, but after the checkpoint"
    assert ledger_of(state.book).accounts["4101"].expired == 12_000


def test_log_is_bounded() -> None:
    state = _seeded()
    for number in range(1, 2 * LOG_LIMIT):
        record(state, _fact(number, AT + number, AT))
    assert state.log_count <= LOG_LIMIT
    assert ledger_of(state.book).accounts["4101"].expired == (2 * LOG_LIMIT - 1) * 1000
    assert state.version == 2 * LOG_LIMIT


def test_fact_that_comes_after_the_log_was_cut_still_counts_once() -> None:
    state = _seeded()
    late = _fact(9999, AT + 3, AT)
    stale = Fact(AT + 3, None, "stale", "", AT, [[Op.SET, "4101", 0, 5000], [Op.TIER, "4101", 1, None, None]])
    stated = Fact(AT + 7, None, "stated", "", AT, [[Op.SET, "4101", 0, 7000], [Op.TIER, "4101", 2, None, None]])
    record(state, stated)
    for number in range(10, 2 * LOG_LIMIT):
        record(state, _fact(number, AT + number, AT))
    counted = ledger_of(state.book).accounts["4101"].expired
    assert counted is not None
    assert record(state, late)
    assert record(state, stale)
    assert not record(state, late)
    assert not record(state, _fact(20, AT + 20, AT)), "known, though it left the log"
    held = ledger_of(state.book).accounts["4101"]
    assert (held.expired, held.points, held.tier) == (counted + 1000, 7000, 2)


def test_states_of_other_versions_are_readable(desk: Any, published: Published) -> None:
    desk.take(published("pointsIssued"))
    kept = dump(desk.state())
    members = msgspec.msgpack.decode(kept)
    newer = load(msgspec.msgpack.encode([*members, {"a later version": 1}]))
    assert dump(newer) == kept
    assert load(msgspec.msgpack.encode(members[:12])).version == 1


def test_reversal_takes_from_the_bill_first_then_the_promotion_then_the_earliest() -> None:
    schedule = Schedule([Lot("2024-10-31", 50, "b1", "p"), Lot("2024-12-31", 9, "b0"), Lot("2025-01-31", 100, "b1")])
    lots.reverse(schedule, 159, "b1", 105, [["p", 20]])
    assert [(lot.day, lot.points) for lot in schedule.lots] == [("2024-10-31", 25), ("2024-12-31", 9)]
    assert not schedule.guessed


def test_give_back_fills_what_the_redemption_took_last_first() -> None:
    schedule = Schedule([Lot("2024-10-31", 30), Lot("2024-12-31", 50)])
    lots.take(schedule, 80, 60, "r")
    lots.give_back(schedule, "r", 40)
    assert [(lot.day, lot.points) for lot in schedule.lots] == [("2024-10-31", 10), ("2024-12-31", 50)]
    lots.give_back(schedule, "r", 20)
    assert [(lot.day, lot.points) for lot in schedule.lots] == [("2024-10-31", 30), ("2024-12-31", 50)]
    assert not schedule.guessed
    lots.give_back(schedule, "unknown", 1)
    assert schedule.guessed


def test_expiry_empties_earlier_days_only() -> None:
    schedule = Schedule([Lot("2024-10-30", 10), Lot("2024-10-31", 10), Lot("2024-11-01", 10)])
    lots.expire(schedule, 30, 20, "2024-11-01")
    assert [lot.day for lot in schedule.lots] == ["2024-11-01"]
    assert not schedule.guessed


def test_move_takes_what_is_held_and_says_when_it_was_less() -> None:
    schedule = Schedule([Lot("2024-10-31", 10, "b", "p"), Lot("2024-10-31", 10, "b")])
    lots.move(schedule, [[10, "2024-10-31", "2025-10-31", None]])
    assert [(lot.day, lot.promotion) for lot in schedule.lots] == [("2024-10-31", "p"), ("2025-10-31", None)]
    assert not schedule.guessed
    lots.move(schedule, [[30, "2024-10-31", "2025-10-31", None]])
    assert schedule.guessed


def test_reminder_states_the_entry_of_its_day() -> None:
    schedule = Schedule([Lot("2024-10-31", 10, "b"), Lot("2024-10-31", 30)])
    lots.state(schedule, "2024-10-31", 15)
    assert sum(lot.points for lot in schedule.lots) == 15
    lots.state(schedule, "2024-11-30", 7)
    assert schedule.lots[-1].points == 7


def test_members_merged_into_each_other_and_then_away_do_not_go_in_circles(desk: Any, published: Published) -> None:
    def merge(survivor: int, victim: int, event_id: str, at: int) -> dict[str, Any]:
        names = {"survivorCustomerIdentifiers": {"customerId": survivor}, "victimCustomerIdentifiers": {"customerId": victim}}
        return published("loyaltyCustomerMerge", survivorCustomerLoyaltySummary=[], _eventId=event_id, _createdAt=at, **names)

    desk.take(published("pointsRedeemed", customerIdentifiers={"customerId": 2}, _eventId="spent", _createdAt=AT))
    desk.take(merge(1, 2, "one", AT + 1))
    desk.take(merge(2, 1, "back", AT + 2))
    desk.take(merge(3, 1, "away", AT + 3))
    book = desk.state("3").book
    assert (holder(book, "1"), holder(book, "2")) == ("", "")
    assert list(book.ledgers) == [""]


def test_a_merge_back_inside_a_checkpoint_does_not_go_in_circles() -> None:
    survivor, victim = MemberState(), MemberState()
    book = Book(absorbed={"2": "", "1": "2"})
    victim.base, victim.base_at = msgspec.msgpack.encode(book), AT
    absorb(survivor, victim, "1")
    assert holder(survivor.book, "2") == "1"
    assert holder(survivor.book, "1") == "1"


def test_sealed_names_that_are_too_many_or_of_a_closed_time_go_part_by_part() -> None:
    said = b"".join((128).to_bytes(2, "big") + (AT + number).to_bytes(8, "big") for number in range(40))
    state = MemberState(name_parts=said, names_opened=3, closed_at=AT - 1)
    assert drop_names(state) == 8
    assert (state.names_opened, parts_of_names(state), state.closed_at) == (11, 32, AT + 7)
    state.closed_at = AT + 20
    assert drop_names(state) == 13
    assert (state.names_opened, parts_of_names(state), state.closed_at) == (24, 19, AT + 20)
    assert drop_names(state) == 0


def test_whoever_wants_sealed_names_without_having_them_is_told() -> None:
    state = _seeded()
    for number in range(1, 2 * LOG_LIMIT):
        record(state, _fact(number, AT + number, AT))
    part = seal_names(state)
    with pytest.raises(RuntimeError, match="sealed"):
        record(state, _fact(3, AT + 3, AT))
    unseal_names(state, [part])
    assert not record(state, _fact(3, AT + 3, AT))
