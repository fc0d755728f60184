"""The network's end of a webhook connection, in memory: packets in, what was sent out."""

import asyncio
from typing import Any

from capstream.serving.exchange import Recognise, ThinHandler
from capstream.serving.thin import ThinProtocol


class Elsewhere(asyncio.Protocol):
    """What connections are handed over to: notes their bytes."""

    def __init__(self, got: list[bytes]) -> None:
        self._got = got

    def data_received(self, data: bytes) -> None:
        self._got.append(data)


class Wire(asyncio.Transport):
    """One connection. `sent`: the answers, `elsewhere`: what the other protocol got after a hand-over."""

    def __init__(self, handler: ThinHandler, recognise: Recognise, limit: int) -> None:
        super().__init__()
        self.sent = b""
        self.elsewhere: list[bytes] = []
        self.closed = False
        self.open_ones: set[ThinProtocol] = set()
        thin: Any = ThinProtocol(handler, recognise, lambda: Elsewhere(self.elsewhere), limit, self.open_ones)
        self._protocol = thin
        thin.connection_made(self)

    def receive(self, packet: bytes) -> None:
        """Let a packet arrive; nothing arrives on a closed connection."""
        if not self.closed:
            self._protocol.data_received(packet)

    def lose(self) -> None:
        """Let the connection be gone."""
        self._protocol.connection_lost(None)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("192.0.2.7", 40000) if name == "peername" else default

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol

    def is_closing(self) -> bool:
        return self.closed

    def write(self, data: Any) -> None:
        if not self.closed:
            self.sent += data

    def close(self) -> None:
        self.closed = True
