"""Sessions with SFTP servers: host keys always checked, downloads that go on where they broke off.

One module for both halves: what they talk to is a file server, no wire they share (ADR 0009).
"""

import base64
import binascii
import io
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capstream.kernel.errors import CapstreamError

if TYPE_CHECKING:
    import paramiko

PORT = 22
_PIECE = 32 * 1024
_PIECES = 64  # requested together: 2 MiB in memory


class Reason(StrEnum):
    """What is the matter with a session."""

    HOST_KEY_UNKNOWN = "host key unknown"  #: nobody said which key the server has
    HOST_KEY_CHANGED = "host key changed"  #: the server shows another key than the trusted one
    LOGIN = "login"
    NOT_FOUND = "not found"
    NETWORK = "network"
    SHORTENED = "shortened"  #: a file became shorter while it was read


class SftpError(CapstreamError):
    """No session could be opened, or it broke. The text holds no secret."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """An SFTP server and how to enter it. Its text is its address without secrets."""

    host: str
    user: str
    port: int = PORT
    password: str | None = None
    identity: Path | None = None  #: private key file; `passphrase` opens it
    private_key: str = ""  #: Base64 of a private key instead
    passphrase: str | None = None
    known_hosts: Path | None = None  #: OpenSSH file of trusted keys
    host_key: str = ""  #: the trusted key instead: type and Base64, as in known_hosts
    learns: bool = False  #: take the key the server shows when none is known; ask `host_key_of` for it
    timeout_s: float = 20.0

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"

    def __repr__(self) -> str:
        return f"sftp://{self.user}@{self}"


@contextmanager
def session(server: Server) -> Generator["paramiko.SFTPClient"]:
    """Open a session. Errors: SftpError, also for what the block raises as OSError of the connection."""
    import paramiko  # noqa: PLC0415 - a tenth of a process's start, for what few ask

    client = paramiko.SSHClient()
    learns = server.learns and not server.host_key
    client.set_missing_host_key_policy(paramiko.AutoAddPolicy() if learns else paramiko.RejectPolicy())
    try:
        _trust(client, server)
        client.connect(
            server.host,
            server.port,
            username=server.user,
            passphrase=server.passphrase,
            timeout=server.timeout_s,
            banner_timeout=server.timeout_s,
            auth_timeout=server.timeout_s,
            allow_agent=False,
            look_for_keys=False,
            **_credentials(server),
        )
        opened = client.open_sftp()
        opened.get_channel().settimeout(server.timeout_s)
        yield opened
    except SftpError:
        raise
    except paramiko.AuthenticationException as error:
        raise SftpError(Reason.LOGIN, f"{server} refused the credentials") from error
    except paramiko.BadHostKeyException as error:
        shown = f"{error.key.get_name()} {error.key.get_base64()}"
        raise SftpError(Reason.HOST_KEY_CHANGED, f"{server} shows another host key than the trusted one: {shown}") from error
    except FileNotFoundError as error:
        raise SftpError(Reason.NOT_FOUND, f"{server}: {error.filename or 'the file or folder'} does not exist") from error
    except (paramiko.SSHException, OSError, EOFError) as error:
        unknown = "not found in known_hosts" in str(error)
        reason = Reason.HOST_KEY_UNKNOWN if unknown else Reason.NETWORK
        raise SftpError(reason, f"{server}: {error or type(error).__name__}") from error
    finally:
        client.close()


def host_key_of(opened: "paramiko.SFTPClient") -> str:
    """Return the key the server of a session showed: type and Base64."""
    key = opened.get_channel().get_transport().get_remote_server_key()
    return f"{key.get_name()} {key.get_base64()}"


def key_problem(host_key: str) -> str:
    """Return what is wrong with the text of a host key, empty when nothing is."""
    try:
        _host_key(host_key)
    except SftpError as error:
        return error.detail
    return ""


def download(
    opened: "paramiko.SFTPClient", path: str, part: Path, size: int, progress: Callable[[int], None] = lambda _done: None
) -> None:
    """Add to `part` what it lacks of the first `size` bytes of a file. Errors: SftpError when the file became shorter."""
    with opened.open(path, "rb") as source, part.open("ab") as target:
        done = target.tell()
        while done < size:
            end = min(size, done + _PIECE * _PIECES)
            pieces = [(at, min(_PIECE, end - at)) for at in range(done, end, _PIECE)]
            for data in source.readv(pieces):
                if not data:
                    raise SftpError(Reason.SHORTENED, f"{path} became shorter while it was read")
                target.write(data)
            done = end
            progress(done)


def _trust(client: "paramiko.SSHClient", server: Server) -> None:
    if server.known_hosts is not None and server.known_hosts.exists():
        client.load_host_keys(str(server.known_hosts))
    if server.host_key:
        name = server.host if server.port == PORT else f"[{server.host}]:{server.port}"
        key = _host_key(server.host_key)
        client.get_host_keys().add(name, key.get_name(), key)


def _host_key(text: str) -> "paramiko.PKey":
    import paramiko  # noqa: PLC0415

    kind, _, content = text.strip().partition(" ")
    try:
        return paramiko.PKey.from_type_string(kind, base64.b64decode(content.split(" ")[0], validate=True))
    except (binascii.Error, ValueError, paramiko.SSHException, paramiko.pkey.UnknownKeyType) as error:
        form = "write the type and the Base64 of the key as in known_hosts, for example ssh-ed25519 AAAA…"
        raise SftpError(Reason.HOST_KEY_UNKNOWN, f"the host key cannot be read: {form}") from error


def _credentials(server: Server) -> Mapping[str, Any]:
    if server.private_key:
        return {"pkey": _private_key(server)}
    if server.identity is not None:
        return {"key_filename": str(server.identity)}
    return {"password": server.password or ""}


def _private_key(server: Server) -> "paramiko.PKey":
    import paramiko  # noqa: PLC0415

    try:
        text = base64.b64decode(server.private_key, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError) as error:
        raise SftpError(Reason.LOGIN, "privateKeyContent is not the Base64 of a private key") from error
    for kind in (paramiko.RSAKey, paramiko.Ed25519Key, paramiko.ECDSAKey):
        try:
            return kind.from_private_key(io.StringIO(text), server.passphrase)
        except (paramiko.SSHException, ValueError):
            continue
    raise SftpError(Reason.LOGIN, "privateKeyContent is no RSA, Ed25519 or ECDSA key, or passPhrase does not open it")
