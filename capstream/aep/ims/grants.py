"""How a client earns an access token: with its secret, or with a JWT it has signed. Source: ims.md 4, 6."""

from collections.abc import Mapping
from dataclasses import dataclass

import jwt

from capstream.aep.call import ApiError, Caller
from capstream.aep.ims.model import SCOPES, Client, Clients, Tokens
from capstream.aep.ims.tokens import scopes_of
from capstream.kernel.json import Json

_JWT_LIFETIME_S = 86_400
_JWT_ALGORITHMS = ["RS256"]
_BAD_JWT = "Could not match JWT signature to any of the bindings"


def refused(status: int, error: str, description: str) -> ApiError:
    """Return a token service error; it never holds `expires_in`, which a client would trust."""
    return ApiError(status, {"error": error, "error_description": description})


@dataclass(frozen=True, slots=True)
class Grants:
    """Turns the parameters of a token request into a token, or refuses."""

    clients: Clients
    tokens: Tokens

    def token(self, parameters: Mapping[str, str], now_ms: int) -> str:
        """Return a token for the grant types of `/ims/token`. Errors: ApiError as documented.

        `authorization_code` and `refresh_token` need a browser login, which this server does not have.
        """
        grant = parameters.get("grant_type", "")
        if not grant:
            raise refused(400, "invalid_request", "missing grant_type parameter")
        if grant != "client_credentials":
            raise refused(400, "unsupported_grant_type", "unsupported grant_type")
        client = self.client(parameters, now_ms)
        return self._issue(client, _granted(client, parameters.get("scope", "")), now_ms)

    def exchange(self, parameters: Mapping[str, str], now_ms: int) -> str:
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
        return self._issue(client, frozenset({"ent_dataservices_sdk"}), now_ms)

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
    """Return the scopes to grant: those asked for that the client has, all of them when it asks for none."""
    scopes = scopes_of(asked) or frozenset(SCOPES)
    if scopes & frozenset(client.forbidden_scopes):
        raise refused(400, "invalid_scope", "invalid_scope")
    return scopes & frozenset(client.scopes)


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
