"""The relay's own transport, against servers that answer in all ways they can."""

import asyncio
import gc
import gzip
import ssl
import weakref
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from capstream.relay import lines

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
Say = Callable[[asyncio.StreamWriter], Awaitable[None]]
Loop = Callable[[Any], Any]


@pytest.fixture(params=[asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Loop:
    return request.param  # type: ignore[no-any-return]


class Far:
    """A server that says something prepared to each request."""

    def __init__(self, *answers: bytes | Say) -> None:
        self.answers = list(answers)
        self.requests: list[tuple[int, bytes]] = []  #: number of the connection, what came
        self.connections = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        number = self.connections
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                size = int(head.lower().partition(b"content-length: ")[2].split(b"\r")[0] or 0)
                self.requests.append((number, head + await reader.readexactly(size)))
                answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
                if isinstance(answer, bytes):
                    writer.write(answer)
                    await writer.drain()
                else:
                    await answer(writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def _far(*answers: bytes | Say, tls: ssl.SSLContext | None = None) -> Any:
    far = Far(*answers)
    server = await asyncio.start_server(far.serve, "127.0.0.1", 0, ssl=tls)
    scheme = "https" if tls else "http"
    far.url = f"{scheme}://localhost:{server.sockets[0].getsockname()[1]}"  # type: ignore[attr-defined]
    async with httpx.AsyncClient(transport=lines.Lines(), timeout=httpx.Timeout(0.5, connect=10)) as client:
        try:
            yield far, client
        finally:
            await client.aclose()
            server.close()
            await server.wait_closed()


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()


def _then_close(said: bytes) -> Say:
    async def say(writer: asyncio.StreamWriter) -> None:
        writer.write(said)
        await writer.drain()
        writer.close()

    return say


def _posting(*answers: bytes | Say, times: int = 1) -> Any:
    async def main() -> tuple[Far, list[httpx.Response | Exception]]:
        found: list[httpx.Response | Exception] = []
        async with _far(*answers) as (far, client):
            for number in range(times):
                try:
                    found.append(await client.post(f"{far.url}/a/b?c=d%20e", content=b"body %d" % number, headers={"x": "y"}))
                except httpx.HTTPError as error:
                    found.append(error)
                await asyncio.sleep(0.01)
        return far, found

    return main()


def test_a_request_is_what_it_should_be(run: Loop) -> None:
    far, (answer,) = run(_posting(b"HTTP/1.1 207 Multi-Status\r\nRetry-After: 7\r\ncontent-length: 4\r\n\r\nbody"))
    head, _, body = far.requests[0][1].partition(b"\r\n\r\n")
    port = far.url.rpartition(":")[2].encode()
    assert head.startswith(b"POST /a/b?c=d%20e HTTP/1.1\r\nHost: localhost:" + port)
    assert b"\r\nx: y" in head
    assert body == b"body 0"
    assert (answer.status_code, answer.headers["retry-after"], answer.content) == (207, "7", b"body")


def test_a_connection_is_kept_and_taken_again(run: Loop) -> None:
    far, answers = run(_posting(OK, times=5))
    assert [answer.content for answer in answers] == [b"ok"] * 5
    assert far.connections == 1
    assert [body[-1:] for _, body in far.requests] == [b"0", b"1", b"2", b"3", b"4"]


def test_requests_side_by_side_have_connections_of_their_own(run: Loop) -> None:
    async def main() -> int:
        async def slow(writer: asyncio.StreamWriter) -> None:
            await asyncio.sleep(0.05)
            writer.write(OK)

        async with _far(slow) as (far, client):
            bodies = [bytes([65 + number]) * 700_000 for number in range(4)]
            for _ in range(2):
                answers = await asyncio.gather(*(client.post(far.url, content=body) for body in bodies))
                assert [answer.content for answer in answers] == [b"ok"] * 4
            sent = sorted(request.partition(b"\r\n\r\n")[2] for _, request in far.requests)
            assert sent == sorted(bodies * 2)
            return int(far.connections)

    assert run(main()) == 4


WHOLE = {
    "in pieces": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\no\r\n1\r\nk\r\n0\r\n\r\n",
    "after others": b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nx: z\r\n\r\n" + OK,
    "packed": b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: %d\r\n\r\n%b"
    % (len(gzip.compress(b"ok", mtime=0)), gzip.compress(b"ok", mtime=0)),
    "of a kept HTTP/1.0": b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\nok",
}


@pytest.mark.parametrize("said", WHOLE.values(), ids=WHOLE)
def test_whole_answers_are_read(run: Loop, said: bytes) -> None:
    far, answers = run(_posting(said, times=2))
    assert [(answer.status_code, answer.content) for answer in answers] == [(200, b"ok")] * 2
    assert far.connections == 1


LAST = {
    "said so": b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok",
    "old": b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok",
    "more than was asked for": OK + b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nbad",
    "half of one more": OK + b"HTTP/1.1 200 OK\r\ncontent-le",
    "rubbish behind it": OK + b"rubbish",
}


@pytest.mark.parametrize("said", LAST.values(), ids=LAST)
def test_a_connection_is_not_kept_for_ever(run: Loop, said: bytes) -> None:
    far, answers = run(_posting(said, times=2))
    assert [answer.content for answer in answers] == [b"ok"] * 2
    assert far.connections == 2


def test_an_answer_without_a_length_ends_with_the_connection(run: Loop) -> None:
    far, answers = run(_posting(_then_close(b"HTTP/1.1 200 OK\r\n\r\no" + b"k"), times=2))
    assert [answer.content for answer in answers] == [b"ok"] * 2
    assert far.connections == 2


def test_an_answer_without_a_body_ends_with_its_head(run: Loop) -> None:
    _, answers = run(_posting(b"HTTP/1.1 204 No Content\r\n\r\n", times=2))
    assert [answer.status_code for answer in answers] == [204, 204]


BROKEN = {
    "nothing": (_close, httpx.RemoteProtocolError),
    "half a head": (_then_close(b"HTTP/1.1 200 OK\r\ncont"), httpx.RemoteProtocolError),
    "half a body": (_then_close(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\no"), httpx.RemoteProtocolError),
    "half the pieces": (
        _then_close(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\no\r\n"),
        httpx.RemoteProtocolError,
    ),
    "another language": (b"220 mail.test ESMTP\r\n", httpx.RemoteProtocolError),
    "another protocol": (
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
        httpx.RemoteProtocolError,
    ),
    "not packed as it says": (
        b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 2\r\n\r\nok",
        httpx.DecodingError,
    ),
    "silence": (b"", httpx.ReadTimeout),
    "silence in its middle": (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\no", httpx.ReadTimeout),
}


@pytest.mark.parametrize(("said", "expected"), BROKEN.values(), ids=BROKEN)
def test_broken_answers_are_told_and_the_next_request_is_well(run: Loop, said: Any, expected: type[Exception]) -> None:
    far, (first, second) = run(_posting(said, OK, times=2))
    assert type(first) is expected
    assert second.content == b"ok"
    assert far.connections == 2


def test_a_connection_that_is_reset_is_told(run: Loop) -> None:
    async def reset(writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()

    _, (first, second) = run(_posting(reset, OK, times=2))
    assert isinstance(first, httpx.ReadError | httpx.RemoteProtocolError)
    assert second.content == b"ok"


def test_what_comes_slowly_may_come(run: Loop) -> None:
    """Only silence is limited: here the whole answer takes longer."""

    async def drip(writer: asyncio.StreamWriter) -> None:
        for at in range(0, len(OK), 5):
            writer.write(OK[at : at + 5])
            await asyncio.sleep(0.08)

    _, (answer,) = run(_posting(drip))
    assert answer.content == b"ok"


def test_a_connection_the_other_side_closed_or_spoke_on_is_not_taken(run: Loop) -> None:
    async def main() -> int:
        async def close_soon(writer: asyncio.StreamWriter) -> None:
            writer.write(OK)
            asyncio.get_running_loop().call_later(0.02, writer.close)

        async def speak_soon(writer: asyncio.StreamWriter) -> None:
            writer.write(OK)
            asyncio.get_running_loop().call_later(0.02, writer.write, OK)

        async with _far(close_soon, speak_soon, OK) as (far, client):
            for _ in range(3):
                assert (await client.post(far.url)).content == b"ok"
                await asyncio.sleep(0.06)
            return int(far.connections)

    assert run(main()) == 3


def test_a_connection_that_rested_long_is_not_taken(run: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "_IDLE_S", 0.005)
    far, answers = run(_posting(OK, times=3))
    assert [answer.content for answer in answers] == [b"ok"] * 3
    assert far.connections == 3


def test_a_request_that_is_given_up_takes_its_connection_with_it(run: Loop) -> None:
    async def main() -> int:
        async with _far(b"", OK) as (far, client):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await client.post(far.url)
            assert (await client.post(far.url)).content == b"ok"
            return int(far.connections)

    assert run(main()) == 2


def test_a_connection_that_rests_holds_nothing_of_what_was_posted(run: Loop) -> None:
    async def main() -> bool:
        class Posted:
            """What the task that posted has in hand."""

        async def post(client: httpx.AsyncClient, url: str) -> Posted:
            await client.post(url)
            return Posted()

        async with _far(OK) as (far, client):
            kept = weakref.ref(await asyncio.create_task(post(client, far.url)))
            await asyncio.sleep(0.01)
            return kept() is None

    gc.disable()
    try:
        assert run(main())
    finally:
        gc.enable()


def test_nobody_there_is_told(run: Loop) -> None:
    async def main() -> None:
        async with _far(OK) as (far, _):
            url = far.url
        async with httpx.AsyncClient(transport=lines.Lines()) as client:
            with pytest.raises(httpx.ConnectError):
                await client.post(url)
            with pytest.raises(httpx.ConnectError):
                await client.post("http://nowhere.invalid/")
            for unreachable in (f"http://{'a' * 70}.test/", "http://a..test/", "http://127.0.0.1:99999/"):
                with pytest.raises(httpx.ConnectError):
                    await client.post(unreachable)
            for wrong in ("ftp://a.test/", "/collection", "http:///x"):
                with pytest.raises(httpx.UnsupportedProtocol):
                    await client.post(wrong)

    run(main())


@pytest.mark.parametrize("value", ["a\r\nb: c", "a\nb", "a\0"])
def test_a_header_stays_one(run: Loop, value: str) -> None:
    async def main() -> None:
        async with _far(OK) as (far, client):
            with pytest.raises(httpx.LocalProtocolError):
                await client.post(far.url, headers={"authorization": value})
            assert far.connections == 0

    run(main())


def test_certificates_are_checked(run: Loop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tls = _own_certificate(tmp_path)

    async def main() -> bytes:
        async with _far(OK, tls=tls) as (far, client):
            big = b"x" * 900_000
            answers = [await client.post(far.url, content=big) for _ in range(2)]
            assert far.connections == 1
            assert far.requests[1][1].endswith(big)
            return answers[1].content

    with pytest.raises(httpx.ConnectError):
        run(main())
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert.pem"))
    assert run(main()) == b"ok"


def _own_certificate(folder: Path) -> ssl.SSLContext:
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + timedelta(days=1))
    made = made.add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
    (folder / "cert.pem").write_bytes(made.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM))
    (folder / "key.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return tls


def test_a_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """The relay's own transport knows none, so httpx's is taken then."""

    async def main() -> list[bytes]:
        async with _far(OK) as (proxy, _):
            monkeypatch.setenv("http_proxy", proxy.url)
            async with lines.client(httpx.Timeout(5)) as client:
                assert (await client.post("http://platform.test/x")).content == b"ok"
            return [request for _, request in proxy.requests]

    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    (request,) = asyncio.run(main())
    assert request.startswith(b"POST http://platform.test/x HTTP/1.1")
