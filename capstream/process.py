"""One process of a running server: `python -m capstream.process gateway|worker|courier|...`, started by the supervisor."""

import asyncio
import gc
import os
import signal
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from importlib.abc import MetaPathFinder
from types import ModuleType

from capstream import config
from capstream.kernel import log
from capstream.kernel.errors import InputError

_LATE_S = 2.0  # translators come late: a server is ready without them, and sooner


def main() -> int:
    """Run the role named on the command line until SIGTERM or until the supervisor is gone."""
    role = sys.argv[1]
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until the settings can be read again
    if role.startswith("translator"):
        time.sleep(_LATE_S)
    settings = config.load()
    log.configure(settings.server.log_level)
    if not sys.stdin.isatty():
        threading.Thread(target=_stop_with_supervisor, daemon=True).start()
    hide_unused()
    run = _work_of(role)
    _note_pid(settings, role)
    tune_collector()
    _runner()(_until_terminated(role, run, config.Live(settings)))
    return 0


def _work_of(role: str) -> Callable[[config.Live, asyncio.Event], Awaitable[None]]:
    """Return what a process does. It loads what that needs, now that the settings are known to be right."""
    if role == "courier" or role.startswith("translator"):
        from capstream import courier_side  # noqa: PLC0415

        return courier_side.courier if role == "courier" else courier_side.translator
    from capstream import app  # noqa: PLC0415

    return app.ROLES[role]


def tune_collector() -> None:
    """Set the garbage collector for work on batches."""
    gc.freeze()  # what is loaded by now lives as long as the process
    gc.set_threshold(50_000, 20, 50)  # records come and go by thousands: the default would scan them again and again


def hide_unused() -> None:
    """Let nothing load what this process does not use; call it before anything else is imported."""
    sys.meta_path.insert(0, _WithoutUnused())


_UNUSED = frozenset({"pandas", "numpy", "httpx._main"})


class _WithoutUnused(MetaPathFinder):
    """Hides what is loaded where it is found, and not used.

    pandas and numpy by pyarrow: half a second and 80 MB; httpx's command, with what draws it, by httpx: 0.1 s and 6 MB.
    """

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> None:
        if fullname in _UNUSED:
            raise ModuleNotFoundError(f"{fullname} is not used here", name=fullname)


def _note_pid(settings: config.Settings, role: str) -> None:
    file = settings.data / "run" / f"{role}.pid"
    file.parent.mkdir(parents=True, exist_ok=True)
    written = file.with_suffix(".new")
    written.write_text(f"{os.getpid()}\n")
    written.replace(file)  # whoever reads it finds the old process or the new one, never an empty file


def _runner() -> Callable[[Awaitable[None]], None]:
    import uvloop  # noqa: PLC0415

    return uvloop.run  # type: ignore[no-any-return]


def _stop_with_supervisor() -> None:
    while os.read(0, 64):  # unbuffered: a buffered read holds a lock that a process must not hold when it ends
        pass
    os.kill(os.getpid(), signal.SIGTERM)


async def _until_terminated(role: str, run: Callable[[config.Live, asyncio.Event], Awaitable[None]], live: config.Live) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_signal_handler(signal.SIGHUP, _reload, live, role)
    await run(live, stop)


def _reload(live: config.Live, role: str) -> None:
    """Read the settings again; the note that is written anew tells the supervisor that it was done."""
    _take_settings(live)
    _note_pid(live.now, role)


def _take_settings(live: config.Live) -> None:
    try:
        taken, waiting = live.reload()
    except InputError as error:
        log.error(f"the settings stay as they were: {error}", action="reload_refused")
        return
    log.configure(live.now.server.log_level)
    log.info("settings read again", action="reloaded", changed=taken, need_restart=waiting)


if __name__ == "__main__":
    sys.exit(main())
