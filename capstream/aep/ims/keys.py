"""The RSA key access tokens are signed with: made at first start, kept in a file only its owner may read."""

import base64
import os
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from capstream.kernel.errors import InputError
from capstream.kernel.json import Json

KEY_ID = "ims_na1-key-at-1"
_BITS = 2048


def load_or_create(path: Path) -> rsa.RSAPrivateKey:
    """Return the key in `path`; makes one (file mode 0600) when there is none.

    Errors: InputError when the file holds no RSA key.
    """
    if not path.exists():
        _create(path)
    key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    if not isinstance(key, rsa.RSAPrivateKey):
        raise InputError(str(path), "holds no RSA private key", "move the file away; a new key is made at the next start")
    return key


def _create(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pem = rsa.generate_private_key(public_exponent=65537, key_size=_BITS).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    unfinished = path.with_name(f"{path.name}.{os.getpid()}")
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(pem)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)  # whole or not at all: half a key would lock everybody out


def key_set(key: rsa.RSAPublicKey) -> dict[str, Json]:
    """Return the public key as JWKS."""
    numbers = key.public_numbers()
    entry = {"kty": "RSA", "use": "sig", "alg": "RS256", "kid": KEY_ID, "n": _number(numbers.n), "e": _number(numbers.e)}
    return {"keys": [entry]}


def _number(value: int) -> str:
    data = value.to_bytes((value.bit_length() + 7) // 8)
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
