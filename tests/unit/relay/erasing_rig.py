"""The processes that take a member out, as the tests let them take turns."""

import asyncio
from collections.abc import Callable
from typing import Any

from relay_rig import Rig

from capstream.layout import Layout
from capstream.relay.audit import Audit
from capstream.relay.drift import DriftBook
from capstream.relay.eraser import Eraser, Pace
from capstream.relay.event_index import FACETS, follow
from capstream.relay.journal_search import JournalSearch
from capstream.relay.late_webhooks import read_late
from capstream.relay.privacy_desk import PrivacyDesk
from capstream.relay.sweep import Asked, read_sweep
from capstream.relay.vault import Vault
from capstream.storage.ports import StorageUnavailable
from capstream.storage.sqlite import SqliteDocuments
from capstream.storage.sqlite_index import SqliteIndex

KEY = b"qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqo="


class Erasing:
    """Gateway and clerk beside a rig, whose drain is the courier. Objects are made anew for each turn: nothing is remembered."""

    def __init__(self, rig: Rig, layout: Layout, *, grace_days: float = 7, every_hours: float = 6) -> None:
        self.rig = rig
        self.layout = layout
        self.pace = Pace(grace_days=grace_days, every_hours=every_hours)
        self.office, self.finds, self.notices = (
            SqliteDocuments(path) for path in (layout.relay_admin, layout.erasing, layout.drift)
        )
        self.index = SqliteIndex(layout.event_index, FACETS)

    def eraser(self) -> Eraser:
        return Eraser(
            self.rig.journal,
            self.office,
            courier=self.rig.documents,
            finds=self.finds,
            clock=self.rig.clock,
            pace=lambda: self.pace,
            digest=Vault(KEY).digest,
            audit=Audit(self.office, self.rig.clock),
        )

    def desk(self) -> PrivacyDesk:
        return PrivacyDesk(self.rig.documents, self.office, self.eraser(), self.rig.clock, lambda: self.pace.grace_days)

    def ask(self, org_id: str, customer_id: int) -> None:
        self.eraser().ask(Asked(org_id=org_id, customer_id=str(customer_id), reason="request 7", who="somebody"))

    def clerk(self) -> bool:
        """Let the clerk do what it has to."""
        search = JournalSearch(self.rig.journal, self.index, self.office, self.finds)
        did = False
        while follow(self.rig.journal, self.index, DriftBook(self.notices)) or search.step():
            did = True
        return did

    def gateway(self) -> bool:
        """Let the gateway take one step."""
        eraser = self.eraser()
        turns = [asyncio.run(eraser.turn(asyncio.Event())) for _ in range(2)]  # the WAL is copied by the first
        return any(turns)

    def run(self, courier: Callable[[], Any] | None = None) -> None:
        """Let all take turns until nobody has anything to do."""
        idle = 0
        while idle < 3:
            did = self.clerk()
            try:
                did |= self.gateway()
            except StorageUnavailable:
                did = True
            (courier or self.rig.drain)()
            idle = 0 if did or self._is_wal_busy() else idle + 1

    def _is_wal_busy(self) -> bool:
        """Return whether the gateway waits for the thread that copies the journal's WAL."""
        sweep = read_sweep(self.office)
        takes_out = sweep.step in ("redact", "redact_rest") if sweep else read_late(self.rig.documents, 1)
        return bool(takes_out) and not self.rig.journal.clear_wal()

    def on_disk(self) -> bytes:
        """Every byte of every file of the relay."""
        return b"".join(path.read_bytes() for path in self.layout.journal.parent.iterdir())

    def close(self) -> None:
        for store in (self.office, self.finds, self.notices, self.index):
            store.close()
