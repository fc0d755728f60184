"""Every change goes through one gate, which either makes it or only writes down that it would be made."""

from dataclasses import dataclass, field
from typing import Literal

from capstream.kernel.json import Json, dumps, loads
from capstream.relay.platform_client import PlatformClient
from capstream.relay.provision_wanted import Wanted

NEW = "(known after apply)"
"""Stands for the id of what a plan would make."""

Action = Literal["create", "update", "delete", "keep"]


@dataclass(frozen=True, slots=True)
class Change:
    """One difference between what is there and what is wanted; `keep` names what stays, and why if somebody might ask."""

    action: Action
    kind: str
    name: str
    why: str = ""


@dataclass(slots=True)
class Changes:
    """The gate. With `dry` nothing but reads reaches the platform."""

    client: PlatformClient
    wanted: Wanted
    dry: bool = False
    made: list[Change] = field(default_factory=list)
    tenant: str = ""

    def keep(self, kind: str, name: str, why: str = "") -> None:
        """Note something that stays as it is."""
        self.made.append(Change("keep", kind, name, why))

    async def write(
        self,
        change: Change,
        method: str,
        path: str,
        *,
        body: Json = None,
        accept: str = "application/json",
        etag: str = "",
        instead: Json = None,
    ) -> Json:
        """Make a change and return the answer; in a plan return `instead`. Errors: those of PlatformClient.call."""
        answer = instead if self.dry else await self.client.call(method, path, body=body, accept=accept, etag=etag)
        self.made.append(change)
        return answer

    def described(self, text: str) -> str:
        """Return a description that shows whose this is."""
        return f"{text} {self.wanted.mark}"

    def is_ours(self, found: Json) -> bool:
        """Return whether this connection made a resource."""
        return str(found.get("description") or "").endswith(self.wanted.mark)

    def filled(self, document: Json, **places: str) -> Json:
        """Return a document with the tenant's name and further `{PLACE}`s in it."""
        text = dumps(document).decode()
        for place, value in {"TENANT_ID": self.tenant, "TENANT": self.tenant, **places}.items():
            text = text.replace(f"{{{place}}}", value)
        return loads(text)
