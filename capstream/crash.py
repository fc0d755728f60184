"""Rehearsed crashes: the setting `server.crash_at` kills a process once, at a durable step of its work."""

import os
import signal
from collections.abc import Callable

from capstream.config import Settings


def crash_point(settings: Settings, role: str) -> Callable[[str], None]:
    """Return what a role calls at each durable step; it kills the process where `server.crash_at` says, once for a data folder.

    `role:step:n` means: the n-th time `role` reaches `step`. For rehearsing recoveries.
    """
    wanted_role, _, rest = settings.server.crash_at.partition(":")
    step, _, times = rest.partition(":")
    marker = settings.data / "run" / f"crashed-{role}"
    if wanted_role != role or marker.exists():
        return lambda _: None
    left = [int(times or 1)]

    def reached(name: str) -> None:
        left[0] -= name == step
        if name == step and left[0] == 0:
            marker.write_text(step)
            os.kill(os.getpid(), signal.SIGKILL)

    return reached
