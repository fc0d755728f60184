"""A change of keys: every secret opens at every moment, and with the new key alone at the end."""

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from capstream import key_change
from capstream.aep.flow_service import secrets
from capstream.cli.main import app
from capstream.kernel.errors import InputError
from capstream.kernel.json import dumps, loads
from capstream.layout import Layout
from capstream.relay.audit import Audit
from capstream.relay.sources import Sources
from capstream.relay.vault import Vault
from capstream.storage.key_file import add_key, read_keys
from capstream.storage.sqlite import SqliteDocuments

SOURCE: dict[str, Any] = {
    "orgId": "org",
    "auth": {"secrets": ["webhook-secret"]},
    "ims": {"url": "https://ims.test", "clientId": "c", "clientSecret": "ims-secret"},
    "capillaryApi": {"host": "https://eu.api.test", "key": "k", "secret": "api-secret"},
}


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    found = Layout(tmp_path)
    documents, control = SqliteDocuments(found.sources), SqliteDocuments(found.control)
    Sources(documents, Vault(*read_keys(found.relay_key))).put("nw", SOURCE)
    vault = secrets.Vault(*read_keys(found.platform_key))
    params = secrets.sealed(vault, {"password": "sftp-secret", "host": "h"}, frozenset({"password"}), {})
    with control.transaction() as change:
        change.put("connections", [("a/1", dumps({"auth": {"params": params}})), ("a/2", b'{"name":"\\"sealed\\""}')])
        change.put("landing_zones", [("a/secret", vault.seal("signing").encode()), ("a", b"{}")])
    documents.close()
    control.close()
    return found


def opened(layout: Layout) -> None:
    """Every secret is what it was, with the keys of the files."""
    documents, control = SqliteDocuments(layout.sources, readonly=True), SqliteDocuments(layout.control, readonly=True)
    sources = Sources(documents, Vault(*read_keys(layout.relay_key)))
    assert sources.guards["nw"].admits({b"authorization": b"Bearer webhook-secret"}, "")
    assert not sources.guards["nw"].admits({b"authorization": b"Bearer other"}, "")
    source = sources.table["nw"]
    assert (source.ims.client_secret, source.capillary_api and source.capillary_api.secret) == ("ims-secret", "api-secret")
    vault = secrets.Vault(*read_keys(layout.platform_key))
    held = loads(control.get("connections", "a/1") or b"")["auth"]["params"]
    assert vault.unseal(secrets.sealed_text(held["password"])) == "sftp-secret"
    assert held["host"] == "h"
    assert vault.unseal((control.get("landing_zones", "a/secret") or b"").decode()) == "signing"
    assert control.get("connections", "a/2") == b'{"name":"\\"sealed\\""}'
    documents.close()
    control.close()


def test_every_secret_is_sealed_with_a_new_key_and_webhook_secrets_stay(layout: Layout) -> None:
    before = [read_keys(path) for path in (layout.relay_key, layout.platform_key)]
    for _ in range(2):
        done = CliRunner().invoke(app, ["rotate-keys", "--data", str(layout.data)])
        assert done.exit_code == 0, done.output
        assert done.output == "relay: 2 secrets are sealed with a new key\nplatform: 2 secrets are sealed with a new key\n"
        opened(layout)
    after = [read_keys(path) for path in (layout.relay_key, layout.platform_key)]
    assert [len(keys) for keys in after] == [1, 1]
    assert not set(before) & set(after)
    with pytest.raises(InputError, match="key file"):
        Sources(SqliteDocuments(layout.sources, readonly=True), Vault(*before[0]))
    acts = Audit(SqliteDocuments(layout.relay_admin, readonly=True), lambda: 0).entries()
    assert [(act["act"], act["target"], act["details"]) for act in acts[:2]] == [
        ("rotate_keys", "relay", {"secrets": 2}),
        ("rotate_keys", "platform", {"secrets": 2}),
    ]


@pytest.mark.parametrize("where", ["reseal_sources", "compact", "drop_old_keys"])
def test_a_change_that_was_cut_off_is_finished_by_the_next(layout: Layout, where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def cut_off(*_: object) -> None:
        raise RuntimeError

    key = read_keys(layout.relay_key)
    with monkeypatch.context() as patch:
        patch.setattr(key_change, where, cut_off)
        with pytest.raises(RuntimeError):
            key_change.change_relay_key(layout, layout.relay_key)
    assert read_keys(layout.relay_key)[1:] == key
    opened(layout)
    wanted = add_key(layout.relay_key)[0]
    key_change.change_relay_key(layout, layout.relay_key)
    assert read_keys(layout.relay_key) == (wanted,)
    opened(layout)


def test_a_key_file_with_something_else_is_refused(tmp_path: Path) -> None:
    for content, reason in ((b"no key", "no key"), (b"", "empty")):
        (tmp_path / "key").write_bytes(content)
        with pytest.raises(InputError, match=reason):
            read_keys(tmp_path / "key")
