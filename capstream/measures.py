"""What `/metrics` shows: the durable books of the relay and the platform, as Prometheus metrics. No personal data."""

from capstream.kernel.json import Json
from capstream.kernel.metrics import Metric

_OUTCOMES = ("received", "duplicates", "deadLettered", "skipped", "processed")


def of_relay(status: Json) -> list[Metric]:
    """Return the metrics of `GET /relay/status`."""
    sources = status["sources"].items()
    outcomes = [({"source": key, "outcome": name}, books[name]) for key, books in sources for name in _OUTCOMES]
    dead = [({"source": key, "class": name}, count) for key, books in sources for name, count in books["deadByClass"].items()]
    flows = [
        ({"source": key, "flow": flow, "outcome": name}, count)
        for key, books in sources
        for flow, counts in books["flows"].items()
        for name, count in counts.items()
    ]
    waiting = [({"kind": name}, count) for name, count in status["waiting"].items()]
    return [
        Metric("capstream_relay_webhooks_total", "counter", "Webhooks by what became of them.", outcomes),
        Metric("capstream_relay_dead_letters_total", "counter", "Dead letters by class.", dead),
        Metric("capstream_relay_payloads_total", "counter", "Payloads by dataflow and outcome.", flows),
        Metric("capstream_relay_waiting", "gauge", "Payloads and events that wait.", waiting),
        Metric("capstream_relay_journal_pending", "gauge", "Journal entries not settled.", [({}, status["journal"]["pending"])]),
        Metric("capstream_relay_journal_bytes", "gauge", "Size of the journal on disk.", [({}, status["journal"]["bytes"])]),
    ]


def of_platform(status: Json) -> list[Metric]:
    """Return the metrics of `GET /capstream/status`."""
    inlets = [
        ({"inlet": inlet, "outcome": name}, counts[name])
        for inlet, counts in status["inlets"].items()
        for name in ("received", "success", "failure")
    ]
    sizes = [({"inlet": inlet}, counts["received_bytes"]) for inlet, counts in status["inlets"].items()]
    return [
        Metric("capstream_inlet_messages_total", "counter", "Messages by inlet and outcome, since the gateway started.", inlets),
        Metric("capstream_inlet_bytes_total", "counter", "Bytes of request bodies by inlet.", sizes),
        Metric("capstream_pipeline_received_total", "counter", "Messages accepted ever.", [({}, status["received"])]),
        Metric("capstream_pipeline_processed_total", "counter", "Messages processed ever.", [({}, status["processed"])]),
        Metric("capstream_pipeline_pending", "gauge", "Messages accepted and not processed.", [({}, status["pending"])]),
        Metric("capstream_profiles", "gauge", "Identities with a profile fragment.", [({}, status["profiles"])]),
    ]
