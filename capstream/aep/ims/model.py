"""Organisations and API clients: who may ask for a token, and with which secret. Source: ims.md 9."""

import hmac
import os
import secrets
import uuid
from hashlib import scrypt, sha256

import msgspec

from capstream.aep.call import Caller
from capstream.aep.ims.tokens import Standing, Token, Tokens
from capstream.kernel.errors import InputError
from capstream.storage.ports import Documents

SCOPES = ("openid", "AdobeID", "read_organizations", "additional_info.projectedProductContext", "session")
"""The documented scope set for Experience Platform."""

PRODUCT_PROFILE = "AEP-Default-All-Users"
MOST_SECRETS = 2
"""Secrets that may be valid at once, so that one can be replaced while the other works."""

_ORGANISATIONS = "organisations"
_CLIENTS = "clients"


class Organisation(msgspec.Struct, frozen=True, kw_only=True):
    """An organisation: everything else belongs to one."""

    id: str  #: 24 hex + `@AdobeOrg`
    name: str
    tenant_id: str  #: without underscore
    created_ms: int


class Secret(msgspec.Struct, frozen=True, kw_only=True):
    """A client secret, as a hash.

    A generated secret has 192 random bits, which nobody can guess: one SHA-256 is enough and costs a token request
    nothing. One chosen by a person may be guessable, so it is stretched with scrypt.
    """

    id: str
    salt: str
    hash: str
    stretched: bool
    created_ms: int
    expires_ms: int = 0  #: 0 = never

    def matches(self, secret: str, now_ms: int) -> bool:
        """Return whether `secret` is this one and still valid."""
        live = not self.expires_ms or now_ms < self.expires_ms
        return live and hmac.compare_digest(_hash(secret, bytes.fromhex(self.salt), self.stretched), self.hash)


class Client(msgspec.Struct, frozen=True, kw_only=True):
    """A registered API client and the technical account it acts as."""

    client_id: str
    name: str
    org_id: str
    user_id: str  #: technical account, `<24 hex>@techacct.adobe.com`
    email: str
    created_ms: int
    secrets: tuple[Secret, ...] = ()
    scopes: tuple[str, ...] = SCOPES
    forbidden_scopes: tuple[str, ...] = ()
    product_profiles: tuple[str, ...] = (PRODUCT_PROFILE,)
    org_admin: bool = False  #: administers the organisation: accounts, roles, every sandbox
    jwt_keys: tuple[str, ...] = ()  #: PEM public keys for the signed-JWT exchange


def new_org_id() -> str:
    """Return a new organisation id: 24 upper-case hex and `@AdobeOrg`."""
    return f"{secrets.token_hex(12).upper()}@AdobeOrg"


def new_client_id() -> str:
    """Return a new client id: 32 lower-case hex."""
    return uuid.uuid4().hex


def new_secret() -> str:
    """Return a new client secret: `p8e-` and 32 of `[A-Za-z0-9_-]`, which survives clients that do not URL-encode it."""
    return f"p8e-{secrets.token_urlsafe(24)}"


def _hash(secret: str, salt: bytes, stretched: bool) -> str:
    if stretched:
        return scrypt(secret.encode(), salt=salt, n=2**13, r=8, p=1).hex()
    return sha256(salt + secret.encode()).hexdigest()


def _new_secret_record(secret: str, now_ms: int, *, stretched: bool) -> Secret:
    salt = os.urandom(16)
    hashed = _hash(secret, salt, stretched)
    return Secret(id=uuid.uuid4().hex, salt=salt.hex(), hash=hashed, stretched=stretched, created_ms=now_ms)


class Organisations:
    """The organisations of this installation; usually one."""

    def __init__(self, documents: Documents) -> None:
        self._documents = documents

    def get(self, org_id: str) -> Organisation | None:
        """Return the organisation, or None."""
        body = self._documents.get(_ORGANISATIONS, org_id)
        return msgspec.json.decode(body, type=Organisation) if body else None

    def all(self) -> list[Organisation]:
        """Return every organisation."""
        return [msgspec.json.decode(body, type=Organisation) for _, body in self._documents.scan(_ORGANISATIONS)]

    def create(self, name: str, tenant_id: str, *, now_ms: int, org_id: str = "") -> Organisation:
        """Store and return a new organisation; makes an id when none is given."""
        made = Organisation(id=org_id or new_org_id(), name=name, tenant_id=tenant_id, created_ms=now_ms)
        with self._documents.transaction() as change:
            if not change.insert(_ORGANISATIONS, [(made.id, msgspec.json.encode(made))]):
                raise InputError("org_id", f"organisation {made.id} exists already", "choose another id or leave it out")
        return made


