"""Whether everything adds up: events sent, relay books, lake rows, and each member's profile against the simulator's ledger."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from capstream.cli.client import PlatformClient
from capstream.kernel.json import Json
from capstream.relay.simulate import SimulationSummary

_SHOWN = 20


@dataclass(slots=True)
class Findings:
    """What was compared and what differs. `differences` names the first ones; `count` counts them all."""

    members: int = 0
    lake: dict[str, int] = field(default_factory=dict)
    count: int = 0
    differences: list[str] = field(default_factory=list)

    def add(self, found: "Findings") -> None:
        """Take over what another comparison found."""
        self.members += found.members
        self.note(found.differences, hidden=found.count - len(found.differences))

    def note(self, differences: Iterable[str], *, hidden: int = 0) -> None:
        """Count differences and keep the first ones."""
        every = list(differences)
        self.count += len(every) + hidden
        self.differences += every[: max(0, _SHOWN - len(self.differences))]

    def expect(self, what: str, found: Json, wanted: Json) -> None:
        """Note a difference unless the two are equal."""
        if found != wanted:
            self.note([f"{what}: {found}, not {wanted}"])


def compare_books(client: PlatformClient, connection: Mapping[str, Json], summary: SimulationSummary, relay: Json) -> Findings:
    """Compare what the sender saw acknowledged with the relay's books, and those with what stands in the lake."""
    findings = Findings()
    books = relay["sources"].get(connection["source_key"])
    if books is None:
        findings.note([f"the relay knows no source {connection['source_key']}"])
        return findings
    settled = books["processed"] + books["duplicates"] + books["deadLettered"] + books["skipped"]
    findings.expect("received by the relay", books["received"], summary.sent["statuses"].get("200", 0))
    findings.expect("processed + duplicates + dead letters + skipped", settled, books["received"])
    findings.expect("events never delivered to the relay", summary.sent["failed"] + summary.sent["undelivered"], 0)
    for kind, flow in books["flows"].items():
        ended = flow["delivered"] + flow["rejected"] + flow["oversized"]
        findings.expect(f"{kind} payloads delivered, refused or coalesced", ended + flow["coalesced"], flow["payloads"])
    findings.lake = _lake(client, connection)
    delivered = books["flows"]["event"]["delivered"]
    # A request repeated after an unclear answer gives a second row: what counts is distinct events.
    findings.expect(
        "distinct events and rejects in the platform", findings.lake["distinct"] + findings.lake["rejected"], delivered
    )
    return findings


def _lake(client: PlatformClient, connection: Mapping[str, Json]) -> dict[str, int]:
    table = connection["event_dataset_name"].lower().replace(" ", "_")
    sql = f"select count(*) as n, count(distinct _id) as d from {table}"
    found = client.platform("POST", "/capstream/query", body={"sql": sql, "limit": 1})["rows"][0]
    path = "/data/foundation/flowservice/runs"
    runs = client.platform("GET", path, query={"property": f"flowId=={connection['event_flow_id']}"})["items"]
    return {
        "rows": found["n"],
        "distinct": found["d"],
        "rejected": sum(run["metrics"]["recordSummary"]["failedRecordCount"] for run in runs),
    }


def compare_profiles(truth: Sequence[Json], found: Mapping[int, Json]) -> Findings:
    """Compare points, lifetime points and tier of each ledger row with the member's profile."""
    findings = Findings(members=len(truth))
    for row in truth:
        member = row["customerId"]
        loyalty = found.get(member, {}).get("loyalty", {})
        shown = (loyalty.get("points"), loyalty.get("lifetimePoints"), loyalty.get("tier"))
        wanted = (row["points"], row["lifetimePoints"], row["tier"])
        findings.expect(f"member {member} points, lifetime points, tier", shown, wanted)
    return findings
