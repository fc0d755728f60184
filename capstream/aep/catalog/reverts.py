"""Taking back a batch of the pipeline: ordered by the gateway, or by the worker for a run that failed; carried out by the worker.

Source: catalog.md 6.1 (DELETE), batch-ingestion.md A5 (4).
"""

from capstream.aep.catalog.batches import BATCHES, BatchRecord, BatchStatus, Latest, read_batch, store
from capstream.storage.ports import Documents, Reading, Transaction

ORDERS = "batch_reverts"  #: control plane: {sandbox}/{batch} -> empty
OWN = "batch_reverts_own"  #: pipeline: {sandbox}/{batch} -> empty, of runs that failed
DONE = "batch_reverts_done"  #: pipeline: the same -> empty


def order(control: Documents, sandbox_id: str, batch_id: str) -> None:
    """Store an order durably."""
    with control.transaction() as change:
        change.put(ORDERS, [(f"{sandbox_id}/{batch_id}", b"")])


def order_own(change: Transaction, sandbox_id: str, batch_id: str) -> None:
    """Store an order for the batch of a run that failed: it stays `failed`, its rows go."""
    change.put(OWN, [(f"{sandbox_id}/{batch_id}", b"")])


def is_own(state: Reading, sandbox_id: str, batch_id: str) -> bool:
    """Return whether the batch is that of a run that failed."""
    return state.get(OWN, f"{sandbox_id}/{batch_id}") is not None


def ordered(control: Reading, sandbox_id: str) -> frozenset[str]:
    """Return the batches of a sandbox that are to be taken back, or were."""
    prefix = f"{sandbox_id}/"
    return frozenset(key.removeprefix(prefix) for key, _ in control.scan(ORDERS, prefix=prefix))


def pending(control: Reading, state: Reading) -> list[tuple[str, str]]:
    """Return (sandbox, batch) of the orders that are not carried out."""
    orders = [key for reading, collection in ((control, ORDERS), (state, OWN)) for key, _ in reading.scan(collection)]
    done = state.get_many(DONE, orders) if orders else {}
    found = (key.partition("/") for key in orders if key not in done)
    return [(sandbox_id, batch_id) for sandbox_id, _, batch_id in found]


def record_of(state: Reading, sandbox_id: str, batch_id: str) -> BatchRecord | None:
    """Return a batch of the pipeline as it is stored, or None."""
    body = state.get(BATCHES, f"{sandbox_id}/{batch_id}")
    return read_batch(body) if body else None


def finish(change: Transaction, batch: BatchRecord | None, place: tuple[str, str], now_ms: int) -> None:
    """Mark an order as carried out and its batch as inactive."""
    sandbox_id, batch_id = place
    change.put(DONE, [(f"{sandbox_id}/{batch_id}", b"")])
    if batch is None:
        return
    if is_own(change, sandbox_id, batch_id):
        store(change, batch, taken=Latest(rows=batch.records, size=batch.size))
        change.delete(OWN, [f"{sandbox_id}/{batch_id}"])
        return
    taken = Latest(rows=batch.records, size=batch.size) if batch.status == BatchStatus.SUCCESS else Latest()
    batch.status, batch.updated_ms = BatchStatus.INACTIVE, now_ms
    batch.revision += 1
    store(change, batch, taken=taken)
