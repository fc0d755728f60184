"""An SFTP server over a folder, in a thread: what exploring talks to is real, only where it runs is not."""

import base64
import contextlib
import io
import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import paramiko

USER, PASSWORD = "capstream", "sftp-pass-word"


class _Door(paramiko.ServerInterface):
    def __init__(self, key: paramiko.PKey) -> None:
        self._key = key

    def check_auth_password(self, username: str, password: str) -> int:
        good = (username, password) == (USER, PASSWORD)
        return paramiko.AUTH_SUCCESSFUL if good else paramiko.AUTH_FAILED

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        good = username == USER and key.asbytes() == self._key.asbytes()
        return paramiko.AUTH_SUCCESSFUL if good else paramiko.AUTH_FAILED

    def get_allowed_auths(self, username: str) -> str:
        return "password,publickey"

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return paramiko.OPEN_SUCCEEDED


class _Folder(paramiko.SFTPServerInterface):
    root = Path()

    def _place(self, path: str) -> Path:
        return self.root / self.canonicalize(path).lstrip("/")

    def list_folder(self, path: str) -> Any:
        try:
            return [paramiko.SFTPAttributes.from_stat(each.stat(), each.name) for each in sorted(self._place(path).iterdir())]
        except OSError as error:
            return paramiko.SFTPServer.convert_errno(error.errno or 0)

    def stat(self, path: str) -> Any:
        try:
            return paramiko.SFTPAttributes.from_stat(self._place(path).stat())
        except OSError as error:
            return paramiko.SFTPServer.convert_errno(error.errno or 0)

    lstat = stat

    def mkdir(self, path: str, attr: Any) -> int:
        return self._done(self._place(path).mkdir)

    def rename(self, oldpath: str, newpath: str) -> int:
        return self._done(lambda: self._place(oldpath).rename(self._place(newpath)))

    def _done(self, act: Callable[[], object]) -> int:
        try:
            act()
        except OSError as error:
            return int(paramiko.SFTPServer.convert_errno(error.errno or 0))
        return int(paramiko.SFTP_OK)

    def open(self, path: str, flags: int, attr: Any) -> Any:
        try:
            file = self._place(path).open("rb")
        except OSError as error:
            return paramiko.SFTPServer.convert_errno(error.errno or 0)
        handle = paramiko.SFTPHandle(os.O_RDONLY)
        handle.readfile = file  # type: ignore[attr-defined]
        return handle


class SftpServer:
    """Serves `root` on a port of its own until it is closed."""

    def __init__(self, root: Path, key: paramiko.PKey) -> None:
        self.root = root
        self._key = key
        self._folder = type("Folder", (_Folder,), {"root": root})
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._transports: list[paramiko.Transport] = []
        self.port = int(self._socket.getsockname()[1])
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            transport = paramiko.Transport(connection)
            transport.add_server_key(self._key)
            transport.set_subsystem_handler("sftp", paramiko.SFTPServer, self._folder)
            self._transports.append(transport)
            try:
                transport.start_server(server=_Door(self._key))
            except (paramiko.SSHException, EOFError, OSError):  # the client went away; the next one is served
                transport.close()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # closing alone does not wake who waits in accept
        self._socket.close()
        for transport in self._transports:
            transport.close()

    def private_key(self, phrase: str | None = None) -> str:
        text = io.StringIO()
        self._key.write_private_key(text, password=phrase)
        return base64.b64encode(text.getvalue().encode()).decode()
