"""What exploring and file flows ask of a place that holds files."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple, Protocol

from capstream.kernel.json import Json

HOST_KEY = "hostKey"
"""The member of `auth.params` that holds the key of the server: type and Base64, as in known_hosts."""


class Entry(NamedTuple):
    """A file or folder."""

    name: str
    path: str
    is_folder: bool
    size: int
    modified_ms: int


class FileStore(Protocol):
    """An open session. What it cannot do it says as OSError."""

    host_key: str  #: of the server, empty where there is none

    def list(self, path: str) -> list[Entry]:
        """Return what lies in a folder: folders first, then by name."""
        ...

    def read(self, path: str, limit: int) -> bytes:
        """Return the first `limit` bytes of a file."""
        ...

    def about(self, path: str) -> Entry:
        """Return what a path is."""
        ...

    def fetch(self, entry: Entry, into: Path, progress: Callable[[int], None]) -> None:
        """Add to `into` what it lacks of a file; `progress` is told the bytes so far and may raise to end it."""
        ...


class Unreachable(Exception):
    """No session could be opened, or it broke; the message says why. It holds no secret."""


class OpenFiles(Protocol):
    """Opens a session with the parameters of a connection. Errors: Unreachable."""

    def __call__(self, params: Mapping[str, Json], *, learns: bool = False) -> AbstractContextManager[FileStore]:
        """`learns`: take the host key the server shows when `params` name none."""
        ...
