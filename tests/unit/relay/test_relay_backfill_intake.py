"""Files of a backfill: complete or still growing, encrypted, moved where they belong when they were read."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import paramiko
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "flow_service"))
from sftp_server import PASSWORD, USER, SftpServer

from capstream.kernel.errors import InputError
from capstream.relay.backfill.intake import Intake, Steady
from capstream.relay.backfill.pgp import Keys
from capstream.relay.backfill.sftp import place_of

NAME = "Daily_Members_2024-11-08-00-00-00.csv"
CONTENT = "user_id,auto_update_time_cps\n900000101,1731000002\n"


def files(folder: Path) -> dict[str, str]:
    return {each.relative_to(folder).as_posix(): each.read_text() for each in sorted(folder.rglob("*")) if each.is_file()}


def test_a_file_that_still_grows_waits_for_the_next_look(tmp_path: Path) -> None:
    intake = Intake(folder=tmp_path, steady=Steady())
    (tmp_path / NAME).write_text(CONTENT)
    assert intake.ready() == ([], [])
    (tmp_path / NAME).write_text(CONTENT * 2)
    assert intake.ready() == ([], [])
    assert [export.path.name for export in intake.ready()[0]] == [NAME]


def test_what_was_read_and_what_could_not_be_go_apart(tmp_path: Path) -> None:
    intake = Intake(folder=tmp_path, is_moved=True)
    for content in (CONTENT, CONTENT * 2):  # the same name twice: neither is lost
        (tmp_path / NAME).write_text(content)
        (tmp_path / "Points.csv").write_text("damaged")
        found, _ = intake.ready()
        intake.fail(found[1], InputError("Points.csv", "has no column event_id", "export it"))
        assert list(intake.settle(found)) == ["Points.csv"]
        assert intake.settle([]) == {}
    assert files(tmp_path) == {
        f"processed/{NAME}": CONTENT,
        f"processed/2-{NAME}": CONTENT * 2,
        "failed/Points.csv": "damaged",
        "failed/2-Points.csv": "damaged",
    }


@pytest.fixture(scope="module")
def keyring(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A brand's keyring with one key behind a passphrase."""
    if shutil.which("gpg") is None:
        pytest.skip("GnuPG is not installed")
    home = Path(tmp_path_factory.mktemp("gpg"))
    home.chmod(0o700)
    make = ["--pinentry-mode", "loopback", "--passphrase", "phrase", "--quick-generate-key", "brand@example.com", "rsa2048"]
    subprocess.run(["gpg", "--homedir", str(home), "--batch", "--quiet", *make, "encrypt,sign", "0"], check=True)
    yield home
    subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "gpg-agent"], check=False)


def test_encrypted_files_are_opened_with_the_keyring_alone(tmp_path: Path, keyring: Path) -> None:
    plain, folder = tmp_path / NAME, tmp_path / "exports"
    plain.write_text(CONTENT)
    folder.mkdir()
    encrypt = [
        "--trust-model",
        "always",
        "--recipient",
        "brand@example.com",
        "--output",
        str(folder / f"{NAME}.pgp"),
        "--encrypt",
    ]
    subprocess.run(["gpg", "--homedir", str(keyring), "--batch", "--quiet", *encrypt, str(plain)], check=True)
    with pytest.raises(InputError, match="is encrypted"):
        Intake(folder=folder).ready()
    (tmp_path / "empty").mkdir(mode=0o700)
    stranger = Intake(folder=folder, keys=Keys(home=tmp_path / "empty", into=tmp_path / "opened"))
    with pytest.raises(InputError, match="cannot be decrypted"):
        stranger.ready()
    keys = Keys(home=keyring, into=tmp_path / "opened", passphrase="phrase")
    assert "phrase" not in repr(keys)
    intake = Intake(folder=folder, keys=keys, is_moved=True)
    [export] = intake.ready()[0]
    assert export.path.read_text() == CONTENT
    intake.settle([export])
    assert list((tmp_path / "opened").iterdir()) == []
    assert [each.name for each in (folder / "processed").iterdir()] == [f"{NAME}.pgp"]


def test_files_on_the_server_are_moved_there(tmp_path: Path) -> None:
    key = paramiko.RSAKey.generate(2048)
    root = tmp_path / "remote"
    (root / "daily").mkdir(parents=True)
    (root / "daily" / NAME).write_text(CONTENT)
    server = SftpServer(root, key)
    try:
        known = tmp_path / "known_hosts"
        known.write_text(f"[127.0.0.1]:{server.port} {key.get_name()} {key.get_base64()}\n")
        there = place_of(f"sftp://{USER}@127.0.0.1:{server.port}/daily", known_hosts=known, password=PASSWORD)
        intake = Intake(folder=tmp_path / "fetched", place=there, is_moved=True, steady=Steady())
        assert intake.ready() == ([], [])
        found, _ = intake.ready()
        intake.settle(found)
        assert files(root) == {f"daily/processed/{NAME}": CONTENT}
        assert files(tmp_path / "fetched") == {}
        assert intake.ready() == ([], [])
    finally:
        server.close()
