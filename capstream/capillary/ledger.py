"""A member's ledger: balances, counters, tier and lots per programme, moved by operations in the order of time.

An operation is a small list `[code, programme, ...]` made of one event. Codes are ordered by the phase in which they run when
several events carry the same `createdAt`: lots, then changes, then stated values, then the absorption of a merged member. So a
stated value is never moved by a change of the same instant. All points and money are in thousandths. `None` means unknown, which
is not zero: a change on an unknown counter leaves it unknown.
Source: capillary.md 7.5 (rules 2, 3, 5, 9, 10).
"""

from collections.abc import Mapping
from typing import Final

from capstream.capillary import lots
from capstream.capillary.records import Account, Book, Fact, Ledger, Lot, Operation, Schedule

ZERO_SEED_SLACK_MS: Final = 5 * 60_000


class Op:
    """What an operation does; the comment names its arguments after the programme."""

    LOTS_ADD: Final = 0  #: [[day, points, bill, promotion], ...]
    LOTS_MOVE: Final = 1  #: [[points, from, to, promotion], ...]
    LOTS_TAKE: Final = 2  #: points, redemption
    LOTS_REVERSE: Final = 3  #: bill, regular points, [[promotion, points], ...]
    LOTS_GIVE_BACK: Final = 4  #: redemption, points
    LOTS_EXPIRE: Final = 5  #: points, day
    LOTS_STATE: Final = 6  #: day, points
    ADD: Final = 10  #: balance index, change
    ADD_PURCHASES: Final = 11  #: change
    ZERO_SEED: Final = 20  #: nothing
    SET: Final = 21  #: balance index, value
    SET_PURCHASES: Final = 22  #: value
    TIER: Final = 23  #: number, expiry text or None, upgrade text or None
    TIER_NUMBER: Final = 24  #: number
    LOTS_REPLACE: Final = 25  #: {programme: [[day, points, None, None], ...]}
    SEEDED: Final = 26  #: nothing
    ABSORB: Final = 30  #: merged member


POINTS, LIFETIME, REDEEMED, EXPIRED, RETURNED, ADJUSTED, PROMISED = (
    "points",
    "lifetime",
    "redeemed",
    "expired",
    "returned",
    "adjusted",
    "promised",
)
BALANCES: Final[tuple[str, ...]] = (POINTS, LIFETIME, REDEEMED, EXPIRED, RETURNED, ADJUSTED, PROMISED)
"""Names of the balances of an Account; operations name them by their index here."""

_TIER: Final = len(BALANCES)

_GROWING: Final[tuple[str, ...]] = (REDEEMED, EXPIRED, RETURNED, ADJUSTED)


def holder(book: Book, owner: str) -> str:
    """Return the owner whose ledger an owner's operations move."""
    while owner in book.absorbed:
        owner = book.absorbed[owner]
    return owner


def ledger_of(book: Book, owner: str = "") -> Ledger:
    """Return the ledger that an owner's operations move: its own, or the one that absorbed it."""
    owner = holder(book, owner)
    ledger = book.ledgers.get(owner)
    if ledger is None:
        ledger = book.ledgers[owner] = Ledger()
    return ledger


def apply_alone(book: Book, fact: Fact, first: Mapping[str, int]) -> None:
    """Run a fact that shares its instant with no other; its operations are already in phase order."""
    ledger = ledger_of(book, fact.owner)
    for operation in fact.operations:
        _run(book, ledger, fact, operation, first)


def apply_group(book: Book, facts: list[Fact], first: Mapping[str, int]) -> None:
    """Run the facts of one instant.

    Order: lots by event id; then all changes; then stated values, of which the last in tie order stays; then absorptions.
    Source: capillary.md 7.5 (2, 6, 10).
    """
    if len(facts) == 1:
        apply_alone(book, facts[0], first)
        return
    by_id = sorted(facts, key=lambda fact: fact.event_id)
    _run_phase(book, by_id, first, (0, 19))
    _run_phase(book, tie_order(by_id), first, (20, 29))
    _run_phase(book, by_id, first, (30, 39))


