"""Trims a log, and makes any store smaller, beside its writes: in slices of a few milliseconds, so that no write waits long."""

import asyncio
import contextlib
from collections.abc import Callable, Iterable

from capstream.kernel import log as told
from capstream.storage.ports import Log, Needed, Shreddable, Shrinking, StorageUnavailable

_SLICES = (4, 1000)  # segments looked at in one commit: so many that it takes a few milliseconds
_PAGES = (16, 256)  # given back in one commit, of 4 KB each
_PAGE_BYTES = 4096
_RESERVE_BYTES, _RESERVE_SHARE = 64 * 1024 * 1024, 10  # what stays free: so much, or a tenth of what is used if that is more
_LONG_S, _SHORT_S = 0.010, 0.004
_PAUSE_S = 0.02
_EVERY_S = 300.0


def _none_needed(_first: int, _last: int) -> Iterable[int]:
    return ()


def used_bytes(store: Shrinking) -> int:
    """Return the space that records take."""
    return store.size_bytes() - store.free_bytes()


def spare_pages(store: Shrinking, *, all_of_them: bool = False) -> int:
    """Return how many free pages are more than the reserve, which spares the next hours from growing the file again."""
    reserve = 0 if all_of_them else max(_RESERVE_BYTES, used_bytes(store) // _RESERVE_SHARE)
    return max(store.free_bytes() - reserve, 0) // _PAGE_BYTES


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
        slice_ = next_slice(slice_, loop.time() - started, _SLICES)
        if reached == position:
            break
        trimmed, position = trimmed + gone, reached
        await asyncio.sleep(_PAUSE_S)
    return trimmed


async def give_back(store: Shrinking, stop: asyncio.Event, *, all_of_them: bool = False) -> int:
    """Give the disk what is free beyond the reserve, or `all_of_them`; return the bytes. Errors: StorageUnavailable."""
    loop = asyncio.get_running_loop()
    given, pages = 0, _PAGES[0]
    while not stop.is_set() and (spare := spare_pages(store, all_of_them=all_of_them)):
        started = loop.time()
        gone = store.give_back(min(pages, spare))
        pages = next_slice(pages, loop.time() - started, _PAGES)
        if not gone:
            break
        given += gone
        await asyncio.sleep(_PAUSE_S)
    return given


async def keep_small(store: Shrinking, stop: asyncio.Event, *, name: str, every_s: float = _EVERY_S) -> None:
    """Give back what is free beyond the reserve, every few minutes until `stop` is set."""
    while not stop.is_set():
        try:
            if given := await give_back(store, stop):
                told.info("space given back to the disk", action="given_back", store=name, given_back=given)
        except StorageUnavailable as error:
            told.error("space cannot be given back", action="give_back_failed", store=name, reason=str(error))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), every_s)


async def leave_nothing(store: Shreddable, stop: asyncio.Event, wanted: asyncio.Event, done: Callable[[], None]) -> None:
    """Whenever `wanted` is set, give all free space back and empty the WAL, so that nothing that went is left in either.

    `done` is called after it.
    """
    while not stop.is_set():
        waits = [asyncio.create_task(event.wait()) for event in (stop, wanted)]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for each in waits:
            each.cancel()
        wanted.clear()
        while not stop.is_set():
            try:
                await give_back(store, stop, all_of_them=True)
                if store.clear_wal():
                    done()
                    break
            except StorageUnavailable as error:
                told.error("space cannot be given back", action="give_back_failed", reason=str(error))
            await asyncio.sleep(1)


def next_slice(size: int, took_s: float, bounds: tuple[int, int]) -> int:
    """Return how much the next slice takes on."""
    if took_s > _LONG_S:
        return max(size // 2, bounds[0])
    return min(size * 2, bounds[1]) if took_s < _SHORT_S else size
