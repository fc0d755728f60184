"""The webhooks of a simulated run: its own, and those registered through the API, each with a queue of its own.

Source: capillary.md 1.2, 1.5, 9.4.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from uuid import NAMESPACE_URL, uuid5

from capstream.capillary.programme.events import SimEvent
from capstream.capillary.vocabulary import MAPPED
from capstream.kernel import log
from capstream.kernel.clock import Clock
from capstream.kernel.ids import new_object_id, new_uuid
from capstream.kernel.json import dumps
from capstream.relay.deliveries import Deliveries
from capstream.relay.faults import Posting
from capstream.relay.sender import Listeners, Rate, RateKind, Sender, SenderOptions, Subscription
from capstream.relay.webhook_client import Target
from capstream.relay.webhook_settings import Unanswerable, WebhookSettings

_WAITING = 100_000  #: events one webhook may be behind; what comes then is lost to it
_MOST = 20  #: webhooks of one run


@dataclass(slots=True, kw_only=True)
class Webhook:
    """One registration and what was delivered to it."""

    webhook_id: str
    consumer_group_id: str
    settings: WebhookSettings
    created_ms: int
    updated_ms: int
    sender: Sender
    deliveries: Deliveries
    backlog: "Backlog | None" = None  #: None: the run's own, which has the run's feed
    task: "asyncio.Task[object] | None" = None

    def follow(self, settings: WebhookSettings, now_ms: int) -> None:
        """Post by new settings from now on."""
        self.settings, self.updated_ms = settings, now_ms
        self.sender.follow(subscription(settings))


class Backlog:
    """The events that wait for one webhook."""

    def __init__(self, limit: int = _WAITING) -> None:
        self.offered = 0
        self.lost = 0
        self._limit = limit
        self._waiting: deque[Posting] = deque()
        self._more = asyncio.Event()
        self._is_open = True

    def offer(self, event: SimEvent) -> None:
        """Take an event; the webhook never gets it when too many wait."""
        if len(self._waiting) >= self._limit:
            if not self.lost:
                log.warning("a webhook is too far behind and loses events", action="webhook_behind", waiting=self._limit)
            self.lost += 1
            return
        self.offered += 1
        self._waiting.append(Posting(event, dumps(event.body), event.created_at_ms))
        self._more.set()

    async def take(self) -> Posting | None:
        """Return the next event as soon as there is one, None when there will be none."""
        while not self._waiting:
            if not self._is_open:
                return None
            self._more.clear()
            await self._more.wait()
        return self._waiting.popleft()

    def close(self) -> None:
        """Take no further event; what waits is still handed out."""
        self._is_open = False
        self._more.set()


@dataclass(slots=True, kw_only=True)
class Webhooks:
    """All webhooks of a run, by id. They live on one event loop."""

    clock: Clock
    options: SenderOptions  #: how the run's own webhook is posted; the others share its retries
    table: dict[str, Webhook] = field(default_factory=dict)
    _stop: asyncio.Event = field(default_factory=asyncio.Event)

    def own(self, sender: Sender, deliveries: Deliveries) -> None:
        """Register the webhook the run was started with; the same address has the same ids."""
        options = self.options
        group = str(uuid5(NAMESPACE_URL, options.url))
        settings = WebhookSettings(
            name="capstream-simulated",
            url=options.url,
            event_names=MAPPED,
            headers=dict(options.headers),
            connections=options.connections,
            identifiers=({"source": "INSTORE"},),
            method=options.method,
            till_details=True,
            store_details=True,
        )
        now_ms = self.clock()
        webhook_id = group.replace("-", "")[:24]
        self.table[webhook_id] = Webhook(
            webhook_id=webhook_id,
            consumer_group_id=group,
            settings=settings,
            created_ms=now_ms,
            updated_ms=now_ms,
            sender=sender,
            deliveries=deliveries,
        )

    def add(self, settings: WebhookSettings) -> Webhook:
        """Register a webhook: it gets the events that happen from now on. Errors: Unanswerable."""
        self._check_name(settings.name)
        if len(self.table) >= _MOST:
            raise Unanswerable(400, 400, f"there are {_MOST} webhooks; delete one first")
        backlog, now_ms = Backlog(), self.clock()
        deliveries = Deliveries(lambda: backlog.offered)
        options = replace(self.options, url="", rate=Rate(RateKind.MAX))
        listeners = Listeners(attempted=(deliveries.attempted,), lost=deliveries.lost)
        sender = Sender(backlog, options, self.clock, listeners)
        sender.follow(subscription(settings))
        webhook_id = new_object_id(now_ms)
        made = self.table[webhook_id] = Webhook(
            webhook_id=webhook_id,
            consumer_group_id=new_uuid(),
            settings=settings,
            created_ms=now_ms,
            updated_ms=now_ms,
            sender=sender,
            deliveries=deliveries,
            backlog=backlog,
            task=asyncio.get_running_loop().create_task(sender.run(self._stop)),
        )
        return made

    def change(self, webhook: Webhook, settings: WebhookSettings) -> None:
        """Let a webhook follow other settings. Errors: Unanswerable."""
        if settings.name != webhook.settings.name:
            self._check_name(settings.name)
        webhook.follow(settings, self.clock())

    def remove(self, webhook: Webhook) -> None:
        """Take a webhook away; a request on its way is cut off. The run's own posts nothing more."""
        del self.table[webhook.webhook_id]
        if webhook.task is not None:
            webhook.task.cancel()
        else:
            webhook.follow(replace(webhook.settings, active=False), self.clock())

    def offer(self, event: SimEvent) -> None:
        """Hand a new event to the registered webhooks that want it."""
        for webhook in self._registered():
            if webhook.backlog is not None and webhook.settings.wants(event.kind):
                webhook.backlog.offer(event)

    async def drain(self) -> None:
        """Return when every webhook has what is meant for it, or the time for that is over."""
        self._stop.set()
        await asyncio.gather(
            *(webhook.task for webhook in self._registered() if webhook.task is not None), return_exceptions=True
        )

    async def close(self) -> None:
        """End what still runs."""
        for webhook in self._registered():
            if webhook.task is not None:
                webhook.task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await webhook.task

    def _registered(self) -> Iterator[Webhook]:
        return (webhook for webhook in tuple(self.table.values()) if webhook.task is not None)

    def _check_name(self, name: str) -> None:
        if any(webhook.settings.name == name for webhook in self.table.values()):
            raise Unanswerable(400, 400, f"name {name!r} is taken; it must be unique")


def subscription(settings: WebhookSettings) -> Subscription:
    """Return what a sender does for a webhook."""
    return Subscription(
        target=Target.of(settings.url, settings.method, settings.headers) if settings.url else None,
        connections=settings.connections,
        wants=lambda posting: settings.wants(posting.event.kind),
        body=lambda posting: settings.shaped(posting.raw, posting.event.kind),
    )
