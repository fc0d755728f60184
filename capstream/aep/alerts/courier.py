"""Delivers events to webhooks and letters to mailboxes: durable, repeated until taken or given up.

One slow receiver must not hold up the others: each has at most one call under way, several run side by side, and letters, which
all go to one server, have lanes of their own. Letters are repeated as events are. Source: monitoring-alerts.md 5.3.
"""

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import httpx

from capstream.aep.alerts import mail, model, webhooks
from capstream.aep.alerts.mail import MailServer
from capstream.aep.alerts.model import Delivery, Outcome, Registration
from capstream.aep.alerts.signing import Signer
from capstream.aep.alerts.webhooks import Attempt
from capstream.kernel import log
from capstream.kernel.clock import Clock
from capstream.storage.ports import Documents

_LANES, _MAIL_LANES = 8, 2


@dataclass(frozen=True, slots=True)
class _Call:
    to: Registration | None  #: None: a mailbox
    delivery: Delivery
    result: "Future[Attempt]"


class Courier:
    """Delivers what the engine queued. Used from one thread; calls are made in others."""

    def __init__(
        self,
        control: Documents,
        findings: Documents,
        signer: Signer,
        *,
        clock: Clock,
        http: httpx.Client,
        mail: MailServer | None = None,
    ) -> None:
        self._control = control
        self._findings = findings
        self._signer = signer
        self._clock = clock
        self._http = http
        self._mail = mail
        self._letters = ThreadPoolExecutor(_MAIL_LANES, thread_name_prefix="mail")
        self._pool = ThreadPoolExecutor(_LANES, thread_name_prefix="webhook")
        self._calls: dict[str, _Call] = {}

    def tick(self) -> bool:
        """Note what calls came to and begin those that are due; return whether there is more to do at once."""
        for registration_id, call in list(self._calls.items()):
            if call.result.done():
                del self._calls[registration_id]
                self._note(call, call.result.result())
        due = self._due()
        for delivery in due:
            self._begin(delivery)
        return bool(self._calls or due)

    def _begin(self, delivery: Delivery) -> None:
        if delivery.registration_id.startswith(model.MAIL):
            self._begin_letter(delivery)
        else:
            to = model.registration(self._control, delivery.registration_id)
            if to is None or not to.verified or to.delivery_type != "webhook":
                self._drop(delivery, "the webhook does not exist any more or did not answer its challenge")
            elif model.health_of(self._findings, to).state == "disabled":
                self._drop(delivery, "the webhook is disabled: too many of its deliveries failed")
            else:
                self._calls[to.id] = _Call(to, delivery, self._pool.submit(self._call, to, delivery))

    def _begin_letter(self, delivery: Delivery) -> None:
        if self._mail is None:
            self._drop(delivery, "no mail server is set any more (mail.host)")
            return
        to = delivery.registration_id.removeprefix(model.MAIL)
        sent = self._letters.submit(mail.send, self._mail, to, delivery.body)
        self._calls[delivery.registration_id] = _Call(None, delivery, sent)

    def close(self) -> None:
        """Wait for the calls under way; what they came to is noted."""
        self._pool.shutdown(wait=True)
        self._letters.shutdown(wait=True)
        for call in self._calls.values():
            self._note(call, call.result.result())
        self._calls.clear()

    def _due(self) -> list[Delivery]:
        """Return the oldest event of each webhook that may be called now."""
        now_ms, seen, found = self._clock(), set(self._calls), []
        for delivery in model.waiting(self._findings):
            if delivery.due_ms <= now_ms and delivery.registration_id not in seen:
                seen.add(delivery.registration_id)
                found.append(delivery)
        return found

    def _call(self, to: Registration, delivery: Delivery) -> Attempt:
        return webhooks.call(self._http, to.webhook_url, delivery, self._signer.headers(delivery.body))

    def _note(self, call: _Call, attempt: Attempt) -> None:
        now_ms, delivery = self._clock(), call.delivery
        delivery.attempts += 1
        delivery.last = attempt.words
        again_ms = webhooks.next_due_ms(delivery, now_ms) if attempt.again and not attempt.ok else None
        key = f"{delivery.registration_id}/{delivery.event_id}"
        with self._findings.transaction() as change:
            if call.to is not None:
                health = webhooks.noted(model.health_of(self._findings, call.to), failed=not attempt.ok, now_ms=now_ms)
                model.put(change, model.HEALTH, call.to.id, health)
            if again_ms is not None:
                delivery.due_ms = again_ms
                model.put(change, model.DELIVERIES, key, delivery)
            else:
                change.delete(model.DELIVERIES, [key])
                model.put(change, model.OUTCOMES, key, _outcome(delivery, "delivered" if attempt.ok else "dropped", now_ms))
        if not attempt.ok:
            facts = {
                "registration": call.to.id if call.to else "mail",  # an address is personal
                "event": delivery.event_id,
                "attempts": delivery.attempts,
                "result": attempt.words,
            }
            log.warning("event not delivered", action="event_not_delivered", again=again_ms is not None, **facts)

    def _drop(self, delivery: Delivery, why: str) -> None:
        delivery.last = why
        with self._findings.transaction() as change:
            key = f"{delivery.registration_id}/{delivery.event_id}"
            change.delete(model.DELIVERIES, [key])
            model.put(change, model.OUTCOMES, key, _outcome(delivery, "dropped", self._clock()))


def _outcome(delivery: Delivery, state: str, now_ms: int) -> Outcome:
    return Outcome(
        event_id=delivery.event_id, code=delivery.code, state=state, attempts=delivery.attempts, last=delivery.last, at_ms=now_ms
    )
