"""The guide to mappings runs as it is written, and comes to what it says."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
from running import Server

from capstream.cli.client import Refused

pytestmark = pytest.mark.story
ROOT = Path(__file__).parents[2]


def test_the_guide_to_mappings(server: Server, tmp_path: Path) -> None:
    text = (ROOT / "docs" / "howto" / "test-your-mappings.md").read_text()
    script = "\n".join(re.findall(r"```bash\n(.*?)```", text, re.DOTALL))
    environment = dict(os.environ, CREDENTIALS=str(server.data / "credentials.json"), WORK=str(tmp_path))
    done = subprocess.run(["bash", "-c", script], check=False, capture_output=True, text=True, env=environment, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    printed = done.stdout
    assert "4 passed, 0 failed" in printed
    assert '    - "member-0002@example.com"\n    + "member-0001@example.com"\n3 passed, 1 failed' in printed
    assert "hint: did you mean lower?" in printed
    assert 'productListItems[1].SKU = "sku-02"' in printed
    (tried,) = json.loads((tmp_path / "tried.json").read_text())
    fields = {field["path"]: field for field in tried["fields"]}
    total = fields["commerce.order.priceTotal"]
    assert (total["value"], total["inputs"]) == (90.0, [{"path": "commerce.order.priceTotal", "value": "90.00"}])
    assert fields["productListItems[1].SKU"]["inputs"] == [{"path": "productLineItems[1].SKU", "value": "sku-02"}]
    assert "productListItems[1].quantity" not in fields
    assert [error["columnName"] for error in tried["errors"]] == ["productLineItems[*].quantity"]
    suggested = json.loads((tmp_path / "suggested.json").read_text())["mappings"]
    assert {"productListItems[*].SKU", "commerce.order.priceTotal", "_id"} <= {one["destination"] for one in suggested}
    assert suggested[0]["matchScore"] == 1.0
    assert len({one["destination"] for one in suggested}) == len(suggested)
    assert re.search(
        r"line \d+: commerce.order.priceTotl does not exist .*; did you mean commerce.order.priceTotal\?", done.stderr
    )
    with server.client() as client:
        sets = "/data/foundation/conversion/mappingSets"
        used = f"{sets}/{json.loads((tmp_path / 'connection.json').read_text())['event_mapping_id']}"
        assert client.platform("GET", used)["status"] == "PUBLISHED"
        with pytest.raises(Refused, match="is used by a dataflow") as caught:
            client.platform("DELETE", used)
        assert caught.value.status == 409
        free = f"{sets}/{json.loads((tmp_path / 'imported.json').read_text())['id']}"
        assert client.platform("GET", free)["status"] == "DRAFT"
        client.platform("DELETE", free)
