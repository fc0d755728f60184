"""New keys for what is sealed at rest: the relay's secrets and those of the control plane.

Each key file gets the new key beside the old one, then everything is sealed again, then the old key goes. Cut off at any moment,
every secret still opens, and doing it again finishes it. In a running server the gateway does it; a process that meets a secret
it cannot open reads the key file again.
"""

import asyncio
from collections.abc import Iterator
from pathlib import Path

from capstream.aep.flow_service import secrets
from capstream.aep.flow_service.landing_zone import resealed_secrets
from capstream.kernel.json import Json, dumps, loads
from capstream.layout import Layout
from capstream.relay.sources import reseal_sources
from capstream.relay.vault import Vault
from capstream.storage.key_file import add_key, drop_old_keys
from capstream.storage.ports import Item, Transaction
from capstream.storage.sqlite import SqliteDocuments
from capstream.storage.sqlite_files import compact

_MARK = b'"sealed"'
_COMMITS_WITHIN_S = 10.0  # whoever sealed a secret with the old key has stored it by then


def change_relay_key(layout: Layout, key_file: Path) -> int:
    """Seal a stopped relay's secrets with a new key; return how many there were.

    Errors: InputError, OSError, StorageUnavailable.
    """
    keys = add_key(key_file)
    documents = SqliteDocuments(layout.sources)
    try:
        count = reseal_sources(documents, Vault(*keys))
    finally:
        documents.close()
    compact(layout.sources)  # the old ciphertexts lie in free pages and gaps until then
    drop_old_keys(key_file)
    return count


def change_platform_key(layout: Layout) -> int:
    """Seal the secrets of a stopped control plane with a new key; return how many there were. Errors as `change_relay_key`."""
    add_key(layout.platform_key)
    count = _reseal(layout, secrets.Vault.open(layout.platform_key))
    compact(layout.control)
    drop_old_keys(layout.platform_key)
    return count


async def change_running_platform_key(
    layout: Layout, vault: secrets.Vault, *, commits_within_s: float = _COMMITS_WITHIN_S
) -> int:
    """As `change_platform_key` in the gateway; `vault` is the one its services seal with.

    Takes some seconds: what was sealed with the old key before, and stored after, is sealed again in a second round.
    """
    add_key(layout.platform_key)
    vault.renew()
    await asyncio.to_thread(_reseal, layout, vault)
    await asyncio.sleep(commits_within_s)
    count = await asyncio.to_thread(_reseal, layout, vault)
    await asyncio.to_thread(compact, layout.control)
    drop_old_keys(layout.platform_key)
    vault.renew()
    return count


def _reseal(layout: Layout, vault: secrets.Vault) -> int:
    """Seal everything with the vault's first key, on a connection of its own; return how many secrets there were."""
    control = SqliteDocuments(layout.control)
    try:
        found = {name: [key for key, _ in _sealed_in(control, name)] for name in control.collections()}
        with control.transaction() as change:  # the search before it may be long: others write meanwhile
            count = sum(_resealed(change, vault, name, keys) for name, keys in found.items() if keys)
            count += resealed_secrets(change, vault)
        return count
    finally:
        control.close()


def _resealed(change: Transaction, vault: secrets.Vault, collection: str, keys: list[str]) -> int:
    count = 0
    for key, body in change.get_many(collection, keys).items():
        fresh, sealed = secrets.resealed(vault, loads(body))
        if sealed:
            change.put(collection, [(key, dumps(fresh))])
            count += sealed
    return count


def _sealed_in(control: SqliteDocuments, collection: str) -> Iterator[Item]:
    after = ""
    while page := control.scan(collection, after=after, limit=500):
        after = page[-1][0]
        yield from ((key, body) for key, body in page if _MARK in body and _is_json(body))


def _is_json(body: bytes) -> bool:
    try:
        found: Json = loads(body)
    except ValueError:
        return False
    return isinstance(found, dict | list)
