"""Print the interpreter to make `.venv` with: `python3`, unless another one here is much faster. Runs on any Python 3.

How an interpreter was built doubles its speed or halves it: with profile-guided optimisation or without, linked statically or not
(what pyenv builds by default is of the slow kind). Its settings do not tell it reliably, so each candidate is tried for a moment.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

OLDEST = (3, 11)
NEWEST = (3, 14)
MUCH = 1.15  # so many times as fast must another one be
ROUNDS = 3  # the machine does other things too
FOLDERS = ("/usr/local/bin", "/usr/bin", "/opt/homebrew/bin")

PROBE = """
import ensurepip, os, sys, sysconfig, time
if not {oldest} <= sys.version_info[:2] <= {newest}:
    sys.exit("too old or too new")
if not os.path.exists(os.path.join(sysconfig.get_paths()["include"], "Python.h")):
    sys.exit("without headers nothing can be compiled for it")
def work():
    start, held = time.perf_counter(), dict()
    for number in range(60_000):
        held[str(number % 1000)] = [number, dict(number=number)]
    return time.perf_counter() - start
print(min(work() for _ in range(5)))
"""


def candidates() -> list[str]:
    """Return the interpreters of this machine, `python3` of the PATH first, each once."""
    names = ["python3"] + [f"python3.{minor}" for minor in range(NEWEST[1], OLDEST[1] - 1, -1)]
    paths = [shutil.which(name) for name in names]
    paths += [str(Path(folder, name)) for folder in FOLDERS for name in names]
    found: dict[str, str] = {}
    for path in paths:
        if path and os.access(path, os.X_OK):
            found.setdefault(os.path.realpath(path), path)
    return list(found.values())


def seconds(path: str) -> float | None:
    """Return how long an interpreter takes for a moment's work, None for one that cannot be used."""
    probe = PROBE.format(oldest=OLDEST, newest=NEWEST)
    try:
        return float(subprocess.check_output([path, "-I", "-c", probe], stderr=subprocess.DEVNULL, timeout=20))  # noqa: S603
    except (OSError, ValueError, subprocess.SubprocessError):
        return None


def measured(paths: list[str]) -> dict[str, float | None]:
    """Return the best time of each interpreter; they take turns."""
    found: dict[str, float | None] = {}
    for _ in range(ROUNDS):
        for path in paths:
            taken, best = seconds(path), found.setdefault(path, None)
            found[path] = taken if best is None or (taken is not None and taken < best) else best
    return found


def choose(times: dict[str, float | None]) -> str:
    """Return the path to use. `times`: path -> seconds or None, the preferred one first."""
    preferred = next(iter(times), "python3")
    usable = {path: taken for path, taken in times.items() if taken is not None}
    if not usable:
        return preferred
    fastest = min(usable, key=lambda path: usable[path])
    if preferred in usable and usable[preferred] < MUCH * usable[fastest]:
        return preferred
    return fastest


if __name__ == "__main__":
    if os.environ.get("VIRTUAL_ENV"):
        print("python3")  # whoever works in an environment of their own has chosen
    else:
        found = measured(candidates())
        chosen = choose(found)
        if chosen != next(iter(found), chosen):
            print(f"Using {chosen}: python3 is much slower here or cannot be used. PYTHON=… decides.", file=sys.stderr)
        print(chosen)
