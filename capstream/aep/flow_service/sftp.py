"""SFTP servers as file stores: one session for each request. Source: batch-ingestion.md B2, B3.

The host key is a member of the connection's parameters: given by its owner, or learnt when the connection is made
(ASSUMPTION: the published parameters have no member for it).
"""

import stat
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from capstream.aep.flow_service.file_store import HOST_KEY, Entry, FileStore, Unreachable
from capstream.kernel.json import Json
from capstream.kernel.sftp import PORT, Reason, Server, SftpError, download, host_key_of, session

if TYPE_CHECKING:
    import paramiko

_TIMEOUT_S = 10.0


@contextmanager
def opened(params: Mapping[str, Json], *, learns: bool = False) -> Generator[FileStore]:
    """Open a session with the parameters of a connection, secrets in the clear. Errors: Unreachable says why."""
    try:
        with session(_server(params, learns=learns)) as found:
            yield _Session(found)
    except SftpError as error:
        raise Unreachable(_said(error)) from error


def _server(params: Mapping[str, Json], *, learns: bool) -> Server:
    return Server(
        host=str(params.get("host") or ""),
        port=int(params.get("port") or PORT),
        user=str(params.get("userName") or ""),
        password=str(params.get("password") or ""),
        private_key=str(params.get("privateKeyContent") or ""),
        passphrase=str(params["passPhrase"]) if params.get("passPhrase") else None,
        host_key=str(params.get(HOST_KEY) or ""),
        learns=learns,
        timeout_s=_TIMEOUT_S,
    )


def _said(error: SftpError) -> str:
    cures = {
        Reason.HOST_KEY_CHANGED: f"; find out why, then PATCH /auth/params with the new {HOST_KEY}",
        Reason.HOST_KEY_UNKNOWN: f"; PATCH /auth/params with {HOST_KEY}",
    }
    return error.detail + cures.get(error.reason, "")


class _Session:
    def __init__(self, found: "paramiko.SFTPClient") -> None:
        self._session = found
        self.host_key = host_key_of(found)

    def list(self, path: str) -> list[Entry]:
        found = [_entry(f"{path.rstrip('/')}/{each.filename}", each) for each in self._session.listdir_attr(path)]
        return sorted(found, key=lambda entry: (not entry.is_folder, entry.name))

    def read(self, path: str, limit: int) -> bytes:
        with self._session.open(path, "rb") as file:
            return bytes(file.read(limit))

    def about(self, path: str) -> Entry:
        return _entry(path, self._session.stat(path))

    def fetch(self, entry: Entry, into: Path, progress: Callable[[int], None]) -> None:
        download(self._session, entry.path, into, entry.size, progress)


def _entry(path: str, found: "paramiko.SFTPAttributes") -> Entry:
    name = path.rstrip("/").rpartition("/")[2]
    return Entry(name, path, stat.S_ISDIR(found.st_mode or 0), found.st_size or 0, (found.st_mtime or 0) * 1000)
