"""The unit, the container file and the packaged paths fit the project."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import typer

from capstream.cli.main import app

ROOT = Path(__file__).parents[3]
UNIT = ROOT / "deploy" / "systemd" / "capstream-relay.service"
CONTAINER = ROOT / "Containerfile"


def commands() -> set[str]:
    return set(typer.main.get_command(app).commands)  # type: ignore[attr-defined]


def test_the_unit_starts_a_command_there_is_waits_until_it_is_ready_and_reloads_by_signal() -> None:
    text = UNIT.read_text()
    (command,) = re.findall(r"^ExecStart=\S+/capstream (\w+)$", text, re.MULTILINE)
    assert command in commands()
    assert {"ExecReload=/bin/kill -HUP $MAINPID", "Type=notify", "NotifyAccess=main"} <= set(text.splitlines())
    assert re.findall(r"^WatchdogSec=\d+$", text, re.MULTILINE)
    assert int(re.findall(r"TimeoutStopSec=(\d+)", text)[0]) > 20  # the supervisor's patience


def test_the_unit_is_started_again_whatever_happens() -> None:
    sections = dict(re.findall(r"^\[(\w+)\]\n(.*?)(?=^\[|\Z)", UNIT.read_text(), re.MULTILINE | re.DOTALL))
    assert "StartLimitIntervalSec=0" in sections["Unit"].splitlines()
    assert {"Restart=always", "OOMPolicy=continue", "KillMode=mixed"} <= set(sections["Service"].splitlines())


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")
def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    unit = tmp_path / UNIT.name
    unit.write_text(re.sub(r"^ExecStart=.*$", "ExecStart=/bin/true", UNIT.read_text(), flags=re.MULTILINE))
    done = subprocess.run(["systemd-analyze", "verify", str(unit)], check=False, capture_output=True, text=True)
    about = [line for line in done.stderr.splitlines() if UNIT.name in line]
    assert about == []


def test_the_container_file_copies_what_there_is_from_a_plain_base_image() -> None:
    lines = CONTAINER.read_text().splitlines()
    images = [line.split()[1] for line in lines if line.startswith("FROM")]
    assert images == ["python:3.12-slim"] * 2
    copied = [name for line in lines if line.startswith("COPY ") and "--from" not in line for name in line.split()[1:-1]]
    assert copied
    assert [name for name in copied if not (ROOT / name).exists()] == []
    (command,) = re.findall(r'^CMD \["(\w+)"\]', "\n".join(lines), re.MULTILINE)
    (probe,) = re.findall(r'^HEALTHCHECK .*CMD \["capstream", "(\w+)"\]', "\n".join(lines), re.MULTILINE)
    assert {command, probe} <= commands()
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    let_in = {line.removeprefix("!") for line in ignored if line.startswith("!")}
    assert {name.split("/")[0] for name in copied} <= let_in
    assert {"*", "**/*.so", "**/__pycache__"} <= set(ignored)