class Clients:
    """The registered API clients. Decoded records are kept until the store changes: every request looks one up."""

    def __init__(self, documents: Documents) -> None:
        self._documents = documents
        self._decoded: dict[str, Client | None] = {}
        self._decoded_at = -1

    def get(self, client_id: str) -> Client | None:
        """Return the client, or None."""
        version = self._documents.version()
        if version != self._decoded_at:
            self._decoded, self._decoded_at = {}, version
        if client_id not in self._decoded:
            body = self._documents.get(_CLIENTS, client_id)
            if body is None:
                return None  # not remembered: anybody can send any number of unknown ids
            self._decoded[client_id] = msgspec.json.decode(body, type=Client)
        return self._decoded[client_id]

    def all(self, org_id: str) -> list[Client]:
        """Return the clients of an organisation in the order of ids."""
        clients = (msgspec.json.decode(body, type=Client) for _, body in self._documents.scan(_CLIENTS))
        return [client for client in clients if client.org_id == org_id]

    def is_known(self, client_id: str) -> bool:
        """Return whether the client id is registered."""
        return self.get(client_id) is not None

    def is_bound(self, client_id: str) -> bool:
        """Return whether the client belongs to a product profile."""
        client = self.get(client_id)
        return client is not None and bool(client.product_profiles)

    def create(
        self, org_id: str, *, name: str, now_ms: int, client_id: str = "", secret: str = "", org_admin: bool = False
    ) -> tuple[Client, str]:
        """Store a new client; return it and its secret, which is shown this once and kept only as a hash.

        Errors: InputError when the client id is taken.
        """
        shown = secret or new_secret()
        account = secrets.token_hex(12).upper()
        made = Client(
            client_id=client_id or new_client_id(),
            name=name,
            org_id=org_id,
            user_id=f"{account}@techacct.adobe.com",
            email=f"svc-{account[:8].lower()}@example.com",
            created_ms=now_ms,
            secrets=(_new_secret_record(shown, now_ms, stretched=bool(secret)),),
            org_admin=org_admin,
        )
        with self._documents.transaction() as change:
            if not change.insert(_CLIENTS, [(made.client_id, msgspec.json.encode(made))]):
                raise InputError("client_id", f"client {made.client_id} exists already", "choose another id or leave it out")
        return made, shown

    def save(self, client: Client) -> None:
        """Store a changed client."""
        with self._documents.transaction() as change:
            change.put(_CLIENTS, [(client.client_id, msgspec.json.encode(client))])

    def add_secret(self, client_id: str, now_ms: int) -> str:
        """Give the client one more secret and return it. Errors: InputError when two are live already, or no such client."""
        client = self._existing(client_id)
        live = [one for one in client.secrets if not one.expires_ms or now_ms < one.expires_ms]
        if len(live) >= MOST_SECRETS:
            raise InputError("secrets", f"{client_id} has {MOST_SECRETS} live secrets", "revoke one of them first")
        shown = new_secret()
        added = _new_secret_record(shown, now_ms, stretched=False)
        self.save(msgspec.structs.replace(client, secrets=(*live, added)))
        return shown

    def revoke_secret(self, client_id: str, secret_id: str) -> None:
        """Make a secret invalid. Tokens it has earned live on until they expire. Errors: InputError when it is unknown."""
        client = self._existing(client_id)
        kept = tuple(one for one in client.secrets if one.id != secret_id)
        if len(kept) == len(client.secrets):
            raise InputError("secrets", f"{client_id} has no secret {secret_id}", "list the client's secrets for their ids")
        self.save(msgspec.structs.replace(client, secrets=kept))

    def remove(self, client_id: str) -> None:
        """Revoke the account: its secrets and tokens are good no longer."""
        with self._documents.transaction() as change:
            change.delete(_CLIENTS, [client_id])

    def is_admin(self, caller: Caller) -> bool:
        """Return whether the caller's account administers its organisation."""
        client = self.get(caller.client_id)
        return client is not None and client.org_admin and client.user_id == caller.user_id

    def accepts(self, client: Client, secret: str, now_ms: int) -> bool:
        """Return whether `secret` is one of the client's live secrets."""
        return any(one.matches(secret, now_ms) for one in client.secrets)

    def _existing(self, client_id: str) -> Client:
        client = self.get(client_id)
        if client is None:
            raise InputError("client_id", f"client {client_id} is not registered", "create it first")
        return client


__all__ = [
    "MOST_SECRETS",
    "PRODUCT_PROFILE",
    "SCOPES",
    "Client",
    "Clients",
    "Organisation",
    "Organisations",
    "Secret",
    "Standing",
    "Token",
    "Tokens",
    "new_client_id",
    "new_org_id",
    "new_secret",
]
