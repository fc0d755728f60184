"""Signatures of events: RSA-SHA256 over the body, twice, so that a key can be replaced. Source: monitoring-alerts.md 5.3."""

import base64
from pathlib import Path

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from capstream.aep.ims import keys

PUBLIC_PATH = "/prod/keys"
_NUMBERS = (1, 2)


class Signer:
    """The two keys of an installation, made when they are first needed, read again when one of them was replaced."""

    def __init__(self, folder: Path) -> None:
        self._files = {number: folder / f"events-{number}.pem" for number in _NUMBERS}
        self._keys: dict[int, rsa.RSAPrivateKey] = {}
        self._read_at: dict[int, int] = {}

    def ensure(self) -> None:
        """Make the keys unless they exist."""
        for number, path in self._files.items():
            if not path.exists() or path.stat().st_mtime_ns != self._read_at.get(number):
                self._keys[number] = keys.load_or_create(path)
                self._read_at[number] = path.stat().st_mtime_ns

    def rotate(self) -> int:
        """Put a new key in place of the older one; return its number. Receivers still find the other one's signature right."""
        self.ensure()
        number = min(self._files, key=lambda each: self._files[each].stat().st_mtime_ns)
        keys.create(self._files[number])
        return number

    def headers(self, body: bytes) -> dict[str, str]:
        """Return the headers by which a receiver can check a body."""
        self.ensure()
        found: dict[str, str] = {}
        for number, key in self._keys.items():
            signature = key.sign(body, padding.PKCS1v15(), hashes.SHA256())
            found[f"x-adobe-digital-signature-{number}"] = base64.b64encode(signature).decode()
            found[f"x-adobe-public-key{number}-path"] = f"{PUBLIC_PATH}/pub-key-{number}.pem"
        return found

    def public_key(self, name: str) -> bytes | None:
        """Return the public key of a file name `pub-key-<n>.pem`, None when there is none of that name."""
        files = {f"pub-key-{number}.pem": path for number, path in self._files.items()}
        if name not in files or not files[name].exists():
            return None
        public = keys.load_or_create(files[name]).public_key()
        return public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
