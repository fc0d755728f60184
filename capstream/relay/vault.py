"""Secrets at rest: encrypted when they must be used again, keyed digests when they only have to be recognised."""

from hashlib import blake2b

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from capstream.kernel.errors import InputError

_MARK = "sealed:"


class Vault:
    """Seals secrets with the first of its keys and opens them with any. A key is 32 random bytes in URL-safe base64 (Fernet).

    The salt of digests is made of the oldest key, unless another is given: digests cannot be made again with a new key.
    """

    def __init__(self, *keys: bytes, salt: bytes = b"") -> None:
        self._keys = keys
        self._fernet = MultiFernet([Fernet(key) for key in keys])
        self.salt = salt or blake2b(keys[-1], digest_size=32).digest()

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
        return blake2b(secret, key=self.salt, digest_size=32).digest()

    def with_salt(self, salt: bytes) -> "Vault":
        """Return a vault of the same keys whose digests are made with `salt`."""
        return Vault(*self._keys, salt=salt)
