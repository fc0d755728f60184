"""The RSA keys access tokens are signed with: files only their owner may read, the newest signs.

`ims.pem` is the first one, made at the first start; a change of keys adds `ims-2.pem`, `ims-3.pem` … . An older key stays for as
long as a token of its may live, so that nobody is logged out by the change.
"""

import base64
import os
import re
import time
from itertools import pairwise
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from capstream.kernel.errors import InputError
from capstream.kernel.json import Json
from capstream.storage.durable import synced

_KEY_ID = "ims_na1-key-at-{number}"
_BITS = 2048


def load_or_create(path: Path) -> rsa.RSAPrivateKey:
    """Return the key in `path`; makes one (file mode 0600) when there is none.

    Errors: InputError when the file holds no RSA key.
    """
    if not path.exists():
        create(path)
    key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    if not isinstance(key, rsa.RSAPrivateKey):
        raise InputError(str(path), "holds no RSA private key", "move the file away; a new key is made at the next start")
    return key


def create(path: Path) -> None:
    """Put a new key in `path`, in place of one that was there. Errors: OSError."""
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
    synced(path.parent)


class KeyRing:
    """The keys of an installation. `first` is the path of the first one; those that have outlived their tokens go."""

    def __init__(self, first: Path, *, outlives_s: float = 0) -> None:
        """`outlives_s`: how long a token may live at most."""
        self._first = first
        self._outlives_s = outlives_s
        if not self._files():
            create(first)
        self._drop_outlived()
        self._load()

    def newest(self) -> tuple[str, rsa.RSAPrivateKey]:
        """Return the key that signs, with its id."""
        return next(reversed(self._keys.items()))

    def public(self, key_id: str) -> rsa.RSAPublicKey | None:
        """Return the key of an id; None when there is none (any more)."""
        key = self._keys.get(key_id)
        return key.public_key() if key else None

    def rotate(self, *, drops_old: bool = False) -> int:
        """Sign with a new key from now on; return how many keys are live. `drops_old`: tokens of the others are void at once."""
        number = max(self._files()) + 1
        create(self._path(number))
        if drops_old:
            self._remove([each for each in self._files() if each != number])
        self._drop_outlived()
        self._load()
        return len(self._keys)

    def key_set(self) -> dict[str, Json]:
        """Return the public keys as JWKS, the one that signs first."""
        return {"keys": [_entry(key_id, key.public_key()) for key_id, key in reversed(self._keys.items())]}

    def _load(self) -> None:
        self._keys = {_KEY_ID.format(number=number): load_or_create(path) for number, path in sorted(self._files().items())}

    def _drop_outlived(self) -> None:
        """Remove keys whose successor is older than a token may get."""
        files = sorted(self._files().items())
        oldest = time.time() - self._outlives_s
        self._remove([number for (number, _), (_, path) in pairwise(files) if path.stat().st_mtime < oldest])

    def _remove(self, numbers: list[int]) -> None:
        for number in numbers:
            self._path(number).unlink()

    def _files(self) -> dict[int, Path]:
        form = re.compile(rf"{re.escape(self._first.stem)}(?:-(\d+))?{re.escape(self._first.suffix)}")
        paths = self._first.parent.iterdir() if self._first.parent.exists() else ()
        return {int(found[1] or 1): path for path in paths if (found := form.fullmatch(path.name))}

    def _path(self, number: int) -> Path:
        return self._first if number == 1 else self._first.with_name(f"{self._first.stem}-{number}{self._first.suffix}")


def _entry(key_id: str, key: rsa.RSAPublicKey) -> dict[str, Json]:
    numbers = key.public_numbers()
    return {"kty": "RSA", "use": "sig", "alg": "RS256", "kid": key_id, "n": _number(numbers.n), "e": _number(numbers.e)}


def _number(value: int) -> str:
    data = value.to_bytes((value.bit_length() + 7) // 8)
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
