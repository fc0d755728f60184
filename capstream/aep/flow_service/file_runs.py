"""Runs of file dataflows as they are ordered: the gateway fetches the files and hands their rows on, the pipeline keeps the run.

An order is kept beside the flow. Its rows go the way of streamed messages, marked with the run instead of an inlet; when the
pipeline has passed the last of them the run is closed. Source: batch-ingestion.md B4-B6, flow-service.md 3.5, 8.1.
"""

from enum import StrEnum

import msgspec

from capstream.storage.ports import Reading, Transaction

ORDERS = "file_runs"  #: {sandbox}/{flow}/{started:013} -> FileRun
OPEN = "open_file_runs"  #: the same -> empty, until the pipeline has closed the run

_MARK = "files/"


class Phase(StrEnum):
    """How far the gateway is with an order."""

    WANTED = "wanted"  #: files are to be fetched
    FETCHED = "fetched"  #: they lie in the spool, the list of them is final
    HANDED_ON = "handedOn"  #: all rows are in the log, up to offset `end`
    FAILED = "failed"  #: the files could not be fetched; `problems` say why


class File(msgspec.Struct, frozen=True):
    """A file of a run."""

    path: str
    size: int
    modified_ms: int


class Problem(msgspec.Struct, frozen=True):
    """Why a run failed, or a file of it. `code` is one of monitoring-alerts.md 3."""

    code: str
    message: str


class FileRun(msgspec.Struct, kw_only=True):
    """One run of a file flow."""

    sandbox_id: str
    flow_id: str
    started_ms: int  #: when it was ordered; with the flow its key
    user_id: str = "system"
    client_id: str = "system"
    slot_s: int = 0  #: the instant of the schedule it belongs to, 0 for one that a caller ordered
    window_start_s: int = 0  #: files changed before it are left out
    only: list[File] = []  #: take these files and no others: the run is another's repetition
    phase: Phase = Phase.WANTED
    due_ms: int = 0  #: not to be tried before
    attempts: int = 0
    files: list[File] = []
    skipped: int = 0  #: files that were left out: empty, or they changed while they were fetched
    fetched_ms: int = 0
    end: int = 0  #: offset of the last row in the inlet log
    problems: list[Problem] = []

    @property
    def key(self) -> str:
        return f"{self.sandbox_id}/{self.flow_id}/{self.started_ms:013}"

    @property
    def size(self) -> int:
        return sum(file.size for file in self.files)


_read = msgspec.json.Decoder(FileRun).decode
_pack = msgspec.json.Encoder().encode


def mark_of(started_ms: int) -> str:
    """Return what stands in place of an inlet's id in the messages of a run's rows."""
    return f"{_MARK}{started_ms:013}"


def started_of(mark: str) -> int:
    """Return when the run began whose rows carry `mark`, 0 for messages of an inlet."""
    return int(mark.removeprefix(_MARK)) if mark.startswith(_MARK) else 0


def save(change: Transaction, run: FileRun) -> None:
    """Store an order within `change`."""
    change.put(ORDERS, [(run.key, _pack(run))])
    change.put(OPEN, [(run.key, b"")])


def get(reading: Reading, key: str) -> FileRun | None:
    """Return the order under {sandbox}/{flow}/{started}, or None."""
    body = reading.get(ORDERS, key)
    return None if body is None else _read(body)


def of_flow(reading: Reading, sandbox_id: str, flow_id: str) -> list[FileRun]:
    """Return the orders of a flow, oldest first."""
    return [_read(body) for _, body in reading.scan(ORDERS, prefix=f"{sandbox_id}/{flow_id}/")]


def unfinished(reading: Reading) -> list[FileRun]:
    """Return the orders whose runs are not closed, by sandbox and flow, oldest first."""
    keys = [key for key, _ in reading.scan(OPEN)]
    found = reading.get_many(ORDERS, keys) if keys else {}
    return [_read(found[key]) for key in keys if key in found]


def finish(change: Transaction, key: str) -> None:
    """Note that the run of an order is closed."""
    change.delete(OPEN, [key])


def forget(change: Transaction, sandbox_id: str, flow_id: str) -> None:
    """Forget the orders of a flow within `change`."""
    for collection in (ORDERS, OPEN):
        change.delete(collection, [key for key, _ in change.scan(collection, prefix=f"{sandbox_id}/{flow_id}/")])


def order(change: Transaction, run: FileRun) -> FileRun:
    """Store a new order under an instant that no other run of the flow has, and return it."""
    while change.get(ORDERS, run.key) is not None:
        run.started_ms += 1
    save(change, run)
    return run
