"""A stub of Adobe's side: gives a token, answers 200 to every batch, counts the records. `python -m bench.stub PORT`."""

import asyncio
import sys

import httptools
import uvloop

_TOKEN = b'{"access_token":"a.b.c","token_type":"bearer","expires_in":86399}'
_TAKEN = b'{"id":"batch","status":"success","message":"ingested"}'


class _Stub(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]
        self._parser = httptools.HttpRequestParser(self)
        self._url = b""

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_begin(self) -> None:
        self._url = b""

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_message_complete(self) -> None:
        body = _TOKEN if self._url.startswith(b"/ims") else _TAKEN
        self._transport.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body) + body
        )


async def _serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(_Stub, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1])))
