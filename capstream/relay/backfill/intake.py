"""Where exports come from and where they go when they were read: a folder, or one on an SFTP server fetched into a folder.

Source: capillary.md 8.3.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from capstream.kernel.errors import InputError
from capstream.relay.backfill.files import Export, exports_in
from capstream.relay.backfill.pgp import Keys
from capstream.relay.backfill.sftp import Place, Progress, fetch, free_name, put_away

PROCESSED, FAILED = "processed", "failed"


class Steady:
    """Tells files that are still being written: one is complete when two looks find the same size."""

    def __init__(self) -> None:
        self._sizes: dict[str, int] = {}

    def look(self, name: str, size: int) -> bool:
        """Return whether the last look found this size too."""
        before = self._sizes.get(name)
        self._sizes[name] = size
        return before == size


@dataclass(frozen=True, slots=True, kw_only=True)
class Intake:
    """`folder` holds the files, fetched from `place` when there is one. `is_moved`: what was read leaves it."""

    folder: Path
    place: Place | None = None
    keys: Keys | None = None
    is_moved: bool = False
    steady: Steady | None = None  #: None: every file counts as complete
    failures: dict[Path, InputError] = field(default_factory=dict)

    def ready(self, progress: Progress = lambda _name, _size, _done: None) -> tuple[list[Export], list[str]]:
        """Return the files to import and the names of those of another template.

        Errors: CapstreamError when the server is away, InputError for a file that cannot be opened, unless files are moved.
        """
        look = self.steady.look if self.steady else lambda _name, _size: True
        failed = self.failures.__setitem__ if self.is_moved else None
        if self.place is None:
            return exports_in(self.folder, keys=self.keys, is_steady=look, failed=failed)
        _, left = fetch(self.place, self.folder, progress, look)
        found, others = exports_in(self.folder, keys=self.keys, failed=failed)
        return found, others + left

    def fail(self, export: Export, error: InputError) -> None:
        """Remember that a file could not be read."""
        self.failures[export.origin] = error

    def settle(self, exports: Collection[Export]) -> dict[str, str]:
        """Move what was read, and what could not be; return why each of the latter could not. Safe to do again after a crash."""
        told = {origin.name: str(error) for origin, error in self.failures.items()}
        if self.is_moved:
            origins = {export.origin for export in exports} | self.failures.keys()
            self._move({origin: FAILED if origin in self.failures else PROCESSED for origin in origins})
        for export in exports:
            if export.path != export.origin:
                export.path.unlink(missing_ok=True)
        self.failures.clear()
        return told

    def _move(self, folders: dict[Path, str]) -> None:
        if self.place is not None:
            put_away(self.place, {origin.name: below for origin, below in folders.items()})
            for origin in folders:
                origin.unlink(missing_ok=True)
            return
        for origin, below in folders.items():
            if not origin.exists():  # moved by a run that did not come to its end
                continue
            target = origin.parent / below
            target.mkdir(exist_ok=True)
            origin.replace(target / free_name(origin.name, {each.name for each in target.iterdir()}))
