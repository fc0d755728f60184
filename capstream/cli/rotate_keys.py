"""`capstream rotate-keys`: new keys, in a running server or a stopped one."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from capstream import config
from capstream.aep.alerts.signing import Signer
from capstream.aep.ims.keys import KeyRing
from capstream.aep.ims.tokens import longest_life_s
from capstream.cli.client import PlatformClient, Refused
from capstream.cli.options import CredentialsFile, find
from capstream.config import Settings
from capstream.kernel.json import Json
from capstream.key_change import change_platform_key, change_relay_key
from capstream.layout import Layout
from capstream.relay.audit import Audit
from capstream.relay_keys import key_file
from capstream.storage.sqlite import SqliteDocuments
from capstream.supervisor import locked, runs

_ABSENT = (404, 405)
_SAID = {
    "relay": "relay: {} secrets are sealed with a new key",
    "secrets": "platform: {} secrets are sealed with a new key",
    "tokens": "platform: tokens are signed with a new key; {} are live",
    "events": "platform: events are signed with a new key {} beside the other one",
}


def rotate_keys(
    tokens: Annotated[bool, typer.Option("--tokens", help="The key that signs access tokens; older tokens stay good.")] = False,
    drop_old: Annotated[
        bool, typer.Option("--drop-old", help="With --tokens: older tokens are void at once, for a leak.")
    ] = False,
    events: Annotated[bool, typer.Option("--events", help="The older of the two keys that sign events of alerts.")] = False,
    secrets: Annotated[bool, typer.Option("--secrets", help="The keys that seal stored secrets; so without any option.")] = False,
    data: Annotated[Path | None, typer.Option(help="The server's data folder. Default: .capstream")] = None,
    credentials: CredentialsFile = None,
) -> None:
    """Change keys: those that seal stored secrets of the relay's sources and the platform's connections, or those that sign.

    The server may run or be stopped. Cut off at any moment, all secrets still open; run it again to finish. Webhook secrets stay.
    """
    kinds = [name for name, is_given in (("secrets", secrets), ("tokens", tokens), ("events", events)) if is_given] or ["secrets"]
    if drop_old and not tokens:
        raise typer.BadParameter("--drop-old is about --tokens")
    settings = config.load(data=data)
    if credentials is not None or runs(settings.data):
        done = _running(credentials or Layout(settings.data).credentials, kinds, drop_old)
    else:
        with locked(settings.data):
            done = _stopped(settings, kinds, drop_old)
    if not done:
        typer.echo("nothing was changed: this server has no such keys", err=True)
        raise typer.Exit(1)
    for name, count in done:
        typer.echo(_SAID[name].format(count))


def _running(credentials: Path, kinds: Sequence[str], drop_old: bool) -> list[tuple[str, int]]:
    done: list[tuple[str, int]] = []
    with PlatformClient(find(credentials)) as client:
        if "secrets" in kinds and (found := _if_served(lambda: client.relay("POST", "/relay/keys/rotate"))):
            done.append(("relay", found["secrets"]))
        body = {"what": list(kinds), "dropOld": drop_old}
        found = _if_served(lambda: client.administration("POST", "/capstream/keys/rotate", body=body))
        done += [(name, found[name]) for name in kinds if found]
    return done


def _if_served(call: Callable[[], Json]) -> Json:
    """Return the answer; None where the server has only the other half."""
    try:
        return call()
    except Refused as refused:
        if refused.status not in _ABSENT:
            raise
        return None


def _stopped(settings: Settings, kinds: Sequence[str], drop_old: bool) -> list[tuple[str, int]]:
    layout, done = Layout(settings.data), list[tuple[str, int]]()
    if "secrets" in kinds and layout.sources.exists():
        done.append(("relay", change_relay_key(layout, key_file(settings, layout))))
    if layout.control.exists():
        if "secrets" in kinds:
            done.append(("secrets", change_platform_key(layout)))
        if "tokens" in kinds:
            ring = KeyRing(layout.signing_key, outlives_s=longest_life_s(settings.ims.token_ttl_s))
            done.append(("tokens", ring.rotate(drops_old=drop_old)))
        if "events" in kinds:
            done.append(("events", Signer(layout.event_keys).rotate()))
    _note(settings, layout, done)
    return done


def _note(settings: Settings, layout: Layout, done: Sequence[tuple[str, int]]) -> None:
    office = SqliteDocuments(layout.relay_admin)
    try:
        audit = Audit(office, settings.clock())
        for name, count in done:
            target = "platform" if name == "secrets" else name
            details = {"secrets": count} if name in ("relay", "secrets") else {"keys": count}
            audit.note(who="command line", address="", act="rotate_keys", target=target, status=200, details=details)
    finally:
        office.close()
