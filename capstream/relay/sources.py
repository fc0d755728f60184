"""The relay's sources: one Capillary webhook each, with where its events go. Kept in `sources.db`.

The gateway writes, the courier reads; both hold the decoded records until `version()` of the store moves.
"""

import re
import secrets
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Literal
from urllib.parse import urlsplit

import msgspec

from capstream.capillary.translation_config import TranslationConfig
from capstream.kernel.clock import Clock, system_clock
from capstream.kernel.errors import InputError
from capstream.kernel.json import Json, dumps, loads
from capstream.relay.misfits import misfit
from capstream.relay.vault import Vault
from capstream.relay.webhook_auth import Form, Guard, expected_value
from capstream.storage.ports import Documents

MASK = "xxxx"
_COLLECTION = "sources"
_PAST = "past_translations"  # `source/until when`, the settings that held until then
_HEX_KEY = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"

_KEY_LENGTH = 64
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}")

Preset = Literal["capillary-raw", "adobe-ready"]
"""What the bodies are: Capillary's events, or payloads that only have to be forwarded. Source: capillary.md 1.8."""

EnrichmentMode = Literal["required", "best_effort", "off"]


class WebhookAuth(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """How webhooks prove themselves. At most two secrets are live, so that one can be changed without a gap."""

    form: Form = "bearer"
    header: str = "Authorization"
    secrets: tuple[str, ...] = ()  #: only on the way in
    digests: tuple[str, ...] = ()  #: only in the store
    failure_status: Literal[401, 503] = 401
    allow: tuple[str, ...] = ()  #: addresses or networks; empty allows all


class Ims(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """Where tokens come from."""

    url: str
    client_id: str
    client_secret: str = MASK
    path: str = "/ims/token/v3"
    scopes: tuple[str, ...] = ("openid", "AdobeID", "read_organizations", "additional_info.projectedProductContext", "session")


class CapillaryApi(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """The Capillary API that enriches events. Source: capillary.md 5."""

    host: str
    key: str
    secret: str = MASK
    per_minute: int = 300
    concurrency: int = 4
    mode: EnrichmentMode = "best_effort"


class BatchLimits(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """What one request to the inlet may hold. Source: streaming-ingestion.md 16."""

    records: int = 500
    bytes: int = 900_000
    lanes: int = 4  #: requests in flight for each flow
    requests_per_second: int = 0  #: of the organisation; 0: what Adobe publishes for its addresses, no limit for others
    messages_per_second: int = 0  #: likewise
    gzip: bool = False


class Source(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """One webhook registration and its way into Experience Platform."""

    key: str
    org_id: str  #: IMS organisation
    sandbox: str = "prod"
    enabled: bool = True
    preset: Preset = "capillary-raw"
    auth: WebhookAuth = WebhookAuth()
    body_bytes: int = 0  #: largest webhook body; 0: the relay's limit
    outbox_bytes: int = 0  #: disk that what waits for one of its dataflows may take; 0: the relay's limit
    inlet_url: str = ""
    profile_flow_id: str = ""
    event_flow_id: str = ""
    ims: Ims
    translation: dict[str, Json] = {}
    capillary_api: CapillaryApi | None = None
    limits: BatchLimits = BatchLimits()


_decode = msgspec.json.Decoder(Source).decode


def _checked(key: str, body: Json) -> Source:
    if not key.strip(".") or len(key) > _KEY_LENGTH or not set(key) <= set(_HEX_KEY):
        reason = f"it is no text of up to {_KEY_LENGTH} letters, digits, dots, underscores and hyphens"
        raise InputError("source key", reason, "choose another key")
    try:
        source = msgspec.convert({**body, "key": key}, Source)
    except (msgspec.ValidationError, TypeError) as error:
        raise misfit(error, Source, whole=f"source {key}") from error
    _check_auth(source.auth)
    _check_numbers(source)
    _check_addresses(source)
    translation_of(source)
    try:
        Guard(Vault(_ANY_KEY), form=source.auth.form, header=source.auth.header, digests=(), allow=source.auth.allow)
    except ValueError as error:
        raise InputError("auth.allow", str(error), "use addresses or networks such as 192.0.2.0/24") from error
    return source


def _check_auth(auth: WebhookAuth) -> None:
    if len(auth.secrets) > 2:
        raise InputError("auth.secrets", "at most two secrets are live at once", "leave out the oldest")
    for secret in auth.secrets:
        if secret != MASK:
            _check_secret("auth.secrets", auth.form, secret)
    if auth.form == "header" and not _HEADER.fullmatch(auth.header):
        raise InputError("auth.header", f"{auth.header[:40]!r} is no name of a header", "use one such as X-Api-Key")
    if auth.digests:
        raise InputError("auth.digests", "it is computed by the relay", "send auth.secrets")


def _check_secret(path: str, form: Form, secret: str) -> None:
    """Refuse a secret that no header can carry, and the empty one, which every request would have. Errors: InputError."""
    user, found, password = secret.partition(":")
    if form == "basic" and not (user and found and password):
        raise InputError(path, "a basic secret is `user:password`", "send both")
    if not secret.strip() or secret != secret.strip() or not secret.isprintable() or (form != "basic" and not secret.isascii()):
        reason = "a secret is empty, or has blanks at an end or characters that no header can carry"
        raise InputError(path, reason, "use 32 random characters or more, ASCII without blanks")


def _check_numbers(source: Source) -> None:
    limits, api = source.limits, source.capillary_api
    known = [
        ("bodyBytes", source.body_bytes, 0, 1 << 30),
        ("outboxBytes", source.outbox_bytes, 0, 1 << 50),
        ("limits.records", limits.records, 1, 10_000),
        ("limits.bytes", limits.bytes, 1_000, 1_000_000),  # the inlet answers 413 above 1 MB
        ("limits.lanes", limits.lanes, 1, 64),
        ("limits.requestsPerSecond", limits.requests_per_second, 0, 100_000),
        ("limits.messagesPerSecond", limits.messages_per_second, 0, 1_000_000),
    ]
    if api is not None:
        known += [
            ("capillaryApi.perMinute", api.per_minute, 1, 1_000_000),
            ("capillaryApi.concurrency", api.concurrency, 1, 1000),
        ]
    for path, value, least, most in known:
        if not least <= value <= most:
            raise InputError(path, f"{value} is out of bounds", f"send a number from {least} to {most}")


def _check_addresses(source: Source) -> None:
    api = source.capillary_api
    for path, url in (
        ("inletUrl", source.inlet_url),
        ("ims.url", source.ims.url),
        ("capillaryApi.host", api.host if api else ""),
    ):
        if url and not _is_address(url):
            raise InputError(path, f"{url[:60]!r} is no address", "use one such as https://example.com")


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 0) >= 0
    except ValueError:
        return False


_SALT = ("vault", "salt")  # collection and key of the salt of digests, sealed, once the key was changed
_ANY_KEY = b"A" * 43 + b"="


def translation_of(source: Source) -> TranslationConfig:
    """Return how the source's events are translated: bills are enriched as its Capillary API says, not at all without one.

    Errors: InputError that names a setting nobody knows or that is wrong.
    """
    mode = source.capillary_api.mode if source.capillary_api else "off"
    return replace(TranslationConfig.from_settings(source.translation), transaction_lines=mode)


class Sources:
    """All sources, decoded once per change of the store."""

    def __init__(self, documents: Documents, vault: Vault, clock: Clock = system_clock) -> None:
        self._documents = documents
        self._clock = clock
        salt = documents.get(*_SALT)
        self.vault = self._vault = vault if salt is None else vault.with_salt(bytes.fromhex(vault.open(salt.decode())))
        self._version = -1
        self._stored: tuple[Source, ...] = ()
        self.table: Mapping[str, Source] = MappingProxyType({})  #: secrets opened; replaced as a whole
        self.guards: Mapping[str, Guard] = MappingProxyType({})  #: enabled sources only
        self.translations: Mapping[str, TranslationConfig] = MappingProxyType({})
        self.refresh()

    def refresh(self) -> None:
        """Bring `table` and `guards` up to date with the store."""
        if (version := self._documents.version()) == self._version:
            return
        self._version = version
        stored = self._stored = tuple(_decode(body) for _, body in self._documents.scan(_COLLECTION))
        self.table = MappingProxyType({source.key: self._opened(source) for source in stored})
        self.guards = MappingProxyType({source.key: self._guard(source) for source in stored if source.enabled})
        self.translations = MappingProxyType({source.key: translation_of(source) for source in stored})

    def stored(self) -> tuple[Source, ...]:
        """Return the sources as they are stored: secrets sealed or digested."""
        return self._stored

    def put(self, key: str, body: Json) -> Source:
        """Store a source and return it as stored; secrets that are absent or masked stay as they are.

        Errors: InputError when a field is missing or wrong, or a new source comes without a secret.
        """
        source = _checked(key, body)
        self.refresh()
        held = self._documents.get(_COLLECTION, key)
        before = _decode(held) if held else None
        sealed = self._sealed(source, before)
        with self._documents.transaction() as transaction:
            transaction.put(_COLLECTION, [(key, dumps(sealed))])
            if before is not None and before.translation != sealed.translation:
                transaction.put(_PAST, [(f"{key}/{self._clock():013d}", dumps(before.translation))])
        self.refresh()
        return sealed

    def translation_at(self, key: str, at_ms: int) -> TranslationConfig:
        """Return how the events of a source were translated at a time. Errors: KeyError when there is no such source."""
        after = f"{key}/{at_ms:013d}"
        past = self._documents.scan(_PAST, prefix=f"{key}/", after=after, limit=1)
        if not past:
            return self.translations[key]
        return translation_of(msgspec.structs.replace(self.table[key], translation=loads(past[0][1])))

    def rotate(self, key: str, secret: str = "") -> tuple[Source, str]:
        """Make `secret`, or one made up here, a live secret beside the newest one; return the source and the secret.

        Errors: InputError when there is no such source, or the secret is none.
        """
        held = self._held(key)
        made = secret or _new_secret(held.auth.form)
        _check_secret("secret", held.auth.form, made)
        digest = self._vault.digest(expected_value(held.auth.form, made)).hex()
        return self._with_digests(held, (digest, *held.auth.digests[:1])), made

    def retire(self, key: str) -> Source:
        """Let the newest secret alone be live. Errors: InputError when there is no such source."""
        held = self._held(key)
        return self._with_digests(held, held.auth.digests[:1])

    def _held(self, key: str) -> Source:
        held = self._documents.get(_COLLECTION, key)
        if held is None:
            raise InputError(f"source {key}", "there is no such source", "see the list of sources")
        return _decode(held)

    def _with_digests(self, held: Source, digests: tuple[str, ...]) -> Source:
        changed = msgspec.structs.replace(held, auth=msgspec.structs.replace(held.auth, digests=digests))
        with self._documents.transaction() as transaction:
            transaction.put(_COLLECTION, [(held.key, dumps(changed))])
        self.refresh()
        return changed

    def delete(self, key: str) -> bool:
        """Remove a source; return whether it existed."""
        with self._documents.transaction() as transaction:
            gone = transaction.delete(_COLLECTION, [key])
        self.refresh()
        return bool(gone)

    def _guard(self, source: Source) -> Guard:
        auth = source.auth
        digests = [bytes.fromhex(digest) for digest in auth.digests]
        guard = Guard(self._vault, form=auth.form, header=auth.header, digests=digests, allow=auth.allow)
        guard.body_bytes = source.body_bytes
        return guard

    def _sealed(self, source: Source, held: Source | None) -> Source:
        auth, ims, api = source.auth, source.ims, source.capillary_api
        held_api = held.capillary_api if held else None
        changed = msgspec.structs.replace
        ims_secret = self._seal_or_keep("ims.clientSecret", ims.client_secret, held.ims.client_secret if held else None)
        if api is not None:
            api_secret = self._seal_or_keep("capillaryApi.secret", api.secret, held_api.secret if held_api else None)
            api = changed(api, secret=api_secret)
        digests = self._digests(auth, held.auth if held else None)
        return changed(
            source,
            auth=changed(auth, secrets=(), digests=digests),
            ims=changed(ims, client_secret=ims_secret),
            capillary_api=api,
        )

    def _digests(self, auth: WebhookAuth, held: WebhookAuth | None) -> tuple[str, ...]:
        given = [secret for secret in auth.secrets if secret != MASK]
        if given:
            return tuple(self._vault.digest(expected_value(auth.form, secret)).hex() for secret in given)
        if held is None:
            raise InputError("auth.secrets", "a source needs a webhook secret", "send one or two secrets")
        if auth.form != held.form:
            raise InputError("auth.secrets", "another form of authentication needs its secret", "send auth.secrets")
        return held.digests

    def _seal_or_keep(self, path: str, secret: str, held: str | None) -> str:
        if secret != MASK:
            return self._vault.seal(secret)
        if not held:
            raise InputError(path, "it is missing", "send the secret; it is stored encrypted")
        return held

    def _opened(self, source: Source) -> Source:
        changed = msgspec.structs.replace
        api = source.capillary_api
        return changed(
            source,
            ims=changed(source.ims, client_secret=self._vault.open(source.ims.client_secret)),
            capillary_api=api and changed(api, secret=self._vault.open(api.secret)),
        )


def reseal_sources(documents: Documents, vault: Vault) -> int:
    """Seal what is stored with the first key of `vault`; return how many secrets there were. All of it, or nothing.

    Digests of webhook secrets stay: their salt is kept from now on, sealed as a secret of its own.
    Errors: InputError when a secret does not open, StorageUnavailable.
    """
    stored = [_decode(body) for _, body in documents.scan(_COLLECTION)]
    salt = documents.get(*_SALT)
    kept = vault.salt.hex() if salt is None else vault.open(salt.decode())
    with documents.transaction() as transaction:
        transaction.put(_SALT[0], [(_SALT[1], vault.seal(kept).encode())])
        for source in stored:
            ims = msgspec.structs.replace(source.ims, client_secret=vault.seal(vault.open(source.ims.client_secret)))
            api = source.capillary_api and msgspec.structs.replace(
                source.capillary_api, secret=vault.seal(vault.open(source.capillary_api.secret))
            )
            fresh = msgspec.structs.replace(source, ims=ims, capillary_api=api)
            transaction.put(_COLLECTION, [(source.key, dumps(fresh))])
    return sum(1 + (source.capillary_api is not None) for source in stored)


def _new_secret(form: Form) -> str:
    made = secrets.token_urlsafe(32)
    return f"capillary:{made}" if form == "basic" else made


def masked(source: Source) -> Json:
    """Return the source as JSON for people: secrets replaced by `xxxx`."""
    changed = msgspec.structs.replace
    api = source.capillary_api
    shown = changed(
        source,
        auth=changed(source.auth, secrets=(MASK,) * len(source.auth.digests), digests=()),
        ims=changed(source.ims, client_secret=MASK),
        capillary_api=api and changed(api, secret=MASK),
    )
    view: dict[str, Json] = loads(dumps(shown))
    del view["auth"]["digests"]
    return view
