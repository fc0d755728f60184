"""Where Adobe's published specifications lie, which this repository does not contain."""

import os
from pathlib import Path

FOLDER = Path(os.environ.get("CAPSTREAM_SHARED", Path(__file__).parents[1].parent / "shared")) / "openapi"
ABSENT = f"{FOLDER} is not there: set CAPSTREAM_SHARED to the folder that holds openapi/"
