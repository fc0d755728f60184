"""Webhooks that came after their member was taken out: noted in `courier.db` until the journal is rid of them (ADR 0015)."""

from collections.abc import Collection, Iterable

from capstream.storage.ports import Reading, Transaction

_LATE = "late"


def note_late(transaction: Transaction, offsets: Iterable[int]) -> None:
    """Note journal entries whose bodies have to go."""
    transaction.put(_LATE, [(_key(offset), b"") for offset in offsets])


def forget_late(transaction: Transaction, offsets: Iterable[int]) -> None:
    """Forget those that are gone."""
    transaction.delete(_LATE, [_key(offset) for offset in offsets])


def read_late(store: Reading, limit: int) -> list[int]:
    """Return the offsets of the first entries that have to go."""
    return [int(key) for key, _ in store.scan(_LATE, limit=limit)]


def late_among(store: Reading, offsets: Collection[int]) -> set[int]:
    """Return which of some entries have to go."""
    return {int(key) for key in store.get_many(_LATE, [_key(offset) for offset in offsets])}


def _key(offset: int) -> str:
    return f"{offset:016d}"