def tie_order(facts: list[Fact]) -> list[Fact]:
    """Return facts of one instant in the order in which the later wins: by eventLogId when all have one, else by event id."""
    if all(fact.log_id is not None for fact in facts):
        return sorted(facts, key=lambda fact: (fact.log_id or 0, fact.event_id))
    return sorted(facts, key=lambda fact: fact.event_id)


def _run_phase(book: Book, facts: list[Fact], first: Mapping[str, int], codes: tuple[int, int]) -> None:
    for fact in facts:
        for operation in fact.operations:
            if codes[0] <= operation[0] <= codes[1]:
                _run(book, ledger_of(book, fact.owner), fact, operation, first)


def fold(book: Book, facts: list[Fact], first: Mapping[str, int]) -> Book:
    """Return `book` after all facts, which come in ascending `at`. `first` holds each owner's earliest event."""
    start, count = 0, len(facts)
    while start < count:
        end = start + 1
        while end < count and facts[end].at == facts[start].at:
            end += 1
        apply_group(book, facts[start:end], first)
        start = end
    return book


def account(ledger: Ledger, programme: str) -> Account:
    """Return the account of a programme, opened at zero for a zero-seeded member, else with everything unknown."""
    found = ledger.accounts.get(programme)
    if found is None:
        found = ledger.accounts[programme] = Account(0, 0, 0, 0, 0, 0, 0) if ledger.zero else Account()
    return found


def _add(ledger: Ledger, operation: Operation) -> None:
    held, name = account(ledger, operation[1]), BALANCES[operation[2]]
    before = getattr(held, name)
    if before is not None:
        setattr(held, name, before + operation[3])


def _set(ledger: Ledger, fact: Fact, operation: Operation) -> None:
    held = account(ledger, operation[1])
    setattr(held, BALANCES[operation[2]], operation[3])
    held.stated[operation[2]] = fact.at


def _add_purchases(ledger: Ledger, operation: Operation) -> None:
    if ledger.purchases is not None:
        ledger.purchases += operation[2]


def _zero_seed(ledger: Ledger, fact: Fact, first: Mapping[str, int]) -> None:
    """Start the ledger at zero, unless the member is older than this registration."""
    if fact.at - first.get(fact.owner, fact.at) > ZERO_SEED_SLACK_MS:
        return
    ledger.zero = ledger.seeded = True
    ledger.purchases, ledger.purchases_at, ledger.zero_at = 0, fact.at, fact.at
    for held in ledger.accounts.values():
        for index, name in enumerate(BALANCES):
            setattr(held, name, 0)
            held.stated[index] = fact.at


def _tier(ledger: Ledger, fact: Fact, operation: Operation) -> None:
    held = account(ledger, operation[1])
    held.tier, held.tier_expiry = operation[2], operation[3]
    held.stated[_TIER] = fact.at
    if operation[4] is not None:
        held.tier_upgraded = operation[4]


def _tier_number(ledger: Ledger, fact: Fact, operation: Operation) -> None:
    held = account(ledger, operation[1])
    held.tier = operation[2]
    held.stated[_TIER] = fact.at


def _replace_lots(ledger: Ledger, operation: Operation) -> None:
    for held in ledger.accounts.values():
        held.schedule = Schedule()
    for programme, entries in operation[2].items():
        account(ledger, programme).schedule = Schedule(sorted((Lot(*entry) for entry in entries), key=lots.order))


