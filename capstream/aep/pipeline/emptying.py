"""Carries out orders to delete what a sandbox holds in the data plane: tables, profiles, identities, batches, runs, counts."""

from collections.abc import Callable, Iterator

import msgspec

from capstream.aep.catalog.batches import WINDOWS, Window
from capstream.aep.flow_service.runs import OPEN_RUNS
from capstream.aep.sandbox import erasure
from capstream.aep.sandbox.erasure import Order
from capstream.kernel import log
from capstream.storage.erasing import erase
from capstream.storage.ports import Documents, Erasable

_read_window = msgspec.msgpack.Decoder(Window).decode


class Emptying:
    """Empties sandboxes, a piece at a time: everything else goes on meanwhile."""

    def __init__(self, control: Documents, state: Erasable, drop: Callable[[str], None]) -> None:
        """`drop` deletes a table of the lake."""
        self._control = control
        self._state = state
        self._drop = drop
        self._orders: list[str] = []
        self._work: Iterator[None] = iter(())

    def look(self) -> None:
        """See which orders wait; to be called when the control plane changed. A piece done twice does no harm."""
        orders = erasure.pending(self._control, self._state)
        if [order.id for order in orders] == self._orders:
            return  # under way
        self._orders = [order.id for order in orders]
        self._work = (None for order in orders for _ in self._carried_out(order))

    def step(self) -> bool:
        """Do a piece of work; return whether there may be more."""
        return next(self._work, self) is not self

    def _carried_out(self, order: Order) -> Iterator[None]:
        self._close(order.sandbox_id)
        yield
        for table in order.tables:
            self._drop(table)
            yield
        for _ in erase(self._state, f"{order.sandbox_id}/"):
            yield
        with self._state.transaction() as change:
            erasure.mark_done(change, order)
        log.info("sandbox emptied", action="sandbox_emptied", sandbox=order.sandbox_id, order=order.id)
        yield

    def _close(self, sandbox_id: str) -> None:
        """Forget what is open: nothing may be counted into batches and runs that are about to go."""
        with self._state.transaction() as change:
            windows = [key for key, body in change.scan(WINDOWS) if _read_window(body).sandbox_id == sandbox_id]
            change.delete(WINDOWS, windows)
            change.delete(OPEN_RUNS, [key for key, _ in change.scan(OPEN_RUNS) if key.split("/")[1] == sandbox_id])
