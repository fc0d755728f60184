"""Who may post webhooks to a source: a static header, compared in constant time. Source: capillary.md 1.3."""

import base64
from collections.abc import Mapping, Sequence
from hmac import compare_digest
from ipaddress import ip_address, ip_network
from typing import Literal

from capstream.relay.vault import Vault

Form = Literal["bearer", "basic", "header"]
"""How the secret travels: `Authorization: Bearer <secret>`, `Authorization: Basic <base64 of user:password>`, own header."""


def expected_value(form: Form, secret: str) -> bytes:
    """Return the normalised header value that proves `secret`; for `basic` the secret is `user:password`."""
    match form:
        case "bearer":
            return b"bearer " + secret.encode()
        case "basic":
            return b"basic " + base64.b64encode(secret.encode())
        case "header":
            return secret.encode()


def webhook_header(form: Form, header: str, secret: str) -> dict[str, str]:
    """Return the header the sender has to be configured with."""
    match form:
        case "bearer":
            return {"Authorization": f"Bearer {secret}"}
        case "basic":
            return {"Authorization": "Basic " + base64.b64encode(secret.encode()).decode()}
        case "header":
            return {header: secret}


class Guard:
    """Checks the webhooks of one source."""

    def __init__(self, vault: Vault, *, form: Form, header: str, digests: Sequence[bytes], allow: Sequence[str] = ()) -> None:
        self._vault = vault
        self.body_bytes = 0  #: largest body of the source; 0: the relay's limit
        self._has_scheme = form != "header"
        self.header = b"authorization" if self._has_scheme else header.lower().encode()
        self._digests = tuple(digests)
        self._proven = b""  # the value that proved itself last: senders repeat theirs
        self._allow = tuple(ip_network(entry, strict=False) for entry in allow)

    def admits(self, headers: Mapping[bytes, bytes], peer: str) -> bool:
        """Return whether the request carries one of the live secrets and comes from an allowed address."""
        value = headers.get(self.header, b"")
        if self._has_scheme:
            scheme, _, rest = value.partition(b" ")
            rest = rest.strip()
            value = scheme.lower() + b" " + rest if rest else b""
        if not value:
            return False  # whatever is stored: nothing proves nothing
        proven = (self._proven != b"" and compare_digest(value, self._proven)) or self._proves(value)
        return proven and (not self._allow or self._allows(peer))

    def _proves(self, value: bytes) -> bool:
        presented = self._vault.digest(value)
        proven = False
        for digest in self._digests:
            proven |= compare_digest(presented, digest)
        if proven:
            self._proven = value
        return proven

    def _allows(self, peer: str) -> bool:
        try:
            address = ip_address(peer)
        except ValueError:
            return False
        return any(address in network for network in self._allow)
