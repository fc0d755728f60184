"""What has to hold before anything is made: the sandbox is there and the account may do all that follows.

Source: sandboxes-access.md 1.2, 2.1 and 2.2. Permissions the platform's own reference does not list are not asked for:
Adobe's lists none for sources, the embedded platform does.
"""

from collections.abc import Sequence

from capstream.kernel.errors import InputError
from capstream.relay.platform_client import PlatformClient

_SANDBOXES = "/data/foundation/sandbox-management/"
_ACCESS = "/data/foundation/access-control/acl"


async def sandbox(client: PlatformClient, name: str) -> None:
    """Errors: InputError when the account has no active sandbox of this name."""
    found = [str(each.get("name")) for each in (await client.call("GET", _SANDBOXES)).get("sandboxes", [])]
    if name not in found:
        has = f"this account has {', '.join(sorted(found))}" if found else "this account has none"
        raise InputError("sandbox", f"there is no active sandbox {name!r} for this account", f"{has}; add one to its role")


async def missing_permissions(client: PlatformClient, wanted: Sequence[str]) -> list[str]:
    """Return the permissions of `wanted` that the platform knows and the account has not."""
    known = (await client.call("GET", f"{_ACCESS}/reference")).get("permissions") or {}
    asked = [f"/permissions/{name}" for name in wanted if name in known]
    if not asked:
        return []
    granted = (await client.call("POST", f"{_ACCESS}/effective-policies", body=asked)).get("policies") or {}
    return [name.removeprefix("/permissions/") for name in asked if name not in granted]


async def permissions(client: PlatformClient, wanted: Sequence[str]) -> None:
    """Errors: InputError naming every permission the account lacks."""
    if missing := await missing_permissions(client, wanted):
        cure = "an administrator adds them to a role of this technical account, under Permissions in the console"
        raise InputError("permissions", f"the account lacks {', '.join(missing)}", cure)
