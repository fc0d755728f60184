import os
import re
import stat
from pathlib import Path

import jwt
import pytest
from control_plane import ORG, START_MS, ControlPlane

from capstream.aep.ims.keys import KeyRing
from capstream.aep.ims.model import Clients, new_client_id, new_org_id, new_secret
from capstream.aep.ims.tokens import Tokens, scopes_of
from capstream.kernel.errors import InputError
from capstream.storage.sqlite import SqliteDocuments


def test_ids_have_the_documented_alphabets() -> None:
    assert re.fullmatch(r"[0-9A-F]{24}@AdobeOrg", new_org_id())
    assert re.fullmatch(r"[0-9a-f]{32}", new_client_id())
    assert re.fullmatch(r"p8e-[A-Za-z0-9_-]{32}", new_secret())


def test_the_secret_is_never_stored(plane: ControlPlane, tmp_path: Path) -> None:
    client, secret = plane.clients.create(ORG, name="other", now_ms=START_MS, secret="chosen-by-a-person")
    plane.documents.close()
    stored = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert client.client_id.encode() in stored
    assert secret.encode() not in stored
    assert plane.secret.encode() not in stored


@pytest.mark.parametrize("chosen", ["", "chosen-by-a-person"])
def test_two_secrets_work_while_one_is_replaced(plane: ControlPlane, chosen: str) -> None:
    client, first = plane.clients.create(ORG, name="other", now_ms=START_MS, secret=chosen)
    second = plane.clients.add_secret(client.client_id, START_MS)
    client = plane.clients.get(client.client_id) or client
    assert plane.clients.accepts(client, first, START_MS)
    assert plane.clients.accepts(client, second, START_MS)
    with pytest.raises(InputError, match="2 live secrets"):
        plane.clients.add_secret(client.client_id, START_MS)
    plane.clients.revoke_secret(client.client_id, client.secrets[0].id)
    client = plane.clients.get(client.client_id) or client
    assert not plane.clients.accepts(client, first, START_MS)
    assert plane.clients.accepts(client, second, START_MS)


def test_a_client_id_is_given_once(plane: ControlPlane) -> None:
    with pytest.raises(InputError, match="exists already"):
        plane.clients.create(ORG, name="again", now_ms=START_MS, client_id=plane.client.client_id)
    assert [client.name for client in plane.clients.all(ORG)] == ["tests"]


def test_another_process_sees_a_new_client(plane: ControlPlane, tmp_path: Path) -> None:
    reader = Clients(SqliteDocuments(tmp_path / "control.db", readonly=True))
    assert reader.is_known(plane.client.client_id)
    added, _ = plane.clients.create(ORG, name="late", now_ms=START_MS)
    assert reader.is_known(added.client_id)
    assert not reader.is_known("nobody")


def test_the_signing_key_is_made_once_and_private(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "ims.pem"
    first, second = KeyRing(path), KeyRing(path)
    assert first.newest()[0] == second.newest()[0] == "ims_na1-key-at-1"
    assert first.newest()[1].private_numbers() == second.newest()[1].private_numbers()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in path.parent.iterdir()] == ["ims.pem"]


def test_tokens_of_before_a_change_of_keys_stay_good_until_they_expire(plane: ControlPlane, tmp_path: Path) -> None:
    path = tmp_path / "ims.pem"
    (tmp_path / "ims-draft.pem.17").write_text("left over")
    tokens = Tokens(plane.documents, KeyRing(path, outlives_s=3600))
    caller = plane.tokens.verify(plane.token(), START_MS)
    assert caller is not None
    old = tokens.issue(caller, START_MS)
    assert tokens.rotate() == 2
    new = tokens.issue(caller, START_MS)
    ids = [jwt.get_unverified_header(each)["kid"] for each in (old, new)]
    assert ids == ["ims_na1-key-at-1", "ims_na1-key-at-2"]
    assert [key["kid"] for key in tokens.key_set()["keys"]] == ids[::-1]
    again = Tokens(plane.documents, KeyRing(path, outlives_s=3600))
    assert [each.verify(token, START_MS) for each in (tokens, again) for token in (old, new)] == [caller] * 4
    hour_ago = path.stat().st_mtime - 3700
    os.utime(tmp_path / "ims-2.pem", (hour_ago, hour_ago))
    later = Tokens(plane.documents, KeyRing(path, outlives_s=3600))
    assert [later.verify(token, START_MS) for token in (old, new)] == [None, caller]
    assert not path.exists()
    assert KeyRing(path, outlives_s=3600).newest()[0] == ids[1]


def test_a_key_that_leaked_can_be_dropped_with_its_tokens(plane: ControlPlane, tmp_path: Path) -> None:
    tokens = Tokens(plane.documents, KeyRing(tmp_path / "ims.pem", outlives_s=3600))
    caller = plane.tokens.verify(plane.token(), START_MS)
    assert caller is not None
    old = tokens.issue(caller, START_MS)
    assert tokens.verify(old, START_MS) == caller
    assert tokens.rotate(drops_old=True) == 1
    assert tokens.verify(old, START_MS) is None
    assert tokens.verify(tokens.issue(caller, START_MS), START_MS) == caller


def test_a_token_of_another_key_is_refused(plane: ControlPlane, tmp_path: Path) -> None:
    other = Tokens(plane.documents, KeyRing(tmp_path / "other.pem"))
    assert other.verify(plane.token(), START_MS) is None


def test_the_life_of_a_token_can_be_set(plane: ControlPlane, tmp_path: Path) -> None:
    short = Tokens(plane.documents, KeyRing(tmp_path / "other.pem"), ttl_s=2)
    caller = plane.tokens.verify(plane.token(), START_MS)
    assert caller is not None
    token = short.issue(caller, START_MS)
    assert short.verify(token, START_MS + 1999) == caller
    assert short.verify(token, START_MS + 2000) is None


@pytest.mark.parametrize("text", ["openid,AdobeID", "AdobeID openid", " openid, AdobeID ,openid "])
def test_scopes_have_any_separator_and_order(text: str) -> None:
    assert scopes_of(text) == {"openid", "AdobeID"}
