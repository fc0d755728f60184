"""Fetching exports from the brand's SFTP server: known hosts only, downloads go on where they broke off.

Source: capillary.md 8.1.
"""

import stat
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

import paramiko

from capstream.kernel.errors import CapstreamError, InputError
from capstream.relay.backfill.files import template_of

_TIMEOUT_S = 20.0
_PIECE = 32 * 1024
_PIECES = 64  # requested together: 2 MiB in memory


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A folder on an SFTP server and how to enter it. Secrets never print."""

    host: str
    port: int
    user: str
    folder: str
    known_hosts: Path
    password: str | None = None
    identity: Path | None = None  #: private key file; `password` then opens it

    def __repr__(self) -> str:
        return f"sftp://{self.user}@{self.host}:{self.port}{self.folder}"


def place_of(url: str, *, known_hosts: Path, password: str | None = None, identity: Path | None = None) -> Place:
    """Return the place a URL names. Errors: InputError when it has no host or user, or a password in it."""
    parts = urlsplit(url)
    if not parts.hostname or not parts.username:
        raise InputError("SFTP address", "names no host or no user", "write sftp://user@host:22/folder")
    if parts.password is not None:
        raise InputError("SFTP address", "holds a password", "give it in CAPSTREAM_SFTP_PASSWORD or use --identity")
    return Place(
        host=parts.hostname,
        port=parts.port or 22,
        user=unquote(parts.username),
        folder=unquote(parts.path) or ".",
        known_hosts=known_hosts,
        password=password,
        identity=identity,
    )


def fetch(place: Place, into: Path, progress: Callable[[str, int, int], None] = lambda _name, _size, _done: None) -> int:
    """Download the exports of a folder that are not in `into` yet and return how many came.

    `progress` is told name, size and bytes so far. Errors: CapstreamError says whether host, key, login or folder is the matter.
    """
    into.mkdir(parents=True, exist_ok=True)
    fetched = 0
    with _session(place) as session:
        for each in sorted(session.listdir_attr(place.folder), key=lambda found: found.filename):
            name = PurePosixPath(each.filename).name
            if not stat.S_ISREG(each.st_mode or 0) or template_of(name) is None:
                continue
            target, size = into / name, each.st_size or 0
            if target.exists() and target.stat().st_size == size:
                continue
            part = into / f"{name}.{size}.{each.st_mtime or 0}.part"
            _download(session, f"{place.folder.rstrip('/')}/{name}", part, size, partial(progress, name, size))
            part.replace(target)
            fetched += 1
    return fetched


def _download(session: paramiko.SFTPClient, path: str, part: Path, size: int, progress: Callable[[int], None]) -> None:
    with session.open(path, "rb") as source, part.open("ab") as target:
        done = target.tell()
        while done < size:
            end = min(size, done + _PIECE * _PIECES)
            pieces = [(at, min(_PIECE, end - at)) for at in range(done, end, _PIECE)]
            for data in source.readv(pieces):
                if not data:
                    raise CapstreamError(f"{path} became shorter while it was read; run the command again")
                target.write(data)
            done = end
            progress(done)


@contextmanager
def _session(place: Place) -> Generator[paramiko.SFTPClient]:
    client = paramiko.SSHClient()
    client.set_missing_host_key_policy(paramiko.RejectPolicy())
    try:
        if place.known_hosts.exists():
            client.load_host_keys(str(place.known_hosts))
        client.connect(
            place.host,
            place.port,
            username=place.user,
            password=None if place.identity else place.password,
            key_filename=None if place.identity is None else str(place.identity),
            passphrase=place.password if place.identity else None,
            timeout=_TIMEOUT_S,
            banner_timeout=_TIMEOUT_S,
            auth_timeout=_TIMEOUT_S,
            allow_agent=False,
            look_for_keys=False,
        )
        session = client.open_sftp()
        session.get_channel().settimeout(_TIMEOUT_S)
        yield session
    except paramiko.AuthenticationException as error:
        raise CapstreamError(f"{place!r} refused the login; check the user, CAPSTREAM_SFTP_PASSWORD or --identity") from error
    except paramiko.BadHostKeyException as error:
        raise CapstreamError(f"{place!r} shows another host key than {place.known_hosts} has; find out why first") from error
    except FileNotFoundError as error:
        raise CapstreamError(f"{place!r}: there is no such folder") from error
    except (paramiko.SSHException, OSError, EOFError) as error:
        unknown = "not found in known_hosts" in str(error)
        cure = f"; compare its key with the owner's and add it to {place.known_hosts}" if unknown else ""
        raise CapstreamError(f"{place!r}: {error or type(error).__name__}{cure}") from error
    finally:
        client.close()
