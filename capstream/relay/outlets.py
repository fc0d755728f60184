"""Where the records of each source go: inlets and tokens, made from the source records and remade when those change."""

from collections.abc import Callable

import httpx

from capstream.relay.answers import Pause, Rejected
from capstream.relay.dead_letters import DeadClass
from capstream.relay.delivery import FlowDelivery, Health, Timing
from capstream.relay.ims import Credentials, Tokens
from capstream.relay.inlet import FlowAddress, Inlet, Turn
from capstream.relay.records import Kind
from capstream.relay.shaping import Pace, wanted
from capstream.relay.sources import Ims, Source, Sources

Report = Callable[[str, Kind, Health], None]
ReportToken = Callable[[str, int, str], None]


class Outlets:
    """The deliveries of all sources, made when first needed."""

    def __init__(
        self, client: httpx.AsyncClient, sources: Sources, timing: Timing, report: Report, report_token: ReportToken
    ) -> None:
        self._client = client
        self._sources = sources
        self._timing = timing
        self._report = report
        self._report_token = report_token
        self._deliveries: dict[tuple[str, Kind], FlowDelivery] = {}
        self._inlets: dict[tuple[str, Kind], tuple[Source, Inlet]] = {}
        self._tokens: dict[Ims, Tokens] = {}
        self._paces: dict[tuple[str, tuple[int, int]], Pace] = {}

    def delivery(self, source_key: str, kind: Kind) -> FlowDelivery:
        """Return the delivery to one dataflow of a source."""
        key = (source_key, kind)
        if key not in self._deliveries:
            self._deliveries[key] = FlowDelivery(
                source_key, kind, lambda: self._inlet(source_key, kind), timing=self._timing, report=self._report
            )
        return self._deliveries[key]

    def _inlet(self, source_key: str, kind: Kind) -> Inlet | Pause | Rejected:
        self._sources.refresh()
        source = self._sources.table.get(source_key)
        if source is None:
            return Rejected(0, "the source was removed before its records were delivered", code=DeadClass.UNKNOWN_SOURCE)
        flow_id = source.event_flow_id if kind == "event" else source.profile_flow_id
        if not source.inlet_url or not flow_id:
            return Pause(0, f"source {source_key} does not say where its {kind} records go: inletUrl or flow id is missing")
        made_for, inlet = self._inlets.get((source_key, kind), (None, None))
        if inlet is None or made_for != source:
            address = FlowAddress(inlet_url=source.inlet_url, flow_id=flow_id, org_id=source.org_id, gzip=source.limits.gzip)
            inlet = Inlet(self._client, self._tokens_of(source), address, self._timing.clock, self._turn_of(source))
            self._inlets[(source_key, kind)] = (source, inlet)
        return inlet

    def _turn_of(self, source: Source) -> Turn | None:
        """Return the pace of the source's organisation, None when there is no limit."""
        limits = wanted(source)
        if limits == (0, 0):
            return None
        key = (source.org_id, limits)
        if key not in self._paces:
            self._paces[key] = Pace(*limits, self._timing.clock, self._timing.sleep)
        return self._paces[key].take

    def _tokens_of(self, source: Source) -> Tokens:
        """Return the tokens of the source's client, shared by all who use the same client."""
        ims = source.ims
        if ims not in self._tokens:
            credentials = Credentials(
                token_url=ims.url.rstrip("/") + ims.path,
                client_id=ims.client_id,
                client_secret=ims.client_secret,
                scopes=ims.scopes,
            )
            self._tokens[ims] = Tokens(self._client, credentials, self._timing.clock, self._report_token)
        return self._tokens[ims]
