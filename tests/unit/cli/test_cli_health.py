"""`capstream health` asks the server where its settings say it listens."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from typer.testing import CliRunner

from capstream.cli.main import app


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        status = self.server.status if self.path == "/health" else 404  # type: ignore[attr-defined]
        self.send_response(status)
        self.end_headers()
        self.wfile.write(b'{"status":"ready"}' if status == 200 else b'{"status":"starting","missing":["courier"]}')

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[HTTPServer]:
    made = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=made.serve_forever, daemon=True).start()
    yield made
    made.shutdown()
    made.server_close()


@pytest.mark.parametrize(("status", "code", "word"), [(200, 0, "ready"), (503, 1, "courier")])
@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])  # noqa: S104 - not listened on
def test_the_exit_code_says_whether_it_is_ready(
    server: HTTPServer, tmp_path: Path, status: int, code: int, word: str, host: str
) -> None:
    server.status = status  # type: ignore[attr-defined]
    (tmp_path / "capstream.toml").write_text(
        f'[server]\nhost = "{host}"\nport = {server.server_port}\npublic_url = "https://elsewhere.example.com"\n'
    )
    environment = {"CAPSTREAM_DATA": str(tmp_path), "HTTP_PROXY": "http://127.0.0.1:9"}
    done = CliRunner().invoke(app, ["health"], env=environment)
    assert (done.exit_code, word in done.output) == (code, True), done.output


def test_the_port_given_at_the_start_is_asked(server: HTTPServer, tmp_path: Path) -> None:
    server.status = 200  # type: ignore[attr-defined]
    done = CliRunner().invoke(app, ["health", "--data", str(tmp_path), "--port", str(server.server_port)])
    assert done.exit_code == 0, done.output


def test_a_server_that_does_not_answer_is_told(server: HTTPServer, tmp_path: Path) -> None:
    server.shutdown()
    server.server_close()
    done = CliRunner().invoke(app, ["health", "--data", str(tmp_path)], env={"CAPSTREAM_SERVER_PORT": str(server.server_port)})
    assert done.exit_code == 1
    assert "does not answer" in done.output
