"""Trims a log beside its appends: in slices of a few milliseconds, so that no append waits long for one."""

import asyncio
from collections.abc import Callable, Iterable

from capstream.storage.ports import Log, Needed

_SLICES = (4, 1000)  # segments looked at in one commit: so many that it takes a few milliseconds
_PAGES = (16, 256)  # given back in one commit, of 4 KB each
_PAGE_BYTES = 4096
_RESERVE_BYTES, _RESERVE_SHARE = 64 * 1024 * 1024, 10  # what stays free: so much, or a tenth of what is used if that is more
_LONG_S, _SHORT_S = 0.010, 0.004
_PAUSE_S = 0.02


def _none_needed(_first: int, _last: int) -> Iterable[int]:
    return ()


def used_bytes(log: Log) -> int:
    """Return the space that records take."""
    return log.size_bytes() - log.free_bytes()


async def trim(
    log: Log, through: int, stop: asyncio.Event, *, needed: Needed = _none_needed, is_enough: Callable[[], bool] = lambda: False
) -> int:
    """Forget records up to `through`, all but those `needed`, until `is_enough` or `stop`; return how many went.

    Errors: StorageUnavailable.
    """
    loop = asyncio.get_running_loop()
    trimmed, position, slice_ = 0, 0, _SLICES[0]
    while not stop.is_set() and not is_enough():
        started = loop.time()
        gone, reached = log.trim(through, needed, after=position, segments=slice_)
        slice_ = _next_slice(slice_, loop.time() - started, _SLICES)
        if reached == position:
            break
        trimmed, position = trimmed + gone, reached
        await asyncio.sleep(_PAUSE_S)
    return trimmed


async def give_back(log: Log, stop: asyncio.Event) -> int:
    """Give the disk what is free beyond a reserve, which spares the next hours from growing the file again.

    Errors: StorageUnavailable.
    """
    loop = asyncio.get_running_loop()
    given, pages = 0, _PAGES[0]
    while not stop.is_set():
        spare = log.free_bytes() - max(_RESERVE_BYTES, used_bytes(log) // _RESERVE_SHARE)
        if spare <= 0:
            break
        started = loop.time()
        gone = log.give_back(min(pages, spare // _PAGE_BYTES + 1))
        pages = _next_slice(pages, loop.time() - started, _PAGES)
        if not gone:
            break
        given += gone
        await asyncio.sleep(_PAUSE_S)
    return given


def _next_slice(size: int, took_s: float, bounds: tuple[int, int]) -> int:
    """Return how much the next slice takes on."""
    if took_s > _LONG_S:
        return max(size // 2, bounds[0])
    return min(size * 2, bounds[1]) if took_s < _SHORT_S else size
