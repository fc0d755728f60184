"""Source records: secrets at rest, masking, rotation, readable refusals."""

import stat
from pathlib import Path
from typing import Any

import pytest

from capstream.kernel.errors import InputError
from capstream.relay.sources import Sources, masked
from capstream.relay.vault import Vault
from capstream.relay.webhook_auth import Form, Guard
from capstream.storage.key_file import read_keys
from capstream.storage.sqlite import SqliteDocuments

KEY = b"qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqo="
BODY: dict[str, Any] = {
    "orgId": "org",
    "auth": {"secrets": ["new-secret", "old-secret"]},
    "ims": {"url": "https://ims.test", "clientId": "c", "clientSecret": "ims-secret"},
    "capillaryApi": {"host": "https://eu.api.test", "key": "k", "secret": "api-secret"},
}
SECRETS = (b"new-secret", b"old-secret", b"ims-secret", b"api-secret")


def test_secrets_are_not_readable_in_the_store_and_open_again(sources_db: SqliteDocuments) -> None:
    Sources(sources_db, Vault(KEY)).put("a", BODY)
    stored = sources_db.get("sources", "a") or b""
    assert not any(secret in stored for secret in SECRETS)
    source = Sources(sources_db, Vault(KEY)).table["a"]
    assert source.ims.client_secret == "ims-secret"
    assert source.capillary_api
    assert source.capillary_api.secret == "api-secret"


def test_view_is_masked_and_can_be_put_back(sources: Sources) -> None:
    view = masked(sources.put("a", BODY))
    assert not any(secret.decode() in str(view) for secret in SECRETS)
    assert view["auth"]["secrets"] == ["xxxx", "xxxx"]
    del view["key"]
    sources.put("a", {**view, "sandbox": "dev"})
    assert sources.table["a"].ims.client_secret == "ims-secret"
    assert sources.table["a"].sandbox == "dev"
    for secret in (b"Bearer new-secret", b"Bearer old-secret"):
        assert sources.guards["a"].admits({b"authorization": secret}, "")


def test_rotation_replaces_the_live_secrets(sources: Sources) -> None:
    sources.put("a", BODY)
    sources.put("a", {**BODY, "auth": {"secrets": ["newest", "new-secret"]}})
    admitted = [
        sources.guards["a"].admits({b"authorization": b"Bearer " + s}, "") for s in (b"newest", b"new-secret", b"old-secret")
    ]
    assert admitted == [True, True, False]


def test_another_process_sees_a_change(tmp_path: Path) -> None:
    writer, reader = SqliteDocuments(tmp_path / "s.db"), SqliteDocuments(tmp_path / "s.db")
    here, there = Sources(writer, Vault(KEY)), Sources(reader, Vault(KEY))
    here.put("a", BODY)
    there.refresh()
    assert there.table.keys() == {"a"}
    table = there.table
    there.refresh()
    assert there.table is table
    assert here.delete("a")
    there.refresh()
    assert not there.table
    writer.close()
    reader.close()


@pytest.mark.parametrize(
    ("key", "change", "path"),
    [
        ("a b", {}, "source key"),
        ("a", {"auth": {"secrets": ["1", "2", "3"]}}, "auth.secrets"),
        ("a", {"auth": {"secrets": []}}, "auth.secrets"),
        ("a", {"auth": {"secrets": ["x"], "form": "magic"}}, "auth.form"),
        ("a", {"auth": {"secrets": ["x"], "allow": ["nowhere"]}}, "auth.allow"),
        ("a", {"auth": {"digests": ["00"], "secrets": ["x"]}}, "auth.digests"),
        ("a", {"ims": {"url": "https://ims.test", "clientId": "c"}}, "ims.clientSecret"),
        ("a", {"unknown": 1}, "unknown"),
        ("a", {"limits": {"concurrency": 1}}, "limits.concurrency"),
        ("a", {"enabled": "yes"}, "enabled"),
        ("a", {"auth": {"secrets": ["x"], "failureStatus": 500}}, "auth.failureStatus"),
        ("..", {}, "source key"),
        ("a", {"translation": {"pii": {"names": "hash"}}}, "pii.names"),
        ("x" * 65, {}, "source key"),
        ("a", {"auth": {"secrets": [""]}}, "auth.secrets"),
        ("a", {"auth": {"secrets": ["x", " "]}}, "auth.secrets"),
        ("a", {"auth": {"secrets": ["x\r\ny"]}}, "auth.secrets"),
        ("a", {"auth": {"form": "basic", "secrets": ["no colon"]}}, "auth.secrets"),
        ("a", {"auth": {"form": "basic", "secrets": ["user:"]}}, "auth.secrets"),
        ("a", {"auth": {"form": "header", "header": "", "secrets": ["x"]}}, "auth.header"),
        ("a", {"auth": {"form": "header", "header": "X: 1", "secrets": ["x"]}}, "auth.header"),
        ("a", {"limits": {"records": 0}}, "limits.records"),
        ("a", {"limits": {"bytes": 2_000_000}}, "limits.bytes"),
        ("a", {"limits": {"lanes": -1}}, "limits.lanes"),
        ("a", {"bodyBytes": -1}, "bodyBytes"),
        ("a", {"inletUrl": "collection/1"}, "inletUrl"),
        ("a", {"inletUrl": "https://host:port/x"}, "inletUrl"),
        ("a", {"capillaryApi": {**BODY["capillaryApi"], "host": "eu.api.test"}}, "capillaryApi.host"),
        ("a", {"capillaryApi": {**BODY["capillaryApi"], "concurrency": 0}}, "capillaryApi.concurrency"),
        ("a", {"translation": {"pii": {"nmaes": True}}}, "pii.nmaes"),
    ],
)
def test_wrong_input_names_the_field(sources: Sources, key: str, change: dict[str, Any], path: str) -> None:
    with pytest.raises(InputError) as caught:
        sources.put(key, {**BODY, **change})
    assert caught.value.path == path
    assert caught.value.cure
    assert key not in sources.table


def test_other_form_needs_its_own_secret(sources: Sources) -> None:
    sources.put("a", BODY)
    with pytest.raises(InputError, match="needs its secret"):
        sources.put("a", {**BODY, "auth": {"form": "basic"}})


def test_another_key_is_noticed(sources_db: SqliteDocuments) -> None:
    Sources(sources_db, Vault(KEY)).put("a", BODY)
    with pytest.raises(InputError, match="key file"):
        Sources(sources_db, Vault(b"r" * 42 + b"o="))


def test_key_file_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "vault.key"
    (key,) = read_keys(path)
    assert read_keys(path) == (key,)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert Vault(key).open(Vault(key).seal("secret")) == "secret"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("form", ["bearer", "basic", "header"])
def test_nothing_proves_nothing_whatever_is_stored(vault: Vault, form: Form) -> None:
    guard = Guard(vault, form=form, header="X-Key", digests=[vault.digest(value) for value in (b"", b"bearer ", b"basic ")])
    for value in (b"", b"Bearer ", b"Bearer", b"Basic ", b" "):
        assert not guard.admits({b"authorization": value}, "")
    assert not guard.admits({b"x-key": b""}, "")
    assert not guard.admits({}, "")


def test_a_rotated_secret_has_to_be_one(sources: Sources) -> None:
    for secret in (" ", "x y\n", "ü"):
        with pytest.raises(InputError, match="no header can carry"):
            sources.rotate("nw", secret)
