"""Takes a member out of a stopped server's stores, by the same steps as a running one does (`relay/sweep.py`)."""

import asyncio

from capstream import relay_side
from capstream.config import Live
from capstream.kernel.clock import Clock
from capstream.kernel.json import Json
from capstream.layout import Layout
from capstream.relay.book_erasure import BookErasure
from capstream.relay.drift import DriftBook
from capstream.relay.event_index import FACETS, follow
from capstream.relay.journal_search import JournalSearch
from capstream.relay.ledger import note_clean, read_cursor
from capstream.relay.privacy_desk import PrivacyDesk
from capstream.relay.sweep import Asked, Sweep, read_sweep
from capstream.storage.sqlite import SqliteDocuments, SqliteLog
from capstream.storage.sqlite_index import SqliteIndex

_PAGES = 10_000
_TRIES, _PAUSE_S = 200, 0.05  # what is not the courier's to do is only a checkpoint underway


async def erase_stopped(live: Live, layout: Layout, asked: Asked) -> Json:
    """Take a member out, and who else is due; return how far its request is then.

    What waits has to be delivered first: the request stays, and the server goes on with it. Errors: StorageUnavailable.
    """
    for path in (layout.erasing, layout.drift, layout.relay_admin):
        SqliteDocuments(path).close()  # of an older capstream they may be missing
    journal, courier = SqliteLog(layout.journal), SqliteDocuments(layout.courier, shrinks=True)
    office, finds, notices = (SqliteDocuments(path) for path in (layout.relay_admin, layout.erasing, layout.drift))
    index, clock = SqliteIndex(layout.event_index, FACETS), live.now.clock()
    eraser = relay_side.make_eraser(live, layout, journal, office=office, courier=courier)
    search, stop, tries = JournalSearch(journal, index, office, finds), asyncio.Event(), 0
    try:
        eraser.ask(asked)
        while tries < _TRIES:
            while follow(journal, index, DriftBook(notices)) or search.step():
                pass
            is_on = await eraser.turn(stop) or _clear_books(courier, read_sweep(office), clock)
            sweep = read_sweep(office)
            if not is_on and (sweep is None or read_cursor(courier) < sweep.through):
                break
            tries = 0 if is_on else tries + 1
            await asyncio.sleep(0 if is_on else _PAUSE_S)
        desk = PrivacyDesk(courier, office, eraser, clock, lambda: live.now.privacy.grace_days)
        return desk.found(asked.org_id, asked.customer_id)
    finally:
        for store in (journal, courier, office, finds, notices, index):
            store.close()


def _clear_books(courier: SqliteDocuments, sweep: Sweep | None, clock: Clock) -> bool:
    """Do what the courier would; return whether it was due. Nothing is left for the courier to do then."""
    if sweep is None or sweep.step != "books" or read_cursor(courier) != sweep.command - 1:
        return False
    members = [(each.org_id, each.customer_id) for each in sweep.members]
    BookErasure(courier, members, sweep.id).erase(sweep.command, clock(), moves_cursor=True)
    while courier.give_back(_PAGES):
        pass
    if courier.clear_wal():
        note_clean(courier)
    return True
