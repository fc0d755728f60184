"""Capillary's API about webhooks and their deliveries, of the simulated run: who is subscribed, what was delivered.

Source: capillary.md 1.2, 1.7. ASSUMPTION: refusals come with HTTP 400.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from zoneinfo import ZoneInfo

from starlette.requests import Request

from capstream.capillary.vocabulary import MAPPED, UNMAPPED
from capstream.kernel.clock import Clock
from capstream.kernel.json import Json
from capstream.relay.deliveries import Log
from capstream.relay.webhook_settings import Unanswerable, changed, registered, unknown_members
from capstream.relay.webhooks import Webhook, Webhooks

_KEPT_MS = 30 * 86_400_000
_SLA_MS = 3_600_000
_PAGE, _LARGEST_PAGE = 20, 100
_USER = {"id": 1, "code": "simulator", "description": "", "name": "simulator", "type": "TILL"}

Answer = Callable[[Request, Json], tuple[Json, int]]
"""(request, its JSON body or None) -> (body of the answer, time of the data in epoch ms). Errors: Unanswerable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookApi:
    """The answers about the webhooks of one run."""

    webhooks: Webhooks
    clock: Clock
    zone: ZoneInfo  #: of the organisation: times of webhooks are told in it

    def calls(self) -> Mapping[tuple[str, str], Answer]:
        """Return the answers by method and path."""
        group = "/v3/events/consumer-groups/{group}"
        return {
            ("GET", "/v3/webHooks"): self._list,
            ("POST", "/v3/webHooks"): self._register,
            ("PUT", "/v3/webHooks"): self._change,
            ("GET", "/v3/webHooks/eventMetaData"): self._kinds,
            ("GET", "/v3/webHooks/eventLog/requestId/{request_id}"): self._logs_of_request,
            ("GET", "/v3/webHooks/eventLog/refId/{ref_id}"): self._logs_of_reference,
            ("GET", "/v3/webHooks/eventLog/{event_id}"): self._log_of_event,
            ("GET", "/v3/webHooks/{webhook_id}"): self._show,
            ("PUT", "/v3/webHooks/{webhook_id}"): self._change,
            ("DELETE", "/v3/webHooks/{webhook_id}"): self._remove,
            ("GET", f"{group}/logs"): self._logs,
            ("GET", f"{group}/metrics"): self._metrics,
        }

    def _list(self, _: Request, __: Json) -> tuple[Json, int]:
        return self._data([self._webhook(webhook) for webhook in self.webhooks.table.values()])

    def _register(self, _: Request, body: Json) -> tuple[Json, int]:
        settings = registered(body)
        return self._told(self.webhooks.add(settings), body)

    def _show(self, request: Request, _: Json) -> tuple[Json, int]:
        return self._data(self._webhook(self._named(request.path_params["webhook_id"])))

    def _change(self, request: Request, body: Json) -> tuple[Json, int]:
        """ASSUMPTION: without an id in the path it is the body's `webHookId`."""
        named = request.path_params.get("webhook_id") or (body.get("webHookId") if isinstance(body, dict) else None)
        webhook = self._named(named)
        self.webhooks.change(webhook, changed(webhook.settings, body))
        return self._told(webhook, body)

    def _remove(self, request: Request, _: Json) -> tuple[Json, int]:
        webhook = self._named(request.path_params["webhook_id"])
        self.webhooks.remove(webhook)
        return self._data(self._webhook(webhook))

    def _named(self, webhook_id: Json) -> Webhook:
        webhook = self.webhooks.table.get(webhook_id) if isinstance(webhook_id, str) else None
        if webhook is None:
            raise Unanswerable(400, 400, "invalid webHookId: GET /v3/webHooks lists them")
        return webhook

    def _told(self, webhook: Webhook, body: Json) -> tuple[Json, int]:
        answer, now_ms = self._data(self._webhook(webhook))
        unknown = [{"code": 400, "message": f"{name} is unknown and was left out"} for name in unknown_members(body)]
        return {**answer, "warnings": unknown or None}, now_ms

    def _webhook(self, webhook: Webhook) -> dict[str, Json]:
        return {
            "webHookId": webhook.webhook_id,
            "consumerGroupId": webhook.consumer_group_id,
            **webhook.settings.shown(),
            "noOfRetryAttempts": 0,
            "attribution": {
                "createdOn": self._local(webhook.created_ms),
                "lastUpdatedOn": self._local(webhook.updated_ms),
                "createdBy": _USER,
                "lastUpdatedBy": _USER,
            },
        }

    def _local(self, at_ms: int) -> str:
        return datetime.fromtimestamp(at_ms // 1000, self.zone).isoformat()

    def _kinds(self, _: Request, __: Json) -> tuple[Json, int]:
        return self._data([{"eventName": name, "active": name in MAPPED} for name in sorted(MAPPED | UNMAPPED)])

    def _log_of_event(self, request: Request, _: Json) -> tuple[Json, int]:
        """ASSUMPTION: of an event that went to several webhooks the oldest webhook's log is shown."""
        for webhook in self.webhooks.table.values():
            found = webhook.deliveries.log(request.path_params["event_id"])
            if found is not None:
                return self._data(_shown(webhook, found))
        raise Unanswerable(404, 404, "Event log not found")

    def _logs_of_request(self, request: Request, _: Json) -> tuple[Json, int]:
        wanted = request.path_params["request_id"]
        return self._data([_shown(webhook, log) for webhook, log in self._all_logs() if log.request_id == wanted])

    def _logs_of_reference(self, request: Request, _: Json) -> tuple[Json, int]:
        wanted = request.path_params["ref_id"]
        return self._data([_shown(webhook, log) for webhook, log in self._all_logs() if log.ref_id == wanted])

    def _all_logs(self) -> Iterator[tuple[Webhook, Log]]:
        return ((webhook, log) for webhook in self.webhooks.table.values() for log in webhook.deliveries.logs())

    def _logs(self, request: Request, _: Json) -> tuple[Json, int]:
        """ASSUMPTION: pages by `page` (from 0) and `size`; the primary identifier is the customer id."""
        webhook = self._of_group(request)
        kind, member = request.query_params.get("eventType"), request.query_params.get("eventSearchKey")
        request_id, order = request.query_params.get("requestId"), request.query_params.get("sortBy", "")
        found = [
            log
            for log in webhook.deliveries.logs()
            if kind in (None, log.kind) and member in (None, str(log.customer_id)) and request_id in (None, log.request_id)
        ]
        if order.startswith("webhookDuration"):
            found.sort(key=lambda log: log.took_ms, reverse=not order.endswith(":asc"))
        elif order.startswith("eventType"):
            found.sort(key=lambda log: log.kind, reverse=not order.endswith(":asc"))
        size = max(1, min(whole_number(request, "size", _PAGE), _LARGEST_PAGE))
        start = whole_number(request, "page", 0) * size
        body, now_ms = self._data([_shown(webhook, log) for log in islice(found, start, start + size)])
        return {**body, "pagination": {"page": start // size, "size": size, "total": len(found)}}, now_ms

    def _metrics(self, request: Request, _: Json) -> tuple[Json, int]:
        webhook = self._of_group(request)
        now_ms = self.clock()
        end_ms = whole_number(request, "endDate", now_ms)
        start_ms = whole_number(request, "startDate", end_ms - _KEPT_MS)
        if start_ms > end_ms:
            raise Unanswerable(400, 400, "startDate is after endDate")
        counts = webhook.deliveries.metrics(start_ms, end_ms, now_ms)
        return self._data({**counts, "startDate": start_ms, "endDate": end_ms})

    def _of_group(self, request: Request) -> Webhook:
        for webhook in self.webhooks.table.values():
            if webhook.consumer_group_id == request.path_params["group"]:
                return webhook
        raise Unanswerable(404, 404, "Consumer group not found")

    def _data(self, data: Json) -> tuple[dict[str, Json], int]:
        return {"data": data, "errors": None, "warnings": None}, self.clock()


def _shown(webhook: Webhook, log: Log) -> dict[str, Json]:
    return {
        "refId": log.ref_id,
        "requestId": log.request_id,
        "eventName": log.kind,
        "eventId": log.event_id,
        "consumerGroupId": webhook.consumer_group_id,
        "status": log.state.upper(),
        "eventIngestionTimestamp": log.ingested_ms,
        "eventStartTimestamp": log.started_ms,
        "eventEndTimestamp": log.ended_ms,
        "slaBreachTimestamp": log.ingested_ms + (webhook.settings.sla_s * 1000 if webhook.settings.sla_s else _SLA_MS),
        "consumerResponse": {"webhookHttpStatus": log.status, "time_taken": log.took_ms},
    }


def whole_number(request: Request, name: str, default: int) -> int:
    """Return a query parameter that is a whole number of at least 0. Errors: Unanswerable 400."""
    text = request.query_params.get(name)
    if text is None:
        return default
    if not text.isdecimal():
        raise Unanswerable(400, 400, f"{name} is no number")
    return int(text)
