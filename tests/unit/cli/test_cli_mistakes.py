"""Mistakes at the command line end in one line that says what to do, never in a trace."""

import json
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from capstream.cli.main import run
from capstream.credentials import Credentials


@pytest.fixture
def credentials(tmp_path: Path) -> str:
    file = tmp_path / "credentials.json"
    addresses = {each.name: "http://127.0.0.1:9" for each in fields(Credentials) if each.name.endswith("_url")}
    file.write_text(json.dumps({each.name: "x" for each in fields(Credentials)} | addresses))
    return str(file)


def failure(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    monkeypatch.setattr(sys, "argv", ["capstream", *arguments])
    with pytest.raises(SystemExit) as ended:
        run()
    assert ended.value.code == 2
    return capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("sources", "show", "../status"), "a name in it is empty, or no name"),
        (("sources", "show", ""), "a name in it is empty, or no name"),
        (("dead-letters", "show", "a?b"), "a name in it is empty, or no name"),
        (("dead-letters", "show", "%2e%2e"), "a name in it is empty, or no name"),
        (("replay", "--from", "1h", "--to", "2h"), "--to is not after --from"),
        (("replay", "--from", "1h", "--dry-run", "--translation", "/nowhere/x.json"), "/nowhere/x.json: No such file"),
        (("replay", "--from", "1h"), "is the server running"),
    ],
)
def test_a_mistake_is_told_in_a_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], credentials: str, arguments: tuple[str, ...], word: str
) -> None:
    told = failure(monkeypatch, capsys, *arguments, "--credentials", credentials)
    assert word in told
    assert "Traceback" not in told
