"""Secrets at rest: encrypted when they must be used again, keyed digests when they only have to be recognised."""

from collections.abc import Callable, Sequence
from hashlib import blake2b

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from capstream.kernel.errors import InputError

_MARK = "sealed:"


class Vault:
    """Seals secrets with the first of its keys and opens them with any. A key is 32 random bytes in URL-safe base64 (Fernet).

    The salt of digests is made of the oldest key, unless another is given: digests cannot be made again with a new key.
    """

    def __init__(self, *keys: bytes, salt: bytes = b"", read_again: Callable[[], Sequence[bytes]] | None = None) -> None:
        """`read_again`: where the keys came from; it is asked when a secret does not open, for they may have been changed."""
        self._keys: Sequence[bytes] = keys
        self._read_again = read_again
        self._fernet = MultiFernet([Fernet(key) for key in keys])
        self.salt = salt or blake2b(keys[-1], digest_size=32).digest()

    def renew(self) -> bool:
        """Read the keys again; return whether they are others than before. The salt stays. Errors: InputError."""
        fresh = tuple(self._read_again()) if self._read_again is not None else tuple(self._keys)
        if fresh == tuple(self._keys):
            return False
        self._keys = fresh
        self._fernet = MultiFernet([Fernet(key) for key in fresh])
        return True

    def seal(self, secret: str) -> str:
        """Return the encrypted form of `secret`."""
        return _MARK + self._fernet.encrypt(secret.encode()).decode()

    def open(self, sealed: str) -> str:
        """Return the secret of its encrypted form. Errors: InputError when the key is another one."""
        try:
            return self._fernet.decrypt(sealed.removeprefix(_MARK).encode()).decode()
        except InvalidToken as error:
            if self.renew():
                return self.open(sealed)
            raise InputError("vault key", "it does not open the stored secrets", "restore the key file") from error

    def digest(self, secret: bytes) -> bytes:
        """Return the keyed digest under which `secret` is recognised again."""
        return blake2b(secret, key=self.salt, digest_size=32).digest()

    def with_salt(self, salt: bytes) -> "Vault":
        """Return a vault of the same keys whose digests are made with `salt`."""
        return Vault(*self._keys, salt=salt, read_again=self._read_again)
