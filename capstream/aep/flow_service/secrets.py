"""Credentials at rest: sealed with a key file, shown as `xxxx`, opened only by who must use them."""

from collections.abc import Mapping
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from capstream.kernel.errors import InputError
from capstream.kernel.json import Json
from capstream.storage.key_file import read_keys

MASK = "xxxx"
"""How a secret reads back. Source: flow-service.md 3.1 (the OpenAPI sample)."""

_SEALED = "sealed"
_ALWAYS_SECRET = frozenset(
    {"clientSecret", "accessToken", "password", "refreshToken", "privateKeyContent", "passPhrase", "hmacSecret"}
)


class Vault:
    """Seals texts with the first of its symmetric keys (Fernet: AES-128-CBC with HMAC-SHA256) and opens them with any."""

    def __init__(self, *keys: bytes, key_file: Path | None = None) -> None:
        self._key_file = key_file
        self._fernet = MultiFernet([Fernet(key) for key in keys])

    @classmethod
    def open(cls, key_file: Path) -> "Vault":
        """Return the vault of `key_file`, which is made (readable by its owner alone) when it does not exist."""
        return cls(*read_keys(key_file), key_file=key_file)

    def renew(self) -> None:
        """Read the key file again. Errors: InputError."""
        if self._key_file is not None:
            self._fernet = MultiFernet([Fernet(key) for key in read_keys(self._key_file)])

    def seal(self, text: str) -> str:
        """Return `text` encrypted."""
        return self._fernet.encrypt(text.encode()).decode()

    def unseal(self, token: str) -> str:
        """Return the text of a sealed token; InputError when it was sealed with another key."""
        try:
            return self._fernet.decrypt(token.encode()).decode()
        except InvalidToken as error:
            reason = "a stored credential was sealed with another key"
            raise InputError("key file", reason, "restore the key file that belongs to these data") from error


def secret_members(auth_schema: Mapping[str, Json]) -> frozenset[str]:
    """Return the members of `auth.params` that are secret: `format: password` in the spec, or known by name."""
    properties: Mapping[str, Json] = auth_schema.get("properties") or {}
    listed = {name for name, rule in properties.items() if isinstance(rule, dict) and rule.get("format") == "password"}
    return _ALWAYS_SECRET | listed


def sealed(vault: Vault, params: Mapping[str, Json], secrets: frozenset[str], stored: Mapping[str, Json]) -> dict[str, Json]:
    """Return `params` ready to store: secrets encrypted, and a secret that still reads `xxxx` kept as it is in `stored`."""
    result: dict[str, Json] = {}
    for name, value in params.items():
        if name not in secrets or value is None:
            result[name] = value
        elif value == MASK and name in stored:
            result[name] = stored[name]
        else:
            result[name] = {_SEALED: vault.seal(str(value))}
    return result


def masked(params: Mapping[str, Json]) -> dict[str, Json]:
    """Return stored `params` as callers may see them."""
    return {name: MASK if is_sealed(value) else value for name, value in params.items()}


def is_sealed(value: Json) -> bool:
    """Return whether a stored member is a sealed secret."""
    return isinstance(value, dict) and set(value) == {_SEALED}


def sealed_text(value: Json) -> str:
    """Return the token of a sealed member, empty when there is none."""
    return str(value[_SEALED]) if is_sealed(value) else ""


def resealed(vault: Vault, value: Json) -> tuple[Json, int]:
    """Return a stored value with every sealed secret in it sealed by the vault's first key, and how many there were."""
    if is_sealed(value):
        return {_SEALED: vault.seal(vault.unseal(sealed_text(value)))}, 1
    if isinstance(value, dict):
        parts = {name: resealed(vault, part) for name, part in value.items()}
        return {name: part for name, (part, _) in parts.items()}, sum(count for _, count in parts.values())
    if isinstance(value, list):
        found = [resealed(vault, part) for part in value]
        return [part for part, _ in found], sum(count for _, count in found)
    return value, 0
