"""The guide to accounts, roles and sandboxes runs as it is written, and what it makes works and is gone at the end."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
from running import Server

pytestmark = pytest.mark.story
GUIDE = Path(__file__).parents[2] / "docs" / "howto" / "accounts-roles-and-sandboxes.md"


def test_the_guide_to_accounts_roles_and_sandboxes(server: Server, tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    script = "\n".join(re.findall(r"```bash\n(.*?)```", GUIDE.read_text(), re.DOTALL))
    environment = dict(os.environ, CREDENTIALS=str(server.data / "credentials.json"), WORK=str(work), COLUMNS="200")
    done = subprocess.run(
        ["bash", "-c", script], check=False, capture_output=True, text=True, env=environment, cwd=GUIDE.parents[2]
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "created trials" in done.stdout
    assert re.search(r"sandboxes\W+trials", done.stdout)  # of `org show`: not prod
    assert "The permission org-administrator is missing in this organisation" in done.stderr
    assert "reset trials" in done.stdout
    made = json.loads((work / "streamer.json").read_text())
    assert (work / "streamer.json").stat().st_mode & 0o777 == 0o600
    assert made["client_secret"] not in done.stdout
    assert json.loads((work / "new-secret.json").read_text())["clientSecret"].startswith("p8e-")
    accounts = server.run("account", "list", "--json")
    assert made["client_id"] not in {account["clientId"] for account in accounts}
    assert [(one["name"], one["state"]) for one in server.run("sandbox", "list", "--json")] == [
        ("prod", "active"),
        ("trials", "deleted"),
    ]
    assert all(role["name"] != "Streamers" for role in server.run("role", "list", "--json"))
    assert server.run("org", "show", "--json")["sandboxes"] == ["prod"]


def test_a_role_that_cannot_be_made_as_asked_is_not_made(server: Server) -> None:
    refused = server.command("role", "create", "Flyers", "--permission", "fly", "--json")
    assert refused.returncode != 0
    assert "fly" in refused.stderr
    assert all(role["name"] != "Flyers" for role in server.run("role", "list", "--json"))
