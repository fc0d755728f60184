"""The expiry schedule of one programme: lots of points with a day, moved by what events say about them.

Every function changes the schedule it is given. `held` is the balance before the step (None when unknown): a step that takes
points while the lots do not make up the balance has to guess, and says so until Capillary's own schedule replaces this one.
Units: points in thousandths; days as `YYYY-MM-DD`. Source: capillary.md 7.5 (10).
"""

from collections.abc import Callable, Sequence
from typing import Final

from capstream.capillary.records import Lot, Schedule, Taken
from capstream.kernel.json import Json

_REMEMBERED_REDEMPTIONS: Final = 20


def order(lot: Lot) -> tuple[str, str, str]:
    """Return the sort key of lots: day, then bill and promotion, so that equal histories give equal schedules."""
    return (lot.day, lot.bill or "", lot.promotion or "")


def add(schedule: Schedule, entries: Sequence[Sequence[Json]]) -> None:
    """Add lots; a lot of the same day, bill and promotion grows."""
    for day, points, bill, promotion in entries:
        _put(schedule, day, points, bill, promotion)


def move(schedule: Schedule, moves: Sequence[Sequence[Json]]) -> None:
    """Move points from one day to another: as many as are held there, of the stated promotion (or of none) first."""
    for points, source, target, promotion in moves:
        chosen = [lot for lot in schedule.lots if lot.day == source]
        chosen = [lot for lot in chosen if lot.promotion == promotion] + [lot for lot in chosen if lot.promotion != promotion]
        moved = _drain(schedule, chosen, points)
        if sum(lot.points for lot in moved) < points:
            schedule.guessed = True
        if target is not None:
            for lot in moved:
                _put(schedule, target, lot.points, lot.bill, lot.promotion)


def take(schedule: Schedule, held: int | None, points: int, redemption: str | None) -> None:
    """Take points from the earliest day first and remember from where."""
    _doubt(schedule, held)
    moved = _drain(schedule, schedule.lots, points)
    if sum(lot.points for lot in moved) < points:
        schedule.guessed = True
    if redemption is not None and moved:
        schedule.taken.append(Taken(redemption, moved))
        del schedule.taken[:-_REMEMBERED_REDEMPTIONS]


def reverse(schedule: Schedule, held: int | None, bill: str | None, regular: int, promotional: Sequence[Sequence[Json]]) -> None:
    """Take back what a bill earned: its own lots first, promotional points from their promotion, the rest from the earliest."""
    rest = regular
    if bill is not None:
        rest -= _drained(schedule, rest, lambda lot: lot.bill == bill and lot.promotion is None)
    for promotion, points in promotional:
        earned = [lot for lot in schedule.lots if lot.promotion == promotion]
        own = [lot for lot in earned if lot.bill == bill] + [lot for lot in earned if lot.bill != bill]
        rest += points - sum(lot.points for lot in _drain(schedule, own, points))
    if rest > 0:
        _doubt(schedule, held, known=regular + sum(points for _, points in promotional) - rest)
        if _drained(schedule, rest, lambda _lot: True) < rest:
            schedule.guessed = True


def give_back(schedule: Schedule, redemption: str | None, points: int) -> None:
    """Return points to the lots a redemption took, last taken first."""
    rest = points
    for taken in schedule.taken:
        if taken.redemption != redemption:
            continue
        while rest > 0 and taken.lots:
            last = taken.lots[-1]
            back = min(rest, last.points)
            _put(schedule, last.day, back, last.bill, last.promotion)
            last.points -= back
            rest -= back
            if last.points == 0:
                taken.lots.pop()
    schedule.taken = [taken for taken in schedule.taken if taken.lots]
    if rest > 0:
        schedule.guessed = True


def expire(schedule: Schedule, _held: int | None, points: int, day: str) -> None:
    """Empty the entries dated before `day`, earliest first, up to the amount."""
    due = [lot for lot in schedule.lots if lot.day < day]
    if sum(lot.points for lot in due) != points:
        schedule.guessed = True
    _drain(schedule, due, points)


def state(schedule: Schedule, day: str, points: int) -> None:
    """Set the entry of one day to a stated amount."""
    due = [lot for lot in schedule.lots if lot.day == day]
    excess = sum(lot.points for lot in due) - points
    if excess > 0:
        _drain(schedule, due, excess)
    elif excess < 0:
        _put(schedule, day, -excess, None, None)


def append(schedule: Schedule, other: Schedule) -> None:
    """Add another member's entries."""
    for lot in other.lots:
        _put(schedule, lot.day, lot.points, lot.bill, lot.promotion)
    schedule.taken = (schedule.taken + other.taken)[-_REMEMBERED_REDEMPTIONS:]
    schedule.guessed = schedule.guessed or other.guessed


def _put(schedule: Schedule, day: str, points: int, bill: str | None, promotion: str | None) -> None:
    if points <= 0:
        return
    held = schedule.lots
    index = len(held)
    while index > 0 and held[index - 1].day > day:  # from the end: new lots mostly expire last
        index -= 1
    before = index
    while before > 0:
        before -= 1
        lot = held[before]
        if lot.day != day or (lot.bill or "") < (bill or ""):
            break
        if lot.bill == bill and lot.promotion == promotion:
            lot.points += points
            return
    new = Lot(day, points, bill, promotion)
    if index > 0 and held[index - 1].day == day:
        place = order(new)
        while index > 0 and order(held[index - 1]) > place:
            index -= 1
    held.insert(index, new)


def _doubt(schedule: Schedule, held: int | None, known: int = 0) -> None:
    if held is None or sum(lot.points for lot in schedule.lots) + known != held:
        schedule.guessed = True


def _drained(schedule: Schedule, points: int, wanted: Callable[[Lot], bool]) -> int:
    return sum(lot.points for lot in _drain(schedule, [lot for lot in schedule.lots if wanted(lot)], points))


def _drain(schedule: Schedule, chosen: Sequence[Lot], points: int) -> list[Lot]:
    """Return what was taken, at most `points`, from the chosen lots in their order; emptied lots leave the schedule."""
    moved: list[Lot] = []
    for lot in chosen:
        if points <= 0:
            break
        part = min(points, lot.points)
        moved.append(Lot(lot.day, part, lot.bill, lot.promotion))
        lot.points -= part
        points -= part
    if moved:
        schedule.lots = [lot for lot in schedule.lots if lot.points > 0]
    return moved
