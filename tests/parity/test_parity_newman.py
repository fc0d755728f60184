"""Requests in the form of Adobe's Postman collections, run by Postman's own runner against a server of our own."""

import json
import subprocess
from pathlib import Path

import pytest
from running import Server

from capstream import credentials

pytestmark = pytest.mark.parity
FOLDER = Path(__file__).parent / "newman"
COLLECTION = FOLDER / "control-plane.postman_collection.json"
NEWMAN = FOLDER / "node_modules" / ".bin" / "newman"
CLIENT = "newman"


def environment(server: Server) -> dict[str, object]:
    """Return the variables of Adobe's environment file for a server."""
    account = credentials.read(server.data / "credentials.json")
    values = {
        "IMS": account.ims_url,
        "PLATFORM_GATEWAY": account.platform_url,
        "IMS_ORG": account.org_id,
        "API_KEY": account.client_id,
        "CLIENT_SECRET": account.client_secret,
        "SCOPES": account.scopes,
        "SANDBOX_NAME": account.sandbox,
    }
    return {"name": "capstream", "values": [{"key": key, "value": value, "enabled": True} for key, value in values.items()]}


@pytest.mark.skipif(not NEWMAN.exists(), reason="newman is not installed: `make newman` does it where npm is there")
def test_the_collection_runs_without_a_failure(server: Server, tmp_path: Path) -> None:
    variables, report = tmp_path / "environment.json", tmp_path / "report.json"
    variables.write_text(json.dumps(environment(server)))
    command = [NEWMAN, "run", COLLECTION, "--environment", variables, "--reporters", "json", "--reporter-json-export", report]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    run = json.loads(report.read_text())["run"]
    failures = [(each["source"].get("name"), each["error"]["message"]) for each in run["failures"]]
    assert failures == []
    assert done.returncode == 0, done.stderr
    requests = sum(len(folder["item"]) for folder in json.loads(COLLECTION.read_text())["item"])
    assert run["stats"]["requests"] == {"total": requests, "pending": 0, "failed": 0}
    assert run["stats"]["assertions"]["total"] > requests
