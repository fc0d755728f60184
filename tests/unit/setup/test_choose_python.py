"""The interpreter that `make setup` makes `.venv` with: `python3`, unless another one here is much faster."""

import os
import subprocess
import sys
from importlib import util
from pathlib import Path
from types import ModuleType

import pytest

_SCRIPT = Path(__file__).resolve().parents[3] / "requirements" / "choose_python.py"


def _loaded() -> ModuleType:
    spec = util.spec_from_file_location("choose_python", _SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


chooser = _loaded()


@pytest.mark.parametrize(
    ("times", "chosen"),
    [
        ({"python3": 0.03, "/usr/bin/python3.11": 0.02}, "/usr/bin/python3.11"),
        ({"python3": 0.022, "/usr/bin/python3.11": 0.02}, "python3"),
        ({"python3": 0.02, "/usr/bin/python3.11": 0.03}, "python3"),
        ({"python3": None, "/a": 0.05, "/b": 0.04}, "/b"),
        ({"python3": None, "/a": None}, "python3"),
        ({}, "python3"),
    ],
    ids=["much faster", "a little faster", "slower", "python3 cannot be used", "none can be used", "none is there"],
)
def test_another_interpreter_is_taken_only_when_it_is_much_faster(times: dict[str, float | None], chosen: str) -> None:
    assert chooser.choose(times) == chosen


def test_what_cannot_be_used_has_no_time(tmp_path: Path) -> None:
    old = tmp_path / "python3"
    old.write_text("#!/bin/sh\necho 'Python 2.7' >&2\nexit 1\n")
    old.chmod(0o755)
    talkative = tmp_path / "python3.12"
    talkative.write_text("#!/bin/sh\necho hello\n")
    talkative.chmod(0o755)
    assert chooser.seconds(str(old)) is None
    assert chooser.seconds(str(talkative)) is None
    assert chooser.seconds(str(tmp_path / "missing")) is None


def test_each_interpreter_is_tried_once_and_python3_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("python3", "python3.13"):
        (tmp_path / name).symlink_to(sys.executable)
    monkeypatch.setenv("PATH", str(tmp_path))
    found = chooser.candidates()
    assert found[0] == str(tmp_path / "python3")
    assert len({os.path.realpath(path) for path in found}) == len(found)


def test_whoever_works_in_an_environment_has_chosen() -> None:
    environment = {**os.environ, "VIRTUAL_ENV": "/somewhere"}
    answer = subprocess.run([sys.executable, _SCRIPT], env=environment, capture_output=True, text=True, check=True)
    assert answer.stdout == "python3\n"
    assert answer.stderr == ""


def test_the_chosen_one_runs() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    answer = subprocess.run([sys.executable, _SCRIPT], env=environment, capture_output=True, text=True, check=True)
    version = subprocess.run([answer.stdout.strip(), "--version"], capture_output=True, text=True, check=True)
    assert version.stdout.startswith("Python 3.1")


def test_the_best_of_three_rounds_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Something else ran in the first round; an interpreter that cannot be used stays so."""
    times = {"python3": iter([0.05, 0.02, 0.03]), "other": iter([0.021, 0.06, 0.04]), "none": iter([None, None, None])}
    monkeypatch.setattr(chooser, "seconds", lambda path: next(times[path]))
    found = chooser.measured(list(times))
    assert found == {"python3": 0.02, "other": 0.021, "none": None}
    assert chooser.choose(found) == "python3"
