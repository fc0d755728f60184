"""Asks a server on this machine whether it is ready, at the port and address of its own settings."""

import http.client
from dataclasses import dataclass

from capstream.config import Server

_TIMEOUT_S = 3.0
_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - where one is asked that listens everywhere


@dataclass(frozen=True, slots=True)
class Health:
    """What the server says; a status of 0 when it does not answer, with the reason as text."""

    status: int
    text: str

    @property
    def is_ready(self) -> bool:
        """Whether every process runs and the port is served."""
        return self.status == http.client.OK

    @property
    def has_answered(self) -> bool:
        """Whether the port is served, ready or not."""
        return self.status != 0


def health_url(server: Server) -> str:
    """Return where the server's health is asked, not the address that others use."""
    host = _ANY.get(server.host, server.host)
    return f"http://{f'[{host}]' if ':' in host else host}:{server.port}/health"


def ask(server: Server) -> Health:
    """Return the health of the server with these settings; it takes 3 s at most."""
    connection = http.client.HTTPConnection(_ANY.get(server.host, server.host), server.port, timeout=_TIMEOUT_S)
    try:
        connection.request("GET", "/health")
        answer = connection.getresponse()
        return Health(answer.status, answer.read().decode(errors="replace"))
    except (OSError, http.client.HTTPException) as error:
        return Health(0, str(error) or type(error).__name__)
    finally:
        connection.close()
