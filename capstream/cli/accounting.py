"""Whether everything adds up: events sent, relay books, lake rows, and each member's profile against the simulator's ledger."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from capstream.cli.client import PlatformClient
from capstream.kernel.json import Json
from capstream.relay.simulate import SimulationSummary

_SHOWN = 20
OUTCOMES = ("received", "processed", "duplicates", "deadLettered", "skipped")


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


@dataclass(frozen=True, slots=True)
class Standing:
    """Counters of one source in the relay and of its event dataset, at one instant."""

    outcomes: Counter[str]  #: received, processed, duplicates, deadLettered, skipped
    flows: dict[str, Counter[str]]  #: payloads, delivered, rejected, oversized, coalesced ... by dataflow
    lake: Counter[str]  #: rows, distinct (events), rejected

    def since(self, before: "Standing") -> "Standing":
        """Return what was added after `before`."""
        flows = {kind: _less(flow, before.flows.get(kind, Counter())) for kind, flow in self.flows.items()}
        return Standing(_less(self.outcomes, before.outcomes), flows, _less(self.lake, before.lake))


def _less(now: Counter[str], before: Counter[str]) -> Counter[str]:
    return Counter({name: count - before[name] for name, count in now.items()})


def standing(client: PlatformClient, connection: Mapping[str, Json]) -> Standing:
    """Return how the books stand now."""
    books = client.relay("GET", "/relay/status")["sources"].get(connection["source_key"], {})
    outcomes = Counter({name: books.get(name, 0) for name in OUTCOMES})
    flows = {kind: Counter(flow) for kind, flow in books.get("flows", {}).items()}
    return Standing(outcomes, flows, _lake(client, connection))


def _lake(client: PlatformClient, connection: Mapping[str, Json]) -> Counter[str]:
    table = connection["event_dataset_name"].lower().replace(" ", "_")
    sql = f"select count(*) as n, count(distinct _id) as d from {table}"
    found = client.platform("POST", "/capstream/query", body={"sql": sql, "limit": 1})["rows"][0]
    path = "/data/foundation/flowservice/runs"
    runs = client.platform("GET", path, query={"property": f"flowId=={connection['event_flow_id']}"})["items"]
    rejected = sum(run["metrics"]["recordSummary"]["failedRecordCount"] for run in runs)
    return Counter({"rows": found["n"], "distinct": found["d"], "rejected": rejected})


def compare_books(summary: SimulationSummary, before: Standing, after: Standing) -> Findings:
    """Compare what the sender saw acknowledged with the relay's books, and those with what stands in the lake."""
    findings, added = Findings(), after.since(before)
    books = added.outcomes
    settled = books["processed"] + books["duplicates"] + books["deadLettered"] + books["skipped"]
    findings.expect("received by the relay", books["received"], summary.sent["statuses"].get("200", 0))
    findings.expect("processed + duplicates + dead letters + skipped", settled, books["received"])
    findings.expect("events never delivered to the relay", summary.sent["failed"] + summary.sent["undelivered"], 0)
    for kind, flow in added.flows.items():
        ended = flow["delivered"] + flow["rejected"] + flow["oversized"] + flow["coalesced"]
        findings.expect(f"{kind} payloads delivered, refused or coalesced", ended, flow["payloads"])
    findings.lake = dict(added.lake)
    delivered = added.flows.get("event", Counter())["delivered"]
    # A request repeated after an unclear answer gives a second row: what counts is distinct events.
    findings.expect("distinct events and rejects in the platform", added.lake["distinct"] + added.lake["rejected"], delivered)
    return findings


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
