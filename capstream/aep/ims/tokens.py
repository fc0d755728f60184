"""Access tokens: signed, checked, revoked. Source: ims.md 5."""

import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

import jwt

from capstream.aep.call import Caller
from capstream.aep.ims.keys import KeyRing
from capstream.kernel.json import Json, dumps, loads
from capstream.storage.ports import Documents

_REVOKED = "ims_revoked"
ACCESS, CODE, REFRESH = "access_token", "authorization_code", "refresh_token"
"""Types of tokens."""

_LIFETIMES_MS: Mapping[str, int] = {CODE: 600_000, REFRESH: 14 * 86_400_000}  # ASSUMPTION
_MOST_CACHED = 4096


def longest_life_s(ttl_s: int) -> float:
    """Return how long a token of any type may live, when access tokens live `ttl_s`."""
    return max(ttl_s, *(life / 1000 for life in _LIFETIMES_MS.values()))


class Standing(StrEnum):
    """What is known about a token."""

    GOOD = "good"
    EXPIRED = "expired"  #: `created_at` + `expires_in` has passed
    REVOKED = "revoked"  #: invalidated before its time
    BAD = "bad_token"  #: no token of ours


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A token whose signature is ours."""

    id: str
    caller: Caller
    expires_ms: int
    claims: dict[str, Json]


class Tokens:
    """Issues, checks and revokes access tokens. Revocations are durable; a checked signature is remembered by token text."""

    def __init__(
        self,
        documents: Documents,
        keys: KeyRing,
        *,
        ttl_s: int = 86_400,
        account_exists: Callable[[str], bool] = lambda _: True,
    ) -> None:
        """`account_exists` tells whether a client is still registered: tokens of a revoked account are good no longer."""
        self._documents = documents
        self._keys = keys
        self._ttl_ms = ttl_s * 1000
        self._account_exists = account_exists
        self._checked: dict[str, Token] = {}
        self._revoked: frozenset[str] = frozenset()
        self._revoked_at = -1  # version of the store the set was read at

    @property
    def ttl_ms(self) -> int:
        """Return how long a token lives."""
        return self._ttl_ms

    def issue(self, caller: Caller, now_ms: int, kind: str = ACCESS) -> str:
        """Return a new token that speaks for `caller`; a code and a refresh token only earn access tokens."""
        claims = {
            "id": f"{now_ms}_{uuid.uuid4()}_ue1",
            "type": kind,
            "client_id": caller.client_id,
            "user_id": caller.user_id,
            "as": "ims-na1",
            "org": caller.org_id,
            "scope": ",".join(sorted(caller.scopes)),
            "created_at": str(now_ms),
            "expires_in": str(_LIFETIMES_MS.get(kind, self._ttl_ms)),
        }
        key_id, key = self._keys.newest()
        return jwt.encode(claims, key, algorithm="RS256", headers={"kid": key_id, "itt": "at", "typ": ""})

    def verify(self, token: str, now_ms: int) -> Caller | None:
        """Return who the token speaks for; None when it is invalid, expired or revoked."""
        known = self._read(token)
        if known and known.claims["type"] != ACCESS:
            return None
        return known.caller if known and self._standing(known, now_ms) is Standing.GOOD else None

    def inspect(self, token: str, now_ms: int) -> tuple[Standing, Token | None]:
        """Return the standing of a token, and the token when its signature is ours."""
        known = self._read(token)
        return (self._standing(known, now_ms), known) if known else (Standing.BAD, None)

    def revoke(self, token: Token, now_ms: int) -> None:
        """Make the token invalid for good; durable when it returns. Forgets revocations of tokens that have expired."""
        with self._documents.transaction() as change:
            outdated = [key for key, body in change.scan(_REVOKED) if loads(body)["expires"] < now_ms]
            change.delete(_REVOKED, outdated)
            change.put(_REVOKED, [(token.id, dumps({"expires": token.expires_ms}))])

    def key_set(self) -> dict[str, Json]:
        """Return the public keys as JWKS."""
        return self._keys.key_set()

    def rotate(self, *, drops_old: bool = False) -> int:
        """Sign with a new key from now on; return how many are live. `drops_old`: tokens that were issued are void at once."""
        live = self._keys.rotate(drops_old=drops_old)
        if drops_old:
            self._checked.clear()
        return live

    def _read(self, token: str) -> Token | None:
        known = self._checked.get(token)
        if known is not None:
            return known
        known = self._decode(token)
        if known:
            if len(self._checked) >= _MOST_CACHED:
                self._checked.pop(next(iter(self._checked)))
            self._checked[token] = known
        return known

    def _decode(self, token: str) -> Token | None:
        try:
            public = self._keys.public(jwt.get_unverified_header(token).get("kid", ""))
            if public is None:
                return None
            claims = jwt.decode(token, public, algorithms=["RS256"], options={"verify_aud": False})
            if claims.get("type") not in (ACCESS, CODE, REFRESH):
                return None
            caller = Caller(
                org_id=claims["org"],
                client_id=claims["client_id"],
                user_id=claims["user_id"],
                scopes=scopes_of(claims["scope"]),
            )
            expires_ms = int(claims["created_at"]) + int(claims["expires_in"])
            return Token(id=claims["id"], caller=caller, expires_ms=expires_ms, claims=claims)
        except (jwt.InvalidTokenError, KeyError, ValueError):
            return None

    def _standing(self, token: Token, now_ms: int) -> Standing:
        if token.expires_ms <= now_ms:
            return Standing.EXPIRED
        version = self._documents.version()
        if version != self._revoked_at:
            self._revoked = frozenset(key for key, _ in self._documents.scan(_REVOKED))
            self._revoked_at = version
        gone = token.id in self._revoked or not self._account_exists(token.caller.client_id)
        return Standing.REVOKED if gone else Standing.GOOD


def scopes_of(text: str) -> frozenset[str]:
    """Return the scopes in `text`: separated by commas or blanks, in any order, repeated or not. Source: ims.md 3."""
    return frozenset(_parts(text))


def _parts(text: str) -> Iterable[str]:
    return text.replace(",", " ").split()
