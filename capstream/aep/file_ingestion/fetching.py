"""Brings the files of runs into their spools, several runs side by side: a server that is slow holds up its own runs only.

Nothing here touches a store: what a fetch needs to know it is given, what it found out the collector writes down.
"""

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from capstream.aep.file_ingestion import schedule
from capstream.aep.flow_service.file_runs import File, FileRun
from capstream.aep.flow_service.file_store import Entry, FileStore
from capstream.aep.flow_service.preview import BadFile
from capstream.kernel.json import Json
from capstream.storage.durable import synced

LANES = 8
PER_ACCOUNT = 2
"""Runs of one account that fetch at a time: with four servers that hang there are still lanes for others to wait for."""


class Fetched(NamedTuple):
    """What a fetch came to: the files that lie in the spool, and how many were left out."""

    files: list[File]
    skipped: int


class StillChanging(Exception):
    """A file changed while it was fetched."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetch:
    """Everything one fetch needs. `go_on` is called with the bytes that came, and raises to end it."""

    run: FileRun
    earlier: list[FileRun]
    params: Mapping[str, Json]  #: of the source connection
    open_store: Callable[[], AbstractContextManager[FileStore]]
    spool: Path
    go_on: Callable[[int], None]

    def bring(self) -> Fetched:
        """Fetch what the run is to take. Errors: Unreachable, OSError and StillChanging may pass; BadFile does not."""
        self.spool.mkdir(parents=True, exist_ok=True)
        with self.open_store() as store:
            try:
                found = schedule.listed(store, dict(self.params))
            except OSError as error:
                raise BadFile(f"{self.params.get('path')}: {error.strerror or error}") from error
            files, skipped = schedule.taken(found, self.run, self.earlier)
            for file in files:
                self._bring(store, file)
        synced(self.spool)
        return Fetched(files, skipped)

    def _bring(self, store: FileStore, file: File) -> None:
        # Named after what it is, not after its place: an attempt that comes later may find more files before it.
        target = self.spool / spooled_name(file)
        part = target.with_suffix(".part")
        if not target.exists():
            store.fetch(Entry(file.path.rpartition("/")[2], file.path, False, file.size, file.modified_ms), part, self.go_on)
            now = store.about(file.path)
            if (now.size, now.modified_ms) != (file.size, file.modified_ms) or part.stat().st_size != file.size:
                part.unlink()
                raise StillChanging(f"{file.path} changed while it was fetched")
            synced(part)
            part.replace(target)


class Fetches:
    """The fetches under way, by the key of their run. Used from one thread."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(LANES, thread_name_prefix="files")
        self._under_way: dict[str, tuple[str, Future[Fetched]]] = {}

    def __contains__(self, key: str) -> bool:
        return key in self._under_way

    def __bool__(self) -> bool:
        return bool(self._under_way)

    def has_room(self, account: str) -> bool:
        """Return whether a run of an account may begin now."""
        of_account = sum(1 for each, _ in self._under_way.values() if each == account)
        return len(self._under_way) < LANES and of_account < PER_ACCOUNT

    def begin(self, account: str, fetch: Fetch) -> None:
        """Begin the fetch of a run."""
        self._under_way[fetch.run.key] = (account, self._pool.submit(fetch.bring))

    def finished(self) -> Iterator[tuple[str, "Future[Fetched]"]]:
        """Yield, and forget, the fetches that have ended."""
        for key, (_, result) in list(self._under_way.items()):
            if result.done():
                del self._under_way[key]
                yield key, result

    def wait(self) -> None:
        """Wait until every fetch under way has ended."""
        wait([result for _, result in self._under_way.values()])

    def close(self) -> None:
        """Wait for the threads to end; those that transfer see `go_on` raise."""
        self._pool.shutdown(wait=True, cancel_futures=True)


def spooled_name(file: File) -> str:
    """Return the name under which a file lies in a spool."""
    return sha256(f"{file.path}\0{file.size}\0{file.modified_ms}".encode()).hexdigest()[:32]
