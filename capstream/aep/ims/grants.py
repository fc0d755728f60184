"""How a client earns an access token: with its secret, or with a JWT it has signed. Source: ims.md 4, 6."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import jwt

from capstream.aep.call import ApiError, Caller
from capstream.aep.ims.model import SCOPES, Client, Clients, Tokens
from capstream.aep.ims.tokens import ACCESS, CODE, REFRESH, Standing, scopes_of
from capstream.kernel.json import Json

OFFLINE = "offline_access"
"""The scope that earns a refresh token. Source: ims.md 4."""

_JWT_LIFETIME_S = 86_400
_JWT_ALGORITHMS = ["RS256"]
_BAD_JWT = "Could not match JWT signature to any of the bindings"


def refused(status: int, error: str, description: str) -> ApiError:
    """Return a token service error; it never holds `expires_in`, which a client would trust."""
    return ApiError(status, {"error": error, "error_description": description})


@dataclass(frozen=True, slots=True, kw_only=True)
class Granted:
    """What a request earned."""

    token: str
    more: Mapping[str, str] = field(default_factory=dict)  #: `refresh_token`, `userId`


@dataclass(frozen=True, slots=True)
class Grants:
    """Turns the parameters of a token request into a token, or refuses."""

    clients: Clients
    tokens: Tokens

    def token(self, parameters: Mapping[str, str], now_ms: int) -> Granted:
        """Return a token for the grant types of `/ims/token`. Errors: ApiError as documented.

        There is no browser login here: an administrator has an authorization code issued for an account.
        """
        grant = parameters.get("grant_type", "")
        if not grant:
            raise refused(400, "invalid_request", "missing grant_type parameter")
        if grant not in ("client_credentials", CODE, REFRESH):
            raise refused(400, "unsupported_grant_type", "unsupported grant_type")
        client = self.client(parameters, now_ms)
        if grant == "client_credentials":
            return Granted(token=self._issue(client, _granted(client, parameters.get("scope", "")), now_ms))
        member = "code" if grant == CODE else REFRESH
        return self._redeem(client, parameters.get(member, ""), grant, now_ms)

    def _redeem(self, client: Client, shown: str, kind: str, now_ms: int) -> Granted:
        """Return an access token for a code, which is good once, or for a refresh token."""
        standing, held = self.tokens.inspect(shown, now_ms)
        mine = held is not None and held.claims["type"] == kind and held.caller.client_id == client.client_id
        if held is None or not mine or standing is not Standing.GOOD:
            raise refused(400, "invalid_grant", "invalid authorization code")
        more = {"userId": client.user_id} if kind == CODE else {}
        if kind == CODE:
            self.tokens.revoke(held, now_ms)
        if OFFLINE in held.caller.scopes:
            more[REFRESH] = self.tokens.issue(held.caller, now_ms, REFRESH) if kind == CODE else shown
        caller = replace(held.caller, scopes=held.caller.scopes - {OFFLINE})
        return Granted(token=self.tokens.issue(caller, now_ms, ACCESS), more=more)

    def exchange(self, parameters: Mapping[str, str], now_ms: int) -> Granted:
        """Return a token for a signed JWT. Errors: ApiError as documented."""
        client = self.client(parameters, now_ms)
        claims = _claims(parameters.get("jwt_token", ""), client)
        expires = claims.get("exp")
        now_s = now_ms // 1000
        if not isinstance(expires, (int, float)) or not now_s < expires <= now_s + _JWT_LIFETIME_S:
            raise refused(400, "invalid_token", _BAD_JWT)
        if claims.get("iss") != client.org_id or claims.get("sub", client.user_id) != client.user_id:
            raise refused(400, "invalid_token", _BAD_JWT)
        if not str(claims.get("aud", "")).endswith(f"/c/{client.client_id}"):
            raise refused(400, "invalid_token", _BAD_JWT)
        return Granted(token=self._issue(client, frozenset({"ent_dataservices_sdk"}), now_ms))

    def client(self, parameters: Mapping[str, str], now_ms: int) -> Client:
        """Return the client that proves itself by id and secret. Errors: ApiError `invalid_client`."""
        client = self.clients.get(parameters.get("client_id", ""))
        if client is None or parameters.get("org_id", client.org_id) != client.org_id:
            raise refused(400, "invalid_client", "invalid client_id parameter")
        if not self.clients.accepts(client, parameters.get("client_secret", ""), now_ms):
            raise refused(400, "invalid_client", "invalid client_secret parameter")
        return client

    def _issue(self, client: Client, scopes: frozenset[str], now_ms: int) -> str:
        caller = Caller(org_id=client.org_id, client_id=client.client_id, user_id=client.user_id, scopes=scopes)
        return self.tokens.issue(caller, now_ms)


def _granted(client: Client, asked: str) -> frozenset[str]:
    """Return the scopes to grant: those asked for, all the client has when it asks for none.

    One that is documented and not the client's is refused; an extra one, which nobody knows, is ignored. Source: ims.md 3, 6.
    """
    scopes, mine = scopes_of(asked), frozenset(client.scopes) - frozenset(client.forbidden_scopes)
    if scopes & (frozenset(SCOPES) | frozenset(client.forbidden_scopes)) - mine:
        raise refused(400, "invalid_scope", "invalid_scope")
    return scopes & mine if scopes else mine


def _claims(token: str, client: Client) -> dict[str, Json]:
    """Return the claims of the client's JWT.

    With public keys registered one of them must have signed it. Without any, the client secret that came along
    is the proof, and the JWT only has to be well formed (ASSUMPTION).
    """
    options = {"verify_aud": False, "verify_exp": False, "verify_sub": False, "verify_iat": False, "verify_nbf": False}
    if not client.jwt_keys:
        try:
            return jwt.decode(token, options={"verify_signature": False})
        except jwt.InvalidTokenError as error:
            raise refused(400, "invalid_token", _BAD_JWT) from error
    for key in client.jwt_keys:
        try:
            return jwt.decode(token, key, algorithms=_JWT_ALGORITHMS, options=options)  # type: ignore[arg-type]
        except (jwt.InvalidTokenError, ValueError):
            continue
    raise refused(400, "invalid_token", _BAD_JWT)
