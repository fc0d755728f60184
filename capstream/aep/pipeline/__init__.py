"""What happens to a streamed record behind the inlet log, until lake, identity graph and profile hold it.

`loop` carries a batch through the stages and commits; `shaping` maps and validates; `landing` writes rows to the lake;
`people` feeds identities and profiles; `accounts` counts runs and batches and keeps what was rejected.
"""

from capstream.aep.pipeline.loop import Pipeline, Settings, Stores

__all__ = ["Pipeline", "Settings", "Stores"]
