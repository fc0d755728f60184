"""The guide to schemas as code runs as it is written, and comes to what it says."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml
from running import Server

pytestmark = pytest.mark.story
ROOT = Path(__file__).parents[2]


def test_the_guide_to_schemas_as_code(server: Server, tmp_path: Path) -> None:
    text = (ROOT / "docs" / "howto" / "schemas-as-code.md").read_text()
    script = "\n".join(re.findall(r"```bash\n(.*?)```", text, re.DOTALL))
    work = tmp_path / "work"
    work.mkdir()
    environment = dict(os.environ, CREDENTIALS=str(server.data / "credentials.json"), WORK=str(work), COLUMNS="160")
    done = subprocess.run(["bash", "-c", script], check=False, capture_output=True, text=True, env=environment, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "note: rating: left out" in done.stderr
    draft = yaml.safe_load((work / "draft.yaml").read_text())["fieldGroups"][0]["fields"]
    assert (draft["enteredAt"]["format"], draft["till"]["properties"]["number"]["type"]) == ("date-time", "integer")
    assert {step["action"] for step in json.loads((work / "second.json").read_text())} == {"unchanged"}
    assert '└── visit *: object  "Visit"' in done.stdout
    assert "primary identity storeVisitor" in done.stdout
    assert "allowed  /_capstream/visit/visitor: maxLength raised from 40 to 80" in done.stdout
    assert "2 changes, 0 breaking" in done.stdout
    assert "breaks   /_capstream/visit/storeCode: the field cannot be removed, renamed or moved" in done.stdout
    assert done.stdout.rstrip().endswith("the way back breaks\n3 passed, 0 failed")


def test_applying_to_a_platform_says_what_it_refuses(server: Server, tmp_path: Path) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text("schemas:\n  - {title: Lost, class: profile, fieldGroups: [Commerce Details]}\n")
    command = [".venv/bin/capstream", "schema", "apply", str(file), "--credentials", str(server.data / "credentials.json")]
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 2
    assert "does not fit the class" in done.stderr
