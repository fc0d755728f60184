"""The curl guide runs as it is written."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
from running import Server
from verified import answered, verify

pytestmark = pytest.mark.story
ROOT = Path(__file__).parents[2]


def test_every_line_of_the_curl_guide_works(server: Server, request: pytest.FixtureRequest) -> None:
    guide = (ROOT / "docs" / "howto" / "connect-with-curl.md").read_text()
    script = "\n".join(re.findall(r"```bash\n(.*?)```", guide, re.DOTALL))
    environment = dict(os.environ, CREDENTIALS=str(server.data / "credentials.json"))
    done = subprocess.run(["bash", "-c", script], check=False, capture_output=True, text=True, env=environment, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    *_, profile, runs, preview, header, row = done.stdout.strip().splitlines()
    entity = next(iter(json.loads(profile).values()))["entity"]
    assert entity["loyalty"] == {"points": 1250, "tier": "gold"}
    run = json.loads(runs)["items"][0]
    assert run["metrics"]["recordSummary"]["inputRecordCount"] == run["metrics"]["recordSummary"]["outputRecordCount"] == 1
    assert json.loads(preview)["data"][0]["_id"] == "T-000001"
    assert (header, row) == ("_id,price_total,first_sku", "T-000001,90.0,sku-01")
    verify(request, "curl", answered(server))