def _absorb(book: Book, ledger: Ledger, fact: Fact, operation: Operation) -> None:
    """Let the counters grow by the merged member's and take over its lots; points and tier are stated by the event itself."""
    victim = operation[2]
    if victim in book.absorbed or holder(book, fact.owner) == victim:  # known, or two members merged into each other
        return
    lost = book.ledgers.pop(victim, None) or Ledger()
    for programme in list(dict.fromkeys([*ledger.accounts, *lost.accounts])):
        kept, taken = account(ledger, programme), account(lost, programme)
        for name in _GROWING:
            setattr(kept, name, _sum(getattr(kept, name), getattr(taken, name)))
        lots.append(kept.schedule, taken.schedule)
    ledger.purchases = _sum(ledger.purchases, lost.purchases)
    ledger.seeded = ledger.seeded and lost.seeded
    ledger.zero = ledger.zero and lost.zero
    book.absorbed[victim] = fact.owner


def _sum(left: int | None, right: int | None) -> int | None:
    return None if left is None or right is None else left + right


def _run(book: Book, ledger: Ledger, fact: Fact, operation: Operation, first: Mapping[str, int]) -> None:
    """Run one operation. Compiled, a chain of comparisons is a jump or two; what events do most often comes first."""
    code: int = operation[0]
    if code == Op.SET:
        _set(ledger, fact, operation)
    elif code == Op.ADD:
        _add(ledger, operation)
    elif code <= Op.LOTS_STATE:
        _move_lots(code, account(ledger, operation[1]), operation)
    elif code == Op.ADD_PURCHASES:
        _add_purchases(ledger, operation)
    elif code == Op.TIER:
        _tier(ledger, fact, operation)
    elif code == Op.TIER_NUMBER:
        _tier_number(ledger, fact, operation)
    elif code == Op.ZERO_SEED:
        _zero_seed(ledger, fact, first)
    elif code == Op.SET_PURCHASES:
        ledger.purchases, ledger.purchases_at = operation[2], fact.at
    elif code == Op.LOTS_REPLACE:
        _replace_lots(ledger, operation)
    elif code == Op.SEEDED:
        ledger.seeded = True
    else:
        _absorb(book, ledger, fact, operation)


def _move_lots(code: int, held: Account, operation: Operation) -> None:
    schedule, points = held.schedule, held.points
    if code == Op.LOTS_ADD:
        lots.add(schedule, operation[2])
    elif code == Op.LOTS_TAKE:
        lots.take(schedule, points, operation[2], operation[3])
    elif code == Op.LOTS_EXPIRE:
        lots.expire(schedule, points, operation[2], operation[3])
    elif code == Op.LOTS_STATE:
        lots.state(schedule, operation[2], operation[3])
    elif code == Op.LOTS_MOVE:
        lots.move(schedule, operation[2])
    elif code == Op.LOTS_REVERSE:
        lots.reverse(schedule, points, operation[2], operation[3], operation[4])
    else:
        lots.give_back(schedule, operation[2], operation[3])


def apply_late(book: Book, fact: Fact) -> None:
    """Run what still counts of a fact that lies before everything in `book`.

    A change counts where its balance was not stated since, a statement where nothing newer is known. Lots are moved as well, but
    out of their order, so the schedule becomes approximate. A start from zero or a merge cannot come in so late.
    """
    ledger = ledger_of(book, fact.owner)
    for operation in fact.operations:
        code = operation[0]
        if code <= Op.LOTS_STATE:
            _run(book, ledger, fact, operation, {})
            account(ledger, operation[1]).schedule.guessed = True
        elif code in _LATE and fact.at > _stated_at(ledger, operation):
            _run(book, ledger, fact, operation, {})


_LATE: Final = frozenset({Op.ADD, Op.SET, Op.ADD_PURCHASES, Op.SET_PURCHASES, Op.TIER, Op.TIER_NUMBER})


def _stated_at(ledger: Ledger, operation: Operation) -> int:
    code = operation[0]
    if code in (Op.ADD_PURCHASES, Op.SET_PURCHASES):
        return ledger.purchases_at
    index = operation[2] if code in (Op.ADD, Op.SET) else _TIER
    return account(ledger, operation[1]).stated.get(index, ledger.zero_at)
