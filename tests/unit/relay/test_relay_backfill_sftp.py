"""Exports from a real SFTP server: passwords, keys, host keys, and downloads that break off."""

import sys
from collections.abc import Iterator
from pathlib import Path

import paramiko
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "flow_service"))
from sftp_server import PASSWORD, USER, SftpServer

from capstream.kernel.errors import CapstreamError, InputError
from capstream.relay.backfill.sftp import Place, fetch, place_of

NAME = "Daily_Members_2024-11-08-00-00-00.csv"
LEFT = ["Members of today.csv"]
CONTENT = b"user_id,auto_update_time_cps\n" + b"900000101,1731000002\n" * 200_000


@pytest.fixture(scope="module")
def key() -> paramiko.RSAKey:
    return paramiko.RSAKey.generate(2048)


@pytest.fixture
def server(tmp_path: Path, key: paramiko.RSAKey) -> Iterator[SftpServer]:
    root = tmp_path / "remote"
    (root / "daily").mkdir(parents=True)
    (root / "daily" / NAME).write_bytes(CONTENT)
    (root / "daily" / "notes.txt").write_text("not an export")
    (root / "daily" / "Members of today.csv").write_text("a name that states no template")
    found = SftpServer(root, key)
    yield found
    found.close()


def place(
    server: SftpServer, tmp_path: Path, host_key: paramiko.PKey, *, password: str = PASSWORD, path: str = "/daily"
) -> Place:
    known = tmp_path / "known_hosts"
    known.write_text(f"[127.0.0.1]:{server.port} {host_key.get_name()} {host_key.get_base64()}\n")
    return place_of(f"sftp://{USER}@127.0.0.1:{server.port}{path}", known_hosts=known, password=password)


def test_exports_are_fetched_once_and_a_broken_download_goes_on(server: SftpServer, tmp_path: Path, key: paramiko.RSAKey) -> None:
    there, into = place(server, tmp_path, key), tmp_path / "into"
    into.mkdir()
    remote = server.root / "daily" / NAME
    part = into / f"{NAME}.{len(CONTENT)}.{int(remote.stat().st_mtime)}.part"
    part.write_bytes(CONTENT[:1_000_001])
    steps: list[int] = []
    assert fetch(there, into, lambda _name, _size, done: steps.append(done)) == (1, LEFT)
    assert steps[0] > 1_000_001
    assert (into / NAME).read_bytes() == CONTENT
    assert [each.name for each in into.iterdir()] == [NAME]
    assert fetch(there, into) == (0, LEFT)


def test_a_key_opens_too(server: SftpServer, tmp_path: Path, key: paramiko.RSAKey) -> None:
    identity = tmp_path / "id_rsa"
    key.write_private_key_file(str(identity), password="phrase")
    known = place(server, tmp_path, key).known_hosts
    there = place_of(f"sftp://{USER}@127.0.0.1:{server.port}/daily", known_hosts=known, password="phrase", identity=identity)
    assert fetch(there, tmp_path / "into") == (1, LEFT)


def test_refusals_say_what_is_the_matter(server: SftpServer, tmp_path: Path, key: paramiko.RSAKey) -> None:
    with pytest.raises(CapstreamError, match="refused the login"):
        fetch(place(server, tmp_path, key, password="wrong"), tmp_path / "into")
    with pytest.raises(CapstreamError, match="no such folder"):
        fetch(place(server, tmp_path, key, path="/elsewhere"), tmp_path / "into")
    other = paramiko.RSAKey.generate(2048)
    with pytest.raises(CapstreamError, match="another host key"):
        fetch(place(server, tmp_path, other), tmp_path / "into")
    (tmp_path / "empty").touch()
    unknown = place_of(f"sftp://{USER}@127.0.0.1:{server.port}/", known_hosts=tmp_path / "empty", password=PASSWORD)
    with pytest.raises(CapstreamError, match="known_hosts"):
        fetch(unknown, tmp_path / "into")
    assert PASSWORD not in repr(unknown)
    with pytest.raises(InputError, match="holds a password"):
        place_of("sftp://user:secret@example.com/", known_hosts=tmp_path)
    with pytest.raises(InputError, match="no host or no user"):
        place_of("sftp://example.com/", known_hosts=tmp_path)
