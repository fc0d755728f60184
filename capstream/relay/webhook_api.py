"""Capillary's API about webhooks and their deliveries, of the simulated run: who is subscribed, what was delivered.

Source: capillary.md 1.2, 1.7. The one webhook is that of the run; it is registered with its start, not through this API.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from uuid import NAMESPACE_URL, uuid5

from starlette.requests import Request

from capstream.capillary.vocabulary import MAPPED, UNMAPPED
from capstream.kernel.clock import Clock
from capstream.kernel.json import Json
from capstream.relay.deliveries import Deliveries, Log

_KEPT_MS = 30 * 86_400_000
_SLA_MS = 3_600_000
_PAGE, _LARGEST_PAGE = 20, 100

Answer = Callable[[Request], tuple[Json, int]]


class Unanswerable(Exception):
    """A question Capillary refuses: HTTP status, code and message of the answer."""

    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookApi:
    """The answers about the webhook of one run."""

    deliveries: Deliveries
    clock: Clock
    url: str
    method: str
    connections: int
    header_names: tuple[str, ...] = ()  #: their values are secrets

    @property
    def consumer_group_id(self) -> str:
        """Return the id of the webhook's consumer group; the same address has the same id."""
        return str(uuid5(NAMESPACE_URL, self.url))

    def calls(self) -> Mapping[str, Answer]:
        """Return the answers by path."""
        group = "/v3/events/consumer-groups/{group}"
        return {
            "/v3/webHooks": self._webhooks,
            "/v3/webHooks/eventMetaData": self._kinds,
            "/v3/webHooks/eventLog/requestId/{request_id}": self._logs_of_request,
            "/v3/webHooks/eventLog/refId/{ref_id}": self._logs_of_reference,
            "/v3/webHooks/eventLog/{event_id}": self._log_of_event,
            f"{group}/logs": self._logs,
            f"{group}/metrics": self._metrics,
        }

    def _webhooks(self, _: Request) -> tuple[Json, int]:
        group = self.consumer_group_id
        webhook = {
            "webHookId": group.replace("-", "")[:24],
            "consumerGroupId": group,
            "name": "capstream-simulated",
            "active": True,
            "eventNames": sorted(MAPPED),
            "webHookUrl": self.url,
            "webHookType": "HTTP",
            "methodType": self.method,
            "webHookHeaders": dict.fromkeys(self.header_names, "********"),
            "maxAllowedConnections": self.connections,
            "customerIdentifiersToBeEnriched": [],
            "noOfRetryAttempts": 0,
        }
        return self._data([webhook])

    def _kinds(self, _: Request) -> tuple[Json, int]:
        return self._data([{"eventName": name, "active": name in MAPPED} for name in sorted(MAPPED | UNMAPPED)])

    def _log_of_event(self, request: Request) -> tuple[Json, int]:
        found = self.deliveries.log(request.path_params["event_id"])
        if found is None:
            raise Unanswerable(404, 404, "Event log not found")
        return self._data(self._shown(found))

    def _logs_of_request(self, request: Request) -> tuple[Json, int]:
        wanted = request.path_params["request_id"]
        return self._data([self._shown(log) for log in self.deliveries.logs() if log.request_id == wanted])

    def _logs_of_reference(self, request: Request) -> tuple[Json, int]:
        wanted = request.path_params["ref_id"]
        return self._data([self._shown(log) for log in self.deliveries.logs() if log.ref_id == wanted])

    def _logs(self, request: Request) -> tuple[Json, int]:
        """ASSUMPTION: pages by `page` (from 0) and `size`; the primary identifier is the customer id."""
        self._check_group(request)
        kind, member = request.query_params.get("eventType"), request.query_params.get("eventSearchKey")
        request_id, order = request.query_params.get("requestId"), request.query_params.get("sortBy", "")
        found = [
            log
            for log in self.deliveries.logs()
            if kind in (None, log.kind) and member in (None, str(log.customer_id)) and request_id in (None, log.request_id)
        ]
        if order.startswith("webhookDuration"):
            found.sort(key=lambda log: log.took_ms, reverse=not order.endswith(":asc"))
        elif order.startswith("eventType"):
            found.sort(key=lambda log: log.kind, reverse=not order.endswith(":asc"))
        size = max(1, min(whole_number(request, "size", _PAGE), _LARGEST_PAGE))
        start = whole_number(request, "page", 0) * size
        body, now_ms = self._data([self._shown(log) for log in found[start : start + size]])
        return {**body, "pagination": {"page": start // size, "size": size, "total": len(found)}}, now_ms

    def _metrics(self, request: Request) -> tuple[Json, int]:
        self._check_group(request)
        now_ms = self.clock()
        end_ms = whole_number(request, "endDate", now_ms)
        start_ms = whole_number(request, "startDate", end_ms - _KEPT_MS)
        if start_ms > end_ms:
            raise Unanswerable(400, 400, "startDate is after endDate")
        counts = self.deliveries.metrics(start_ms, end_ms, now_ms)
        return self._data({**counts, "startDate": start_ms, "endDate": end_ms})

    def _check_group(self, request: Request) -> None:
        if request.path_params["group"] != self.consumer_group_id:
            raise Unanswerable(404, 404, "Consumer group not found")

    def _shown(self, log: Log) -> dict[str, Json]:
        return {
            "refId": log.ref_id,
            "requestId": log.request_id,
            "eventName": log.kind,
            "eventId": log.event_id,
            "consumerGroupId": self.consumer_group_id,
            "status": log.state.upper(),
            "eventIngestionTimestamp": log.ingested_ms,
            "eventStartTimestamp": log.started_ms,
            "eventEndTimestamp": log.ended_ms,
            "slaBreachTimestamp": log.ingested_ms + _SLA_MS,
            "consumerResponse": {"webhookHttpStatus": log.status, "time_taken": log.took_ms},
        }

    def _data(self, data: Json) -> tuple[dict[str, Json], int]:
        return {"data": data, "errors": None, "warnings": None}, self.clock()


def whole_number(request: Request, name: str, default: int) -> int:
    """Return a query parameter that is a whole number of at least 0. Errors: Unanswerable 400."""
    text = request.query_params.get(name)
    if text is None:
        return default
    if not text.isdecimal():
        raise Unanswerable(400, 400, f"{name} is no number")
    return int(text)
