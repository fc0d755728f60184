"""Group commit for an asyncio process: what arrives within one turn of the event loop shares one commit.

The commit runs on the loop itself. A worker thread was measured and is slower: sqlite3 gives up and retakes the GIL
in each step, and on a busy loop every retake waits (docs/adr/0003).
"""

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class GroupCommit(Generic[T]):
    """Collects items and hands them to `commit` together, once per turn of the event loop.

    `commit` stores the items durably and tells each item's owner what became of it; it must not raise.
    """

    def __init__(self, commit: Callable[[list[T]], None]) -> None:
        self._commit = commit
        self._waiting: list[T] = []

    def add(self, item: T) -> None:
        """Queue `item` for the commit at the end of this turn."""
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._flush)
        self._waiting.append(item)

    def __len__(self) -> int:
        return len(self._waiting)

    def _flush(self) -> None:
        items, self._waiting = self._waiting, []
        self._commit(items)
