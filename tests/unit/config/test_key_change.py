"""A change of keys: every secret opens at every moment, and with the new key alone at the end."""

import asyncio
import base64
import re
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from capstream import key_change, own_api, relay_side
from capstream.aep.alerts.signing import Signer
from capstream.aep.flow_service import secrets
from capstream.aep.ims.keys import KeyRing
from capstream.aep.ims.tokens import Tokens
from capstream.cli.main import app
from capstream.kernel.errors import InputError
from capstream.kernel.json import dumps, loads
from capstream.key_api import KeyDesk
from capstream.layout import Layout
from capstream.relay.audit import Audit
from capstream.relay.sources import Sources
from capstream.relay.vault import Vault
from capstream.storage.key_file import add_key, read_keys
from capstream.storage.sqlite import SqliteDocuments, SqliteLog

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


def test_a_running_relay_changes_its_key_and_its_readers_follow(layout: Layout) -> None:
    def vault() -> Vault:
        return Vault(*read_keys(layout.relay_key), read_again=lambda: read_keys(layout.relay_key))

    origins = SqliteDocuments(layout.sources)
    stores = relay_side._Stores(
        journal=SqliteLog(layout.journal),
        origins=origins,
        sources=Sources(origins, vault()),
        office=SqliteDocuments(layout.relay_admin),
        courier=SqliteDocuments(layout.courier),
    )
    reader = Sources(SqliteDocuments(layout.sources, readonly=True), vault())
    before = read_keys(layout.relay_key)
    for _ in range(2):
        assert relay_side._change_key(stores, layout, layout.relay_key) == 2
        reader.refresh()
        assert reader.table["nw"].ims.client_secret == "ims-secret"
        opened(layout)
    assert len(read_keys(layout.relay_key)) == 1
    assert read_keys(layout.relay_key) != before
    made, secret = stores.sources.rotate("nw")
    reader.refresh()
    assert reader.guards["nw"].admits({b"authorization": f"Bearer {secret}".encode()}, "")
    assert made.key == "nw"


def test_a_running_platform_changes_its_key_and_what_is_stored_meanwhile_is_not_lost(layout: Layout) -> None:
    vault = secrets.Vault.open(layout.platform_key)
    late = secrets.sealed(vault, {"password": "sealed before, stored after"}, frozenset({"password"}), {})

    async def change() -> int:
        changing = asyncio.create_task(key_change.change_running_platform_key(layout, vault, commits_within_s=0.3))
        await asyncio.sleep(0.15)
        control = SqliteDocuments(layout.control)
        with control.transaction() as transaction:
            transaction.put("connections", [("a/3", dumps({"auth": late}))])
        control.close()
        return await changing

    assert asyncio.run(change()) == 3
    opened(layout)
    assert len(read_keys(layout.platform_key)) == 1
    control = SqliteDocuments(layout.control, readonly=True)
    held = loads(control.get("connections", "a/3") or b"")["auth"]
    for each in (vault, secrets.Vault.open(layout.platform_key)):
        assert each.unseal(secrets.sealed_text(held["password"])) == "sealed before, stored after"
    control.close()


def ciphertexts(path: Path) -> set[bytes]:
    """Return every token of Fernet in a store's files, live or not."""
    files = [path, path.with_name(f"{path.name}-wal")]
    return {found for file in files if file.exists() for found in re.findall(rb"gAAAAA[\w-]{40,}", file.read_bytes())}


