"""Deletes what the gateway wrote for a sandbox that is reset or deleted, and orders the pipeline to delete the rest."""

from collections import deque
from collections.abc import Callable, Sequence

from capstream.aep.catalog.lake import lake_table
from capstream.aep.catalog.model import COLLECTIONS
from capstream.aep.flow_service import erasure as flow_erasure
from capstream.aep.sandbox import erasure
from capstream.aep.sandbox.erasure import Order
from capstream.aep.sandbox.model import Sandboxes, SandboxRecord
from capstream.kernel import log
from capstream.storage.erasing import erase
from capstream.storage.ports import Erasable


class Emptying:
    """Empties closed sandboxes. Each step can be done twice, so one that was cut off is done again at the next start."""

    def __init__(self, control: Erasable, others: Sequence[Erasable], forget: Callable[[str], None] = lambda _: None) -> None:
        """`others` are the gateway's other stores; `forget` deletes the files of a sandbox."""
        self._control = control
        self._others = others
        self._forget = forget

    def __call__(self, sandbox: SandboxRecord) -> None:
        """Delete what the gateway wrote; the datasets last, together with the order, which names their tables."""
        prefix = f"{sandbox.id}/"
        flow_erasure.erase(self._control, sandbox.id)  # first: from here on nothing reaches the pipeline's tables
        self._forget(sandbox.id)
        for store in self._others:
            deque(erase(store, prefix), maxlen=0)
        deque(erase(self._control, prefix, keep=COLLECTIONS), maxlen=0)
        with self._control.transaction() as change:
            keys = {name: [key for key, _ in change.scan(name, prefix=prefix)] for name in COLLECTIONS}
            tables = {lake_table(sandbox.name, key.removeprefix(prefix)) for found in keys.values() for key in found}
            for name, found in keys.items():
                change.delete(name, found)
            erasure.give(change, Order(sandbox.erasure, sandbox.id, tuple(sorted(tables))))
        log.info("sandbox emptied in the control plane", action="sandbox_closed", sandbox=sandbox.id, tables=len(tables))

    def resume(self, sandboxes: Sandboxes) -> None:
        """Do again what a crash cut off."""
        for sandbox in sandboxes.ordered():
            if not erasure.is_given(self._control, sandbox.erasure):
                self(sandbox)
