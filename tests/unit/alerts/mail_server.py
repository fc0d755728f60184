"""A mail server that listens on a port of this machine: says what its script says, keeps what it takes."""

import base64
import socketserver
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes
from email.message import Message
from typing import cast


class MailServerStub(socketserver.ThreadingTCPServer):
    """Speaks SMTP. `refusals` are answered to RCPT one after the other; with `tls` it offers STARTTLS, and AUTH behind it."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, tls: ssl.SSLContext | None = None, password: str = "") -> None:
        super().__init__(("127.0.0.1", 0), _Session)
        self.tls = tls
        self.password = password
        self.refusals: list[str] = []
        self.letters: list[tuple[str, Message]] = []
        self.encrypted: list[bool] = []

    @property
    def port(self) -> int:
        return int(self.server_address[1])


class _Session(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        server, self.sent_to, self.is_encrypted = cast(MailServerStub, self.server), "", False
        self._say("220 mail.example.com")
        while line := self.rfile.readline().decode().strip():
            if not self._answer(server, line):
                return

    def finish(self) -> None:
        super().finish()
        self.request.close()

    def _answer(self, server: MailServerStub, line: str) -> bool:
        verb = line.partition(" ")[0].upper()
        if verb == "EHLO":
            offered = ["STARTTLS"] if server.tls and not self.is_encrypted else ["AUTH PLAIN"] if server.password else []
            lines = ["mail.example.com", *offered]
            self._say("\r\n".join(f"250{'-' if at < len(lines) - 1 else ' '}{each}" for at, each in enumerate(lines)))
        elif verb == "STARTTLS" and server.tls:
            self._say("220 go on")
            self.request = server.tls.wrap_socket(self.request, server_side=True)
            self.setup()
            self.is_encrypted = True
        elif verb == "AUTH":
            given = base64.b64decode(line.rpartition(" ")[2]).decode().rpartition("\0")[2]
            self._say("235 welcome" if given == server.password else "535 who are you")
        elif verb == "RCPT":
            self.sent_to = line
            self._say(server.refusals.pop(0) if server.refusals else "250 ok")
        elif verb == "DATA":
            self._take(server)
        else:
            self._say("221 bye" if verb == "QUIT" else "250 ok")
        return verb != "QUIT"

    def _take(self, server: MailServerStub) -> None:
        self._say("354 go on")
        lines: list[bytes] = []
        while (line := self.rfile.readline()) not in (b".\r\n", b""):
            lines.append(line)
        server.letters.append((self.sent_to, message_from_bytes(b"".join(lines))))
        server.encrypted.append(self.is_encrypted)
        self._say("250 taken")

    def _say(self, text: str) -> None:
        self.wfile.write(f"{text}\r\n".encode())


@contextmanager
def listening(tls: ssl.SSLContext | None = None, password: str = "") -> Iterator[MailServerStub]:
    """Serve until the block ends."""
    with MailServerStub(tls, password) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()
