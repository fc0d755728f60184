"""Identifiers in the shapes Adobe's services use. Source: gateway.md 10 (ids)."""

import os
import secrets
import uuid
from hashlib import sha256

_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_ALPHANUMERIC = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"


def new_uuid() -> str:
    """Return a random UUID, the id of Flow Service entities."""
    return str(uuid.uuid4())


def new_hex32() -> str:
    """Return 32 hex characters, the id of mapping sets, mappings and samples."""
    return uuid.uuid4().hex


def new_object_id(now_ms: int) -> str:
    """Return 24 hex characters of which the first 8 are Unix seconds, the id of datasets and views."""
    return f"{now_ms // 1000:08x}{os.urandom(8).hex()}"


def new_ulid(now_ms: int) -> str:
    """Return a 26-character ULID, the id of batches; ids of later milliseconds sort after earlier ones."""
    number = (now_ms << 80) | int.from_bytes(os.urandom(10))
    return "".join(_CROCKFORD[(number >> shift) & 31] for shift in range(125, -1, -5))


def new_inlet_id(*seed: str) -> str:
    """Return 64 hex characters, the id of a streaming inlet."""
    return sha256("|".join((*seed, secrets.token_hex(16))).encode()).hexdigest()


def new_etag(now_ms: int) -> str:
    """Return a Flow Service etag, quotes included: 8 random hex, 0000, 0200, 0000, Unix seconds, 0000."""
    return f'"{os.urandom(4).hex()}-0000-0200-0000-{now_ms // 1000:08x}0000"'


def new_request_id() -> str:
    """Return 32 characters of `[A-Za-z0-9]`, the form of `x-request-id`."""
    return "".join(secrets.choice(_ALPHANUMERIC) for _ in range(32))
