"""Compiles the modules every event passes with mypyc, where a C compiler is at hand; without one they run as plain Python.

The same source either way (docs/adr/0004). `CAPSTREAM_PURE=1` leaves everything plain.
"""

import os
from pathlib import Path

from setuptools import Extension, setup

try:
    from mypyc.build import mypycify
except ImportError:
    mypycify = None

PLAIN = {
    "capstream/capillary/envelope.py",  # records: mypyc does not know msgspec's metaclass
    "capstream/capillary/records.py",
    "capstream/capillary/results.py",
    "capstream/capillary/retail.py",  # the simulator's
}
_WITHIN = ["-fno-semantic-interposition", "-fvisibility=hidden", "-fno-plt"]
"""Functions call each other directly: nothing outside an extension module replaces what is in it."""

RELAY = (
    "arrival",
    "back_pressure",
    "batching",
    "draft",
    "entries",
    "feed",
    "intake",
    "members",
    "receiver",
    "settlement",
    "settling",
    "shares",
    "sharing",
    "translation",
    "translator",
    "verdicts",
)
WEBHOOKS = (  # what each of them passes before the relay has it, and until it is durable
    "capstream/serving/exchange.py",
    "capstream/serving/head.py",
    "capstream/serving/thin.py",
    "capstream/storage/group_commit.py",
    "capstream/storage/key_filter.py",
    "capstream/storage/seen_keys.py",
)
WORKER = (  # what each record passes on its way from the inlet log to lake and profile
    "capstream/aep/identity_service/extraction.py",
    "capstream/aep/pipeline/accounts.py",
    "capstream/aep/pipeline/batch.py",
    "capstream/aep/pipeline/counting.py",
    "capstream/aep/pipeline/landing.py",
    "capstream/aep/pipeline/people.py",
    "capstream/aep/pipeline/reading.py",
    "capstream/aep/pipeline/shaping.py",
    "capstream/aep/profile/store.py",
)


def compiled_modules() -> list[str]:
    """Return the files to compile."""
    folders = (Path("capstream/capillary"), Path("capstream/capillary/payloads"))
    found = [path.as_posix() for folder in folders for path in sorted(folder.glob("*.py")) if path.name != "__init__.py"]
    return [path for path in found if path not in PLAIN] + [f"capstream/relay/{name}.py" for name in RELAY] + [*WEBHOOKS, *WORKER]


def extensions() -> list[Extension]:
    """Return the extension modules; none where mypyc is missing or unwanted. One that cannot be built is left out."""
    if mypycify is None or os.environ.get("CAPSTREAM_PURE"):
        return []
    made = mypycify(
        ["--config-file", "pyproject.toml", *compiled_modules()], opt_level="1", debug_level="0", group_name="capstream"
    )
    for extension in made:
        extension.optional = True
        extension.extra_compile_args += _WITHIN
    return made


setup(ext_modules=extensions())
