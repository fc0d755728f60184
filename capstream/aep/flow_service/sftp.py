"""SFTP servers as file stores: one session for each request. Source: batch-ingestion.md B2, B3.

Host keys are not checked, as a connection has no member to name one. ASSUMPTION for the limits.
"""

import base64
import binascii
import io
import stat
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from capstream.aep.flow_service.file_store import Entry, FileStore, Unreachable
from capstream.kernel.json import Json

if TYPE_CHECKING:
    import paramiko

_CONNECT_S = 10.0
_IDLE_S = 30.0
_PORT = 22


@contextmanager
def opened(params: Mapping[str, Json]) -> Generator[FileStore]:
    """Open a session with the parameters of a connection, secrets in the clear. Errors: Unreachable says why."""
    import paramiko  # noqa: PLC0415 - a tenth of the gateway's start, for what few ask

    host, port = str(params.get("host") or ""), int(params.get("port") or _PORT)
    client = paramiko.SSHClient()
    client.set_missing_host_key_policy(paramiko.AutoAddPolicy())  # noqa: S507 - see above
    try:
        client.connect(
            host,
            port,
            username=str(params.get("userName") or ""),
            timeout=_CONNECT_S,
            banner_timeout=_CONNECT_S,
            auth_timeout=_CONNECT_S,
            allow_agent=False,
            look_for_keys=False,
            **_credentials(params),
        )
        session = client.open_sftp()
        session.get_channel().settimeout(_IDLE_S)
        yield _Session(session)
    except paramiko.AuthenticationException as error:
        raise Unreachable(f"{host}:{port} refused the credentials") from error
    except (paramiko.SSHException, OSError, EOFError) as error:
        raise Unreachable(f"{host}:{port}: {error or type(error).__name__}") from error
    finally:
        client.close()


def _credentials(params: Mapping[str, Json]) -> dict[str, Json]:
    import paramiko  # noqa: PLC0415

    content = params.get("privateKeyContent")
    if not content:
        return {"password": str(params.get("password") or "")}
    try:
        text = base64.b64decode(str(content), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError) as error:
        raise Unreachable("privateKeyContent is not the Base64 of a private key") from error
    phrase = str(params["passPhrase"]) if params.get("passPhrase") else None
    for kind in (paramiko.RSAKey, paramiko.Ed25519Key, paramiko.ECDSAKey):
        try:
            return {"pkey": kind.from_private_key(io.StringIO(text), phrase)}
        except (paramiko.SSHException, ValueError):
            continue
    raise Unreachable("privateKeyContent is no RSA, Ed25519 or ECDSA key, or passPhrase does not open it")


class _Session:
    def __init__(self, session: "paramiko.SFTPClient") -> None:
        self._session = session

    def list(self, path: str) -> list[Entry]:
        found = []
        for each in self._session.listdir_attr(path):
            is_folder = stat.S_ISDIR(each.st_mode or 0)
            place = f"{path.rstrip('/')}/{each.filename}"
            found.append(Entry(each.filename, place, is_folder, each.st_size or 0, (each.st_mtime or 0) * 1000))
        return sorted(found, key=lambda entry: (not entry.is_folder, entry.name))

    def read(self, path: str, limit: int) -> bytes:
        with self._session.open(path, "rb") as file:
            return bytes(file.read(limit))
