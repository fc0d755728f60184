"""Deleting everything under a key prefix, whatever the collection: nothing that is added later can be forgotten."""

from collections.abc import Collection, Iterator

from capstream.storage.ports import Erasable

_AT_ONCE = 5000


def erase(store: Erasable, prefix: str, *, keep: Collection[str] = ()) -> Iterator[int]:
    """Delete every document whose key starts with `prefix`, but not in the collections `keep`.

    Each piece is a transaction of its own; yields how many documents went in each.
    """
    for collection in (name for name in store.collections() if name not in keep):
        while keys := [key for key, _ in store.scan(collection, prefix=prefix, limit=_AT_ONCE)]:
            with store.transaction() as change:
                gone = change.delete(collection, keys)
            yield gone
