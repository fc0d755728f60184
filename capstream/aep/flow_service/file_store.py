"""What exploring asks of a place that holds files."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol

from capstream.kernel.json import Json


class Entry(NamedTuple):
    """A file or folder."""

    name: str
    path: str
    is_folder: bool
    size: int
    modified_ms: int


class FileStore(Protocol):
    """An open session. What it cannot do it says as OSError."""

    def list(self, path: str) -> list[Entry]:
        """Return what lies in a folder: folders first, then by name."""
        ...

    def read(self, path: str, limit: int) -> bytes:
        """Return the first `limit` bytes of a file."""
        ...


class Unreachable(Exception):
    """No session could be opened, or it broke; the message says why. It holds no secret."""


OpenFiles = Callable[[Mapping[str, Json]], AbstractContextManager[FileStore]]
"""Opens a session with the parameters of a connection. Errors: Unreachable."""