def test_nothing_that_an_old_key_opens_stays_in_the_files_of_a_running_server(layout: Layout) -> None:
    origins, office, courier = (SqliteDocuments(path) for path in (layout.sources, layout.relay_admin, layout.courier))
    sources = Sources(origins, Vault(*read_keys(layout.relay_key), read_again=lambda: read_keys(layout.relay_key)))
    for padding in (3000, 9000, 0):  # documents of other lengths: what they replace lies in free pages and gaps
        sources.put("nw", SOURCE | {"ims": SOURCE["ims"] | {"clientSecret": f"older{'.' * padding}"}})
    sources.put("nw", SOURCE)
    control, vault = SqliteDocuments(layout.control), secrets.Vault.open(layout.platform_key)
    for number in range(200):
        sealed = secrets.sealed(vault, {"password": f"{number}", "pad": "." * number}, frozenset({"password"}), {})
        with control.transaction() as change:
            change.put("connections", [(f"a/{number % 20}-old", dumps(sealed))])
    with control.transaction() as change:
        change.delete("connections", [f"a/{number}-old" for number in range(20)])
    before = ciphertexts(layout.sources) | ciphertexts(layout.control)
    assert len(before) > 50

    stores = relay_side._Stores(
        journal=SqliteLog(layout.journal), origins=origins, sources=sources, office=office, courier=courier
    )
    relay_side._change_key(stores, layout, layout.relay_key)
    asyncio.run(key_change.change_running_platform_key(layout, vault, commits_within_s=0))
    assert (ciphertexts(layout.sources) | ciphertexts(layout.control)) & before == set()
    opened(layout)
    sources.put("nw", SOURCE)  # on the connection that was open meanwhile
    opened(layout)


def test_signing_keys_of_a_stopped_server_are_changed(layout: Layout) -> None:
    KeyRing(layout.signing_key)
    Signer(layout.event_keys).ensure()
    before = [path.read_bytes() for path in sorted(layout.event_keys.glob("events-*.pem"))]
    done = CliRunner().invoke(app, ["rotate-keys", "--tokens", "--events", "--data", str(layout.data)])
    assert done.output == (
        "platform: tokens are signed with a new key; 2 are live\n"
        "platform: events are signed with a new key 1 beside the other one\n"
    )
    after = [path.read_bytes() for path in sorted(layout.event_keys.glob("events-*.pem"))]
    assert [old == new for old, new in zip(before, after, strict=True)] == [False, True]
    done = CliRunner().invoke(app, ["rotate-keys", "--tokens", "--drop-old", "--data", str(layout.data)])
    assert "1 are live" in done.output
    assert CliRunner().invoke(app, ["rotate-keys", "--drop-old", "--data", str(layout.data)]).exit_code == 2


AUTH = {"authorization": "Basic " + base64.b64encode(b"client-1:secret").decode()}


@pytest.mark.parametrize(
    ("method", "headers", "content", "status"),
    [
        ("POST", {}, b'{"what":["tokens"]}', 401),
        ("POST", {"authorization": "Basic !"}, b'{"what":["tokens"]}', 401),
        ("GET", AUTH, b"", 405),
        ("POST", AUTH, b"", 400),
        ("POST", AUTH, b'{"what":[]}', 400),
        ("POST", AUTH, b'{"what":["all"]}', 400),
        ("POST", AUTH, b'{"what":["tokens"],"dropOld":"yes"}', 400),
        ("POST", AUTH, b'{"what":["tokens","events","secrets"]}', 200),
    ],
)
def test_keys_are_changed_by_an_administrator_alone(
    layout: Layout, method: str, headers: dict[str, str], content: bytes, status: int
) -> None:
    async def reseal() -> int:
        return 7

    control = SqliteDocuments(layout.control)
    tokens = Tokens(control, KeyRing(layout.signing_key, outlives_s=60))
    desk = KeyDesk(lambda who, secret: (who, secret) == ("client-1", "secret"), reseal, tokens, Signer(layout.event_keys))

    async def call() -> httpx.Response:
        transport = httpx.ASGITransport(app=own_api.asgi(desk.rotate))
        async with httpx.AsyncClient(transport=transport, base_url="http://platform.test") as client:
            return await client.request(method, "/capstream/keys/rotate", headers=headers, content=content)

    answer = asyncio.run(call())
    assert answer.status_code == status
    assert (answer.json() == {"tokens": 2, "events": 1, "secrets": 7}) is (status == 200)
    control.close()
