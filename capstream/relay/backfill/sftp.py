"""Fetching exports from the brand's SFTP server: known hosts only, downloads go on where they broke off.

Source: capillary.md 8.1.
"""

import stat
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import chain, count
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from capstream.kernel.errors import CapstreamError, InputError
from capstream.kernel.sftp import Reason, Server, SftpError, download, session
from capstream.relay.backfill.files import IsSteady, is_export, template_of


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


Progress = Callable[[str, int, int], None]
"""Told name, size and bytes so far."""


def fetch(
    place: Place,
    into: Path,
    progress: Progress = lambda _name, _size, _done: None,
    is_steady: IsSteady = lambda _name, _size: True,
) -> tuple[int, list[str]]:
    """Download the steady exports of a folder that are not in `into` yet; return how many came, and the names of those that were
    left there because they state no template.

    Errors: CapstreamError says whether host, key, login or folder is the matter.
    """
    into.mkdir(parents=True, exist_ok=True)
    try:
        return _fetched(place, into, progress, is_steady)
    except SftpError as error:
        raise CapstreamError(_said(place, error)) from error


def _fetched(place: Place, into: Path, progress: Progress, is_steady: IsSteady) -> tuple[int, list[str]]:
    fetched, left = 0, list[str]()
    with session(_server(place)) as opened:
        for each in sorted(opened.listdir_attr(place.folder), key=lambda found: found.filename):
            name = PurePosixPath(each.filename).name
            if not stat.S_ISREG(each.st_mode or 0) or not is_export(name):
                continue
            if template_of(name) is None:
                left.append(name)
                continue
            target, size = into / name, each.st_size or 0
            if not is_steady(name, size) or (target.exists() and target.stat().st_size == size):
                continue
            part = into / f"{name}.{size}.{each.st_mtime or 0}.part"
            download(opened, f"{place.folder.rstrip('/')}/{name}", part, size, partial(progress, name, size))
            part.replace(target)
            fetched += 1
    return fetched, left


def put_away(place: Place, names: Mapping[str, str]) -> None:
    """Move files of the folder into folders below it. Shape: file name -> folder name. What is not there any more is no error.

    Errors: CapstreamError, also when the login may not write there.
    """
    root = place.folder.rstrip("/")
    try:
        with session(_server(place)) as opened:
            present = set(opened.listdir(place.folder))
            for name, below in names.items():
                if name not in present:
                    continue
                if below not in present:
                    opened.mkdir(f"{root}/{below}")
                    present.add(below)
                kept = set(opened.listdir(f"{root}/{below}"))
                opened.rename(f"{root}/{name}", f"{root}/{below}/{free_name(name, kept)}")
    except SftpError as error:
        raise CapstreamError(_said(place, error)) from error


def free_name(name: str, taken: Container[str]) -> str:
    """Return the name, numbered when it is taken."""
    return next(each for each in chain([name], (f"{number}-{name}" for number in count(2))) if each not in taken)


def _server(place: Place) -> Server:
    return Server(
        host=place.host,
        port=place.port,
        user=place.user,
        password=None if place.identity else place.password,
        identity=place.identity,
        passphrase=place.password if place.identity else None,
        known_hosts=place.known_hosts,
    )


def _said(place: Place, error: SftpError) -> str:
    said = {
        Reason.LOGIN: "refused the login; check the user, CAPSTREAM_SFTP_PASSWORD or --identity",
        Reason.HOST_KEY_CHANGED: f"shows another host key than {place.known_hosts} has; find out why first",
        Reason.HOST_KEY_UNKNOWN: f"is not in the known_hosts {place.known_hosts}; compare its key with its owner's, then add it",
        Reason.SHORTENED: f"{error.detail}; run the command again",
    }
    if error.reason is Reason.NOT_FOUND:
        return f"{place!r}: there is no such folder"
    return f"{place!r} {said[error.reason]}" if error.reason in said else f"{place!r}: {error.detail}"
