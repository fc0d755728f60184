"""Technical accounts over HTTP: create, list, bind to product profiles, rotate secrets, revoke (ASSUMPTION).

In place of Adobe's Admin Console and Developer Console. An account without a product profile passes no gateway (403027).
Source: sandboxes-access.md 5.

A secret is shown once, in the answer that made it. Only an organisation's administrator may call any of this.
"""

import msgspec

from capstream.aep.call import Answer, ApiError, Call, Caller, Handler
from capstream.aep.error_shapes import generic_body
from capstream.aep.ims.grants import OFFLINE
from capstream.aep.ims.model import SCOPES, Client, Clients, Organisations, Tokens
from capstream.aep.ims.tokens import CODE
from capstream.kernel.clock import rfc3339
from capstream.kernel.errors import InputError
from capstream.kernel.json import Json


def handlers(organisations: Organisations, clients: Clients, tokens: Tokens) -> dict[str, Handler]:
    """Return the handlers of `operations/accounts.toml`."""
    service = _Service(organisations, clients, tokens)
    return {
        "retrieveOrganization": service.organisation,
        "listAccounts": service.list,
        "createAccount": service.create,
        "retrieveAccount": lambda call: Answer(body=_shown(service.existing(call))),
        "updateAccount": service.update,
        "revokeAccount": service.revoke,
        "addAccountSecret": service.add_secret,
        "revokeAccountSecret": service.revoke_secret,
        "issueAuthorizationCode": service.issue_code,
    }


_CHANGEABLE = ("name", "productProfiles", "scopes")
_LONGEST = 200


class _Service:
    def __init__(self, organisations: Organisations, clients: Clients, tokens: Tokens) -> None:
        self._tokens = tokens
        self._organisations = organisations
        self._clients = clients

    def organisation(self, call: Call) -> Answer:
        """Return the caller's organisation."""
        found = self._organisations.get(call.caller.org_id)
        if found is None:
            raise _refused(404, f"organisation {call.caller.org_id} is not of this server")
        return Answer(
            body={"id": found.id, "name": found.name, "tenantId": found.tenant_id, "createdAt": rfc3339(found.created_ms)}
        )

    def list(self, call: Call) -> Answer:
        """Return every account of the organisation."""
        return Answer(body={"items": [_shown(client) for client in self._clients.all(call.caller.org_id)]})

    def existing(self, call: Call) -> Client:
        """Return the account the path names."""
        client = self._clients.get(call.params["clientId"])
        if client is None or client.org_id != call.caller.org_id:
            raise _refused(404, f"account {call.params['clientId']} does not exist; list the accounts for their client ids")
        return client

    def create(self, call: Call) -> Answer:
        """Make an account without roles."""
        body = call.json()
        name = body.get("name") if isinstance(body, dict) else None
        admin = body.get("orgAdmin", False) if isinstance(body, dict) else None
        name = _name(name)
        if not isinstance(admin, bool):
            raise _refused(400, "orgAdmin: true or false")
        if unknown := sorted(set(body) - {"name", "orgAdmin"}):
            raise _refused(400, f"{unknown[0]}: unknown member; known are name and orgAdmin")
        client, secret = self._clients.create(call.caller.org_id, name=name, now_ms=call.now_ms, org_admin=admin)
        return Answer(status=201, body=_shown(client) | {"clientSecret": secret})

    def update(self, call: Call) -> Answer:
        """Replace an account's name, product profiles or scopes."""
        client, body = self.existing(call), call.json()
        if not isinstance(body, dict) or not body:
            raise _refused(400, f"the body: an object with {', '.join(_CHANGEABLE)}")
        if unknown := sorted(set(body) - set(_CHANGEABLE)):
            raise _refused(400, f"{unknown[0]}: unknown member; known are {', '.join(_CHANGEABLE)}")
        changed = msgspec.structs.replace(
            client,
            name=_name(body.get("name", client.name)),
            product_profiles=_texts(body, "productProfiles", client.product_profiles),
            scopes=_scopes(_texts(body, "scopes", client.scopes)),
        )
        if not changed.product_profiles and client.client_id == call.caller.client_id:
            raise _refused(409, "an account cannot take its own last product profile; use another administrator's account")
        self._clients.save(changed)
        return Answer(body=_shown(changed))

    def revoke(self, call: Call) -> Answer:
        """Revoke an account with its secrets and tokens."""
        client = self.existing(call)
        if client.client_id == call.caller.client_id:
            raise _refused(409, "an account cannot revoke itself; use another administrator's account")
        self._clients.remove(client.client_id)
        return Answer(status=204)

    def add_secret(self, call: Call) -> Answer:
        """Give an account its second live secret."""
        client = self.existing(call)
        try:
            secret = self._clients.add_secret(client.client_id, call.now_ms)
        except InputError as error:
            raise _refused(409, str(error)) from error
        return Answer(status=201, body=_shown(self.existing(call)) | {"clientSecret": secret})

    def revoke_secret(self, call: Call) -> Answer:
        """Make one secret invalid; the last one stays, or nobody could enter again."""
        client = self.existing(call)
        wanted = call.params["secretId"]
        if all(secret.id != wanted for secret in client.secrets):
            raise _refused(404, f"account {client.client_id} has no secret {wanted}; show the account for the ids of its secrets")
        if len(client.secrets) == 1:
            raise _refused(409, "this is the account's only secret: add another one first, or revoke the account")
        self._clients.revoke_secret(client.client_id, wanted)
        return Answer(status=204)

    def issue_code(self, call: Call) -> Answer:
        """Issue an authorization code, in place of a browser login; it is good once, for ten minutes."""
        client = self.existing(call)
        scopes = frozenset({*client.scopes, OFFLINE}) - frozenset(client.forbidden_scopes)
        caller = Caller(org_id=client.org_id, client_id=client.client_id, user_id=client.user_id, scopes=scopes)
        return Answer(status=201, body={"code": self._tokens.issue(caller, call.now_ms, CODE)})


def _name(value: Json) -> str:
    if not isinstance(value, str) or not value.strip() or len(value) > _LONGEST:
        raise _refused(400, f"name: required, a text of 1 to {_LONGEST} characters")
    return value.strip()


def _texts(body: dict[str, Json], member: str, before: tuple[str, ...]) -> tuple[str, ...]:
    """Return the texts of a list, each once."""
    values = body.get(member, list(before))
    if not isinstance(values, list) or not all(isinstance(one, str) and 0 < len(one.strip()) <= _LONGEST for one in values):
        raise _refused(400, f"{member}: a list of texts of 1 to {_LONGEST} characters")
    return tuple(dict.fromkeys(one.strip() for one in values))


def _scopes(scopes: tuple[str, ...]) -> tuple[str, ...]:
    if unknown := [one for one in scopes if one not in SCOPES]:
        raise _refused(400, f"scopes: {unknown[0]} is unknown; known are {', '.join(SCOPES)}")
    return scopes


def _refused(status: int, detail: str) -> ApiError:
    return ApiError(status, generic_body(status, detail))


def _shown(client: Client) -> dict[str, Json]:
    return {
        "clientId": client.client_id,
        "name": client.name,
        "technicalAccountId": client.user_id,
        "technicalAccountEmail": client.email,
        "orgId": client.org_id,
        "orgAdmin": client.org_admin,
        "productProfiles": list(client.product_profiles),
        "scopes": list(client.scopes),
        "createdAt": rfc3339(client.created_ms),
        "secrets": [{"id": one.id, "createdAt": rfc3339(one.created_ms)} for one in client.secrets],
    }
