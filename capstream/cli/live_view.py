"""The live view of a simulated run: rates, outcomes, profiles, tiers, latency, addresses."""

from collections.abc import Callable
from types import TracebackType

from rich.console import Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from capstream.cli.printing import console
from capstream.cli.rehearsal import View, waiting
from capstream.credentials import Credentials
from capstream.kernel.clock import rfc3339


class LiveView:
    """Draws a View on a terminal, or prints one line now and then where there is none. A context manager."""

    def __init__(self, credentials: Credentials, data: str) -> None:
        self._credentials = credentials
        self._data = data
        self._console = console()
        self._live = Live(console=self._console, refresh_per_second=4) if self._console.is_terminal else None
        self._shown_s = -10.0
        self._before = (0.0, 0)

    def __enter__(self) -> Callable[[View], None]:
        if self._live:
            self._live.start()
            return lambda view: self._live.update(self._drawn(view)) if self._live else None
        return self._line

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        if self._live:
            self._live.stop()

    def _line(self, view: View) -> None:
        elapsed = view.progress.elapsed_s if view.progress else 0.0
        if elapsed - self._shown_s >= 5 or view.phase in ("comparing", "done"):
            self._shown_s = elapsed
            facts = ", ".join(f"{name} {value}" for name, value in _facts(view, self._rate(view)))
            self._console.print(f"[{view.phase}] {facts}", highlight=False, soft_wrap=True, markup=False)

    def _rate(self, view: View) -> float:
        if not view.progress:
            return 0.0
        now, events = view.progress.elapsed_s, view.progress.events
        seconds, before = self._before
        if now - seconds > 1:
            self._before = (now, events)
        return (events - before) / (now - seconds) if now > seconds else 0.0

    def _drawn(self, view: View) -> RenderableType:
        table = Table.grid(padding=(0, 2))
        for name, value in _facts(view, self._rate(view)):
            table.add_row(Text(name, style="dim"), Text(value, style="bold"))
        tiers = Table.grid(padding=(0, 2))
        for tier, count in sorted(view.tiers.items()):
            tiers.add_row(Text(tier, style="dim"), Text(f"{count:,}", style="bold"))
        addresses = Table.grid(padding=(0, 2))
        for name, value in _addresses(self._credentials, self._data):
            addresses.add_row(Text(name, style="dim"), value)
        body = Table.grid(padding=(0, 4))
        body.add_row(table, Group(Text("profiles by tier"), tiers))
        return Panel(Group(body, Text(), addresses), title=f"capstream demo · {view.phase}", title_align="left")


def _facts(view: View, rate: float) -> list[tuple[str, str]]:
    progress, facts = view.progress, []
    if progress and progress.events:
        facts += [
            ("virtual time", rfc3339(progress.virtual_ms)[:16].replace("T", " ")),
            ("events sent", f"{progress.events:,} ({rate:,.0f}/s)"),
            ("members", f"{progress.members:,}"),
        ]
    if view.relay:
        books = next(iter(view.relay["sources"].values()), None)
        if books:
            delivered = sum(flow["delivered"] for flow in books["flows"].values())
            facts += [
                ("received", f"{books['received']:,}"),
                ("delivered payloads", f"{delivered:,}"),
                ("duplicates", f"{books['duplicates']:,}"),
                ("dead letters", f"{books['deadLettered']:,}"),
                ("waiting", f"{waiting(view.relay):,}"),
            ]
    if view.platform:
        facts.append(("profiles", f"{view.platform['profiles']:,}"))
    p50, p99 = view.latency_ms(0.5), view.latency_ms(0.99)
    if p50 is not None and p99 is not None:
        facts.append(("webhook → profile", f"p50 {p50:.0f} ms, p99 {p99:.0f} ms"))
    return facts


def _addresses(credentials: Credentials, data: str) -> list[tuple[str, str]]:
    file = f"{data}/credentials.json"
    return [
        ("platform and relay", credentials.platform_url),
        ("metrics", f"{credentials.platform_url}/metrics"),
        ("a profile", f"capstream profile show --id 900000001 --credentials {file}"),
        ("SQL", f"capstream query 'select * from capillary_events limit 5' --credentials {file}"),
        ("dead letters", f"capstream dead-letters list --credentials {file}"),
    ]
