"""The parts of the page of faults: the kinds the switch knows, and what the relay makes of each fault it is tested with."""

import tomllib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from capstream.faults.model import KINDS

Table = Callable[[Sequence[str], Iterable[Sequence[str]]], str]
_CASES = Path(__file__).parents[1] / "cases"
_DEAD = {
    "none": "all delivered",
    "some": "delivered, or dead letters where the platform refused them for good",
    "all": "all dead letters while it lasts",
}
_ORDER = {"events": "events and snapshots", "state": "the profile; single events may come late"}


def parts(table: Table) -> list[str]:
    """Return the parts of the page."""
    intro = (
        "The embedded platform can fail on purpose: see [its endpoint](endpoints.md#faults-on-purpose) and\n"
        "`capstream faults`. For example, a fifth of the calls to the inlets are answered 429 for a minute:\n\n"
        "```\ncapstream faults set inlet status status=429 retryAfterS=5 share=0.2 seconds=60\n```"
    )
    kinds = table(("kind", "what the platform does"), [[f"`{kind}`", told] for kind, told in KINDS.items()])
    outcomes = (
        "The fault suite sets each of these through the switch on a real port, or breaks the network in front of it, and lets\n"
        "the relay deliver. After each one every accepted event is delivered or a dead letter, has one effect (a record that\n"
        "is sent again is the same under the same `_id`), the books balance, and where all is delivered each member's newest\n"
        "snapshot is right. *Order* says what of each member arrives in the order in which Capillary sent it.\n"
        "Only the dataflow that is struck falls behind; the other one, and the other sources, go on meanwhile\n"
        "(`tests/unit/relay/test_relay_lanes.py`).\n\n"
        "Tried elsewhere with the same outcome: a disk that is really full while webhooks are received, while a batch is\n"
        "sent and before it is settled (`tests/unit/relay/test_relay_disk_full.py`); SIGKILL at every durable step, of each\n"
        "process while events flow, and at random moments for as long as one likes (`make soak`: 10 minutes)."
    )
    rows = [_row(row) for row in tomllib.loads((_CASES / "faults.toml").read_text("utf-8"))["fault"]]
    header = ("fault", "the relay", "the flow meanwhile", "events afterwards", "order")
    return [
        intro,
        f"## Kinds\n\n{kinds}",
        f"## What the relay makes of them\n\n{outcomes}\n\n{table(header, rows)}",
        _elsewhere(table, tomllib.loads((_CASES / "faults-elsewhere.toml").read_text("utf-8"))),
    ]


def _elsewhere(table: Table, found: Any) -> str:
    products = found["products"]
    intro = (
        "What other products do when they post to the same endpoint, with the settings they come with. It was read from their\n"
        "documentation and code at the commits named below and not run; newer versions may differ, and settings (a dead letter\n"
        "topic, more retries, a fallback output) change much of it."
    )
    rows = [[row["name"], row["capstream"], *(row[product] for product in products)] for row in found["fault"]]
    sources = [
        f"- {products[source['product']]}: "
        + ", ".join(f"[{url.rstrip('/').rpartition('/')[2]}]({url})" for url in source["urls"])
        for source in found["source"]
    ]
    listed = "\n".join(sources)
    return f"## Elsewhere\n\n{intro}\n\n{table(('fault', 'capstream', *products.values()), rows)}\n\nSources:\n\n{listed}"


def _row(row: Any) -> list[str]:
    return [row["name"], row["relay"], row["state"], _DEAD[row["dead"]], _ORDER[row["order"]] if row["dead"] != "all" else ""]
