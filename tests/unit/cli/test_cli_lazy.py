"""Every command is there, and asking for one imports what that one needs."""

import subprocess
import sys

import typer
from typer.main import get_command

from capstream.cli.main import Commands, app


def test_every_place_holds_the_command_of_its_name() -> None:
    group = get_command(app)

    names = group.list_commands(typer.Context(group))  # type: ignore[attr-defined]

    assert [group.commands[name].name for name in Commands.places] == list(Commands.places)  # type: ignore[attr-defined]
    assert set(names) == {*Commands.places, "version"}


def test_a_command_does_not_wait_for_the_imports_of_another() -> None:
    script = "import sys; from capstream.cli.main import app; app(['version'], standalone_mode=False); print(*sys.modules)"

    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    loaded = ran.stdout.split()
    assert "capstream.cli.lazy" in loaded
    assert not [name for name in loaded if name.startswith(("capstream.aep", "capstream.relay", "capstream.app"))]
