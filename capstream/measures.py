"""What `/metrics` shows: the durable books of the relay and the platform, as Prometheus metrics. No personal data."""

from capstream.kernel.json import Json
from capstream.kernel.metrics import Metric

ALERTS = ("refusing", "lag", "flow", "parked", "token", "dead_letters", "disk", "privacy", "schema_drift")
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
    drift = [
        ({"source": each["source"], "event": each["event"], "field": each["path"], "what": each["what"]}, each["count"])
        for each in status["drift"]
    ]
    waiting = [({"kind": name}, count) for name, count in status["waiting"].items()]
    return [
        Metric("capstream_relay_webhooks_total", "counter", "Webhooks by what became of them.", outcomes),
        Metric("capstream_relay_dead_letters_total", "counter", "Dead letters by class.", dead),
        Metric("capstream_relay_payloads_total", "counter", "Payloads by dataflow and outcome.", flows),
        Metric("capstream_unknown_field_total", "counter", "Unknown kinds and members, other types, in webhooks.", drift),
        Metric("capstream_relay_waiting", "gauge", "Payloads and events that wait.", waiting),
        Metric("capstream_relay_journal_pending", "gauge", "Journal entries not settled.", [({}, status["journal"]["pending"])]),
        *_operating(status),
    ]


def _operating(status: Json) -> list[Metric]:
    boxes = {key: float(flow["waitingBytes"]) for key, flow in status["delivery"].items()}
    up = {key: float(flow["state"] == "ok") for key, flow in status["delivery"].items()}
    alerts = [({"alert": name}, float(sum(each["name"] == name for each in status["alerts"]))) for name in ALERTS]
    lags = [
        ({"source": key, "quantile": name}, books["lagMs"][name] / 1000)
        for key, books in status["sources"].items()
        for name in ("p50", "p99")
        if books["lagMs"][name] is not None
    ]
    gauges = [
        ("oldest_pending_seconds", "Age of the oldest webhook that is not settled.", _one(status["oldestPendingS"])),
        ("flow_lag_seconds", "Age of what a dataflow has yet to deliver.", _by_flow(status["lag"])),
        (
            "flow_behind_events",
            "Journal entries not settled, and payloads in a dataflow's outbox.",
            _by_flow(status["behind"]),
        ),
        ("outbox_bytes", "Disk that what waits for a dataflow takes.", _by_flow(boxes)),
        ("flow_up", "1 while a dataflow delivers, 0 while it retries or is paused.", _by_flow(up)),
        ("token_expires_seconds", "Time until a client's token expires.", _by_client(status, "expiresInS")),
        ("token_failing_seconds", "How long a client has got no token.", _by_client(status, "failingS")),
        ("disk_free_bytes", "Free space on the data folder's disk.", _one(status["disk"]["freeBytes"])),
        ("privacy_requests", "Members whose data has to go, of them due, and those erased.", _privacy(status)),
        ("privacy_overdue_seconds", "How long the oldest is due.", _one(status["privacy"]["overdueS"])),
        ("store_bytes", "Size of a file of the relay on disk.", _by_store(status, "bytes")),
        ("store_free_bytes", "Space in a file of the relay that is used again.", _by_store(status, "freeBytes")),
        ("alerts", "Alerts that are raised, by name.", alerts),
        ("event_lag_seconds", "From createdAt to delivery, an upper bound.", lags),
    ]
    return [Metric(f"capstream_relay_{name}", "gauge", about, samples) for name, about, samples in gauges]


def _one(value: float) -> list[tuple[dict[str, str], float]]:
    return [({}, value)]


def _by_flow(values: dict[str, float]) -> list[tuple[dict[str, str], float]]:
    split = [(key.rpartition("/"), value) for key, value in values.items()]
    return [({"source": source, "flow": flow}, value) for (source, _, flow), value in split]


def _by_client(status: Json, name: str) -> list[tuple[dict[str, str], float]]:
    return [({"client": client}, token[name]) for client, token in status["tokens"].items()]


def _privacy(status: Json) -> list[tuple[dict[str, str], float]]:
    return [({"state": state}, status["privacy"][state]) for state in ("open", "due", "erased")]


def _by_store(status: Json, name: str) -> list[tuple[dict[str, str], float]]:
    return [({"store": store}, sizes[name]) for store, sizes in status["disk"]["stores"].items()]


def of_platform(status: Json) -> list[Metric]:
    """Return the metrics of `GET /capstream/status`."""
    inlets = [
        ({"inlet": inlet, "outcome": name}, counts[name])
        for inlet, counts in status["inlets"].items()
        for name in ("received", "success", "failure")
    ]
    answers = [
        ({"service": each["service"], "operation": each["operation"], "status": f"{each['status']}"}, each["count"])
        for each in status["answers"]
    ]
    sizes = [({"inlet": inlet}, counts["received_bytes"]) for inlet, counts in status["inlets"].items()]
    return [
        Metric("capstream_inlet_messages_total", "counter", "Messages by inlet and outcome, since the gateway started.", inlets),
        Metric("capstream_inlet_bytes_total", "counter", "Bytes of request bodies by inlet.", sizes),
        Metric("capstream_answers_total", "counter", "Answers of the platform by operation, since the gateway started.", answers),
        Metric("capstream_pipeline_received_total", "counter", "Messages accepted ever.", [({}, status["received"])]),
        Metric("capstream_pipeline_processed_total", "counter", "Messages processed ever.", [({}, status["processed"])]),
        Metric("capstream_pipeline_pending", "gauge", "Messages accepted and not processed.", [({}, status["pending"])]),
        Metric("capstream_profiles", "gauge", "Identities with a profile fragment.", [({}, status["profiles"])]),
        Metric("capstream_faults", "gauge", "Faults that are set on purpose.", [({}, len(status["faults"]))]),
    ]
