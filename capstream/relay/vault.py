"""Secrets at rest: encrypted when they must be used again, keyed digests when they only have to be recognised."""

import os
from hashlib import blake2b
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken

from capstream.kernel.errors import InputError

_MARK = "sealed:"


class Vault:
    """Seals and opens secrets with one key. The key is 32 random bytes in URL-safe base64 (a Fernet key)."""

    def __init__(self, key: bytes) -> None:
        self._fernet = Fernet(key)
        self._salt = blake2b(key, digest_size=32).digest()

    def seal(self, secret: str) -> str:
        """Return the encrypted form of `secret`."""
        return _MARK + self._fernet.encrypt(secret.encode()).decode()

    def open(self, sealed: str) -> str:
        """Return the secret of its encrypted form. Errors: InputError when the key is another one."""
        try:
            return self._fernet.decrypt(sealed.removeprefix(_MARK).encode()).decode()
        except InvalidToken as error:
            raise InputError("vault key", "it does not open the stored secrets", "restore the key file") from error

    def digest(self, secret: bytes) -> bytes:
        """Return the keyed digest under which `secret` is recognised again."""
        return blake2b(secret, key=self._salt, digest_size=32).digest()


def load_key(path: Path) -> bytes:
    """Return the key in `path`; the file is created, readable by its owner alone, when it does not exist."""
    try:
        return path.read_bytes().strip()
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(Fernet.generate_key())
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(draft, path)  # whoever links first wins; two processes may start together
    except FileExistsError:
        pass
    finally:
        draft.unlink()
    return path.read_bytes().strip()
