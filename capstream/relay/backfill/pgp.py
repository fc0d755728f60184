"""Exports that Capillary encrypted with the brand's public key, opened with GnuPG and the brand's own keyring.

Source: capillary.md 8.1.
"""

import subprocess
from dataclasses import dataclass
from pathlib import Path
from shutil import which

from capstream.kernel.errors import InputError

ENCRYPTED = frozenset({"pgp", "gpg", "asc"})
"""Endings of encrypted files."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """A keyring and what opens its secret key. The passphrase never prints and never stands in a command line."""

    home: Path  #: GnuPG's folder
    into: Path  #: where opened files lie until they are imported
    passphrase: str | None = None

    def __repr__(self) -> str:
        return f"Keys({self.home})"

    def open(self, origin: Path, name: str) -> Path:
        """Return the opened file; one that was opened before is used again. Errors: InputError when no key of the ring fits."""
        gpg = which("gpg")
        if gpg is None:
            raise InputError(origin.name, "is encrypted and there is no gpg", "install GnuPG")
        target = self.into / name
        if target.exists() and target.stat().st_mtime >= origin.stat().st_mtime:
            return target
        self.into.mkdir(parents=True, exist_ok=True, mode=0o700)
        part = target.with_name(f"{name}.part")
        command = [gpg, "--homedir", str(self.home), "--batch", "--yes", "--quiet", "--no-tty", "--pinentry-mode", "loopback"]
        command += ["--passphrase-fd", "0", "--output", str(part), "--decrypt", str(origin)]
        said = (self.passphrase or "").encode() + b"\n"
        done = subprocess.run(command, input=said, capture_output=True, check=False)  # noqa: S603 - a list, no shell
        if done.returncode:
            part.unlink(missing_ok=True)
            lines = done.stderr.decode(errors="replace").strip().splitlines()
            cure = "check --gpg-home and CAPSTREAM_PGP_PASSPHRASE, and which public key Capillary was given"
            raise InputError(origin.name, f"cannot be decrypted: {lines[-1][:200] if lines else 'gpg failed'}", cure)
        part.replace(target)
        return target
