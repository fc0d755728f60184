"""Makes the world of `connect_world` known to the tests of this folder."""

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[2] / "contract")]

from connect_world import world  # noqa: E402 - the path has to be set before

__all__ = ["world"]
