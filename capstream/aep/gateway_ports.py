"""What the gateway asks of the services behind it before it calls one of them."""

from typing import Protocol

from capstream.aep.call import Caller, Sandbox


class TokenVerifier(Protocol):
    """Knows which access tokens are good."""

    def verify(self, token: str, now_ms: int) -> Caller | None:
        """Return who the token speaks for; None when it is invalid, expired or revoked."""
        ...


class ClientRegistry(Protocol):
    """Knows the registered API clients."""

    def is_known(self, client_id: str) -> bool:
        """Return whether the client id is registered."""
        ...

    def is_bound(self, client_id: str) -> bool:
        """Return whether the client belongs to a product profile."""
        ...


class SandboxDirectory(Protocol):
    """Knows the active sandboxes."""

    def by_name(self, org_id: str, name: str) -> Sandbox | None:
        """Return the active sandbox of that name."""
        ...

    def by_id(self, sandbox_id: str) -> Sandbox | None:
        """Return the active sandbox with that id."""
        ...

    def default(self, org_id: str) -> Sandbox | None:
        """Return the sandbox calls without a sandbox header work in, whatever its state."""
        ...


class Permits(Protocol):
    """Decides whether a caller may do something."""

    def __call__(self, caller: Caller, sandbox: Sandbox | None, permission: str) -> bool:
        """Return whether `caller` holds what `permission` asks for in `sandbox`, or (None) in any sandbox."""
        ...
