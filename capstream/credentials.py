"""`credentials.json`: how commands, the relay and the tests find and enter a running platform."""

import os
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from capstream.kernel.errors import InputError
from capstream.kernel.json import JsonError, loads, pretty


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """One technical account of one organisation, and the addresses it is good for. Secrets never print."""

    org_id: str
    client_id: str
    client_secret: str
    scopes: str  #: comma-separated
    sandbox: str
    ims_url: str
    platform_url: str
    inlet_url: str  #: the collection base, `https://dcs.adobedc.net/collection` at Adobe
    relay_url: str
    webhook_secret: str

    def __repr__(self) -> str:
        return f"Credentials(org_id={self.org_id!r}, client_id={self.client_id!r}, client_secret='***', webhook_secret='***')"


def read(path: Path) -> Credentials:
    """Return the credentials in a file. Errors: InputError naming the file, what is wrong and what to do."""
    try:
        document = loads(path.read_bytes())
    except FileNotFoundError as error:
        raise InputError(str(path), "no such file", "start the server with `capstream up`, or give --credentials FILE") from error
    except JsonError as error:
        raise InputError(str(path), f"not JSON: {error}") from error
    wanted = [each.name for each in fields(Credentials)]
    if missing := [name for name in wanted if name not in document]:
        raise InputError(str(path), f"missing {', '.join(missing)}", "see docs/reference/credentials.md for every key")
    return Credentials(**{name: document[name] for name in wanted})


def write(path: Path, credentials: Credentials) -> None:
    """Store the credentials readable by their owner alone (mode 0600); the old file stays until the new one is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(pretty(asdict(credentials)) + "\n")
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
