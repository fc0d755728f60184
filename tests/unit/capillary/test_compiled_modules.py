"""Compiled or plain, the translation gives the same bytes."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PACKAGE = ROOT / "capstream"

PROGRAM = """
import sys
from pathlib import Path
from capstream.capillary import translate as module
from capstream.capillary.normalise import normalise
from capstream.capillary.programs import Programs
from capstream.capillary.state import dump
from capstream.capillary.translate import TranslationConfig, profile_payload, translate
from capstream.kernel.json import dumps, loads

config, programs, states = TranslationConfig.from_settings({}), Programs(), {}
for turn in range(3):
    for path in sorted(Path(sys.argv[1]).glob("*.json")):
        body = loads(path.read_bytes()) | {"createdAt": 1_726_585_471_000 + turn * 60_000, "eventId": f"{path.stem}-{turn}"}
        outcome = translate(normalise(dumps(body), 1_900_000_000_000), states, programs, config, {})
        print(path.stem, outcome)
for key in sorted(states):
    print(dumps(profile_payload(key, states[key], programs, config).body).decode(), dump(states[key]).hex())
print(module.__file__.endswith(".py"), file=sys.stderr)
"""


def output_of(package_in: Path) -> tuple[str, str]:
    environment = {**os.environ, "PYTHONPATH": str(package_in)}
    command = [sys.executable, "-P", "-c", PROGRAM, str(ROOT / "cases" / "capillary-events")]
    ran = subprocess.run(command, env=environment, cwd=package_in, capture_output=True, text=True, check=True)
    return ran.stdout, ran.stderr.strip()


@pytest.mark.skipif(
    not any(PACKAGE.rglob("*.so")) and (bool(os.environ.get("CAPSTREAM_PURE")) or not shutil.which("cc")),
    reason="nothing is compiled: no C compiler, or CAPSTREAM_PURE",
)
def test_compiled_modules_translate_as_the_plain_ones_do(tmp_path: Path) -> None:
    shutil.copytree(PACKAGE, tmp_path / "capstream", ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    plain, is_plain = output_of(tmp_path)
    compiled, is_compiled = output_of(ROOT)
    assert (is_plain, is_compiled) == ("True", "False")
    assert plain == compiled
