"""`capstream role list|show|create|grant|withdraw|include|exclude|assign|unassign|delete|permissions`, through Access Control."""

from typing import Annotated

import typer

from capstream.cli import printing
from capstream.cli.client import PlatformClient, Refused
from capstream.cli.options import AsJson, CredentialsFile, find
from capstream.kernel.errors import InputError
from capstream.kernel.json import Json

app = typer.Typer(help="Roles: which account may do what in which sandbox.", no_args_is_help=True)

_ACCESS = "/data/foundation/access-control"
_ROLES = f"{_ACCESS}/administration/roles"
_PAGE = 100
_COLUMNS = [("id", "id"), ("name", "name"), ("type", "roleType"), ("sandboxes", "sandboxes"), ("permissions", "permissionSets")]

Which = Annotated[str, typer.Argument(help="The role's name or id.")]
Permissions = Annotated[list[str], typer.Argument(help="Permissions; `capstream role permissions` lists all.")]
SandboxNames = Annotated[list[str], typer.Argument(help="Names of sandboxes.")]
Account = Annotated[str, typer.Argument(help="An account's client id.")]


@app.command("list")
def list_(credentials: CredentialsFile = None, json: AsJson = False) -> None:
    """List all roles."""
    with PlatformClient(find(credentials)) as client:
        printing.table(_all(client), _COLUMNS, json=json)


@app.command()
def permissions(credentials: CredentialsFile = None, json: AsJson = False) -> None:
    """List every permission there is, with what it permits."""
    with PlatformClient(find(credentials)) as client:
        found = client.platform("GET", f"{_ACCESS}/acl/reference")["permissions"]
    rows = [
        {"permission": name, "permits": [f"{kind}: {', '.join(actions)}" for kind, actions in kinds.items()]}
        for name, kinds in sorted(found.items())
    ]
    printing.table(rows, [("permission", "permission"), ("permits", "permits")], json=json)


@app.command()
def show(which: Which, credentials: CredentialsFile = None, json: AsJson = False) -> None:
    """Show one role and who has it."""
    with PlatformClient(find(credentials)) as client:
        role = _found(client, which)
        subjects = client.platform("GET", f"{_ROLES}/{role['id']}/subjects", query={"limit": 1000})["items"]
    printing.one(role | {"subjects": [each["subjectId"] for each in subjects]}, json=json)


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="The role's name.")],
    description: Annotated[str, typer.Option(help="What it is for.")] = "",
    permission: Annotated[list[str] | None, typer.Option(help="A permission; may be repeated.")] = None,
    sandbox: Annotated[list[str] | None, typer.Option(help="A sandbox it counts in; may be repeated.")] = None,
    credentials: CredentialsFile = None,
    json: AsJson = False,
) -> None:
    """Create a role with permissions in sandboxes."""
    with PlatformClient(find(credentials)) as client:
        if any(role["name"] == name for role in _all(client)):
            raise InputError(name, "a role of this name exists", "choose another name, or change it with `capstream role grant`")
        body = {"name": name, "description": description or name, "roleType": "user-defined"}
        made = client.platform("POST", _ROLES, body=body)
        try:
            if permission:
                made = _changed(client, made, "add", "/permissionSets", permission)
            if sandbox:
                made = _changed(client, made, "add", "/sandboxes", sandbox)
        except Refused:
            client.platform("DELETE", f"{_ROLES}/{made['id']}")  # a role without what was asked for is nobody's wish
            raise
    printing.one(made, json=json, line=f"created {name} ({made['id']})")


@app.command()
def grant(which: Which, permission: Permissions, credentials: CredentialsFile = None, json: AsJson = False) -> None:
    """Add permissions to a role."""
    _change(credentials, which, ("add", "/permissionSets", permission), json)


@app.command()
def withdraw(which: Which, permission: Permissions, credentials: CredentialsFile = None, json: AsJson = False) -> None:
    """Take permissions from a role."""
    _change(credentials, which, ("remove", "/permissionSets", permission), json)


@app.command()
def include(which: Which, sandbox: SandboxNames, credentials: CredentialsFile = None, json: AsJson = False) -> None:
    """Let a role count in more sandboxes."""
    _change(credentials, which, ("add", "/sandboxes", sandbox), json)


@app.command()
def exclude(which: Which, sandbox: SandboxNames, credentials: CredentialsFile = None, json: AsJson = False) -> None:
    """Let a role count no longer in sandboxes."""
    _change(credentials, which, ("remove", "/sandboxes", sandbox), json)


@app.command()
def assign(which: Which, account: Account, credentials: CredentialsFile = None, json: AsJson = False) -> None:
    """Give a role to a technical account."""
    _give(credentials, which, account, "add", json)


@app.command()
def unassign(which: Which, account: Account, credentials: CredentialsFile = None, json: AsJson = False) -> None:
    """Take a role from a technical account."""
    _give(credentials, which, account, "remove", json)


@app.command()
def delete(which: Which, credentials: CredentialsFile = None) -> None:
    """Delete a role."""
    with PlatformClient(find(credentials)) as client:
        client.platform("DELETE", f"{_ROLES}/{_found(client, which)['id']}")
    typer.echo(f"deleted {which}")


def _change(credentials: CredentialsFile, which: str, what: tuple[str, str, list[str]], json: bool) -> None:
    with PlatformClient(find(credentials)) as client:
        changed = _changed(client, _found(client, which), *what)
    printing.one(changed, json=json, line=f"changed {changed['name']}")


def _changed(client: PlatformClient, role: Json, verb: str, path: str, values: list[str]) -> dict[str, Json]:
    body = {"operations": [{"op": verb, "path": path, "value": values}]}
    changed: dict[str, Json] = client.platform("PATCH", f"{_ROLES}/{role['id']}", body=body)
    return changed


def _give(credentials: CredentialsFile, which: str, account: str, verb: str, json: bool) -> None:
    with PlatformClient(find(credentials)) as client:
        role = _found(client, which)
        if verb == "add":
            client.platform("GET", f"/capstream/api/accounts/{account}")  # a misspelt id would get the role for nobody
        body = {"op": verb, "path": "/api-integration", "value": account}
        answer = client.platform("PATCH", f"{_ROLES}/{role['id']}/subjects", body=body)
    done = "has" if verb == "add" else "no longer has"
    printing.one(answer, json=json, line=f"{account} {done} the role {role['name']}")


def _all(client: PlatformClient) -> list[dict[str, Json]]:
    found: list[dict[str, Json]] = []
    while True:
        page = client.platform("GET", _ROLES, query={"start": len(found), "limit": _PAGE})["items"]
        found += page
        if len(page) < _PAGE:
            return found


def _found(client: PlatformClient, which: str) -> dict[str, Json]:
    named = [role for role in _all(client) if which in (role["id"], role["name"])]
    if len(named) != 1:
        reason = f"{len(named)} roles have this name" if named else "no role has this name or id"
        raise InputError(which, reason, "see `capstream role list` for the ids")
    return named[0]
