"""The alerts' part of the worker process: a loop in a thread of its own, beside the pipeline."""

import threading

from capstream.aep.alerts.courier import Courier
from capstream.aep.alerts.engine import Engine
from capstream.kernel import log

_IDLE_S = 0.5
_BUSY_S = 0.05
_BACK_OFF_S = 2.0


def run(engine: Engine, courier: Courier, stop: threading.Event) -> None:
    """Find alerts and deliver events until `stop` is set. Whatever fails is tried again: nothing is lost in between."""
    while not stop.is_set():
        try:
            followed = engine.evaluate()
            under_way = courier.tick()
        except Exception as error:  # noqa: BLE001 - body of the loop: signals and events are still in their stores
            log.error("alerts not evaluated", action="alerts_stalled", exc=error)
            stop.wait(_BACK_OFF_S)
            continue
        stop.wait(_BUSY_S if followed or under_way else _IDLE_S)
    courier.close()
