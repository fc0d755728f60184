"""What members do besides buying: register, change, merge, leave. Source: capillary.md 3.1, 3.2, 9.1, 9.2."""

from functools import partial
from math import log

from capstream.capillary.programme.events import SimEvent, activity
from capstream.capillary.programme.ledger import Member, merge
from capstream.capillary.programme.shops import Till
from capstream.capillary.programme.world import BILL_GAP_MS, Step, World
from capstream.capillary.retail import Bill
from capstream.kernel.json import Json

_MONTH_MS = 30.44 * 86_400_000
_CITIES = ("Bristol", "Bath", "York", "Leeds", "Exeter", "Norwich", "Cardiff", "Derby", "Truro", "Durham")
_ADDED_MS, _ENTERED_MS = -200, -500


def register(step: Step, bill: Bill, till: Till) -> Member:
    """Return a new member, registered just before their first bill."""
    world, chance = step.world, step.world.life_draws
    rules = world.programme.customers
    number = int(bill.customer_ref)
    has_email, has_mobile = chance.random() >= rules.missing_email, chance.random() >= rules.missing_mobile
    at_ms = step.at_ms + _ADDED_MS
    member = Member(
        customer_id=rules.id_base + number,
        external_id=f"{rules.external_prefix}{number}",
        email=address(number) if has_email else None,
        mobile=_mobile(number) if has_mobile else None,
        first_name="Member",
        last_name=f"{number:04d}",
        city=chance.choice(_CITIES),
        till=till,
        joined_ms=at_ms,
        newest_ms=at_ms,
        tier_since_ms=at_ms,
    )
    identify(world, member)
    world.members[member.customer_id] = member
    data: Json = {
        "loyaltyType": "loyalty",
        "source": "INSTORE",
        "accountId": "",
        "firstName": member.first_name,
        "lastName": member.last_name,
        "enteredAt": at_ms + _ENTERED_MS,
        "enteredBy": till.entered_by,
        "customerIdentifiers": member.identifiers,
        **_fields(member),
    }
    step.emit("customerAdded", _ADDED_MS, data, member=member, ref=str(member.customer_id))
    _plan_life(world, member, step.at_ms)
    return member


def identify(world: World, member: Member) -> None:
    """Make the identifiers that the member's events carry from now on; without enrichment only the customerId."""
    member.identifiers = {"customerId": member.customer_id}
    if world.enrichment:
        instore: Json = {"mobile": member.mobile, "email": member.email, "externalId": member.external_id, "cardNumbers": []}
        member.identifiers["instore"] = {key: value for key, value in instore.items() if value is not None}
    member.bill_identifiers = {**member.identifiers, "loyaltyType": "loyalty"}


def address(number: int) -> str:
    """Return the e-mail address of a made-up member."""
    return f"member-{number:04d}@example.com"


def _mobile(number: int) -> str | None:
    """Return a number nobody has: the range set aside for fiction, made too long. 15 digits are the most there can be."""
    return f"447700900{number:06d}" if number < 10**6 else None


def _fields(member: Member) -> Json:
    return {
        "customFields": [{"key": "preferred_store", "value": member.till.store_code}],
        "extendedFields": [{"key": "gender", "value": "undisclosed"}, {"key": "city", "value": member.city}],
    }


def _plan_life(world: World, member: Member, at_ms: int) -> None:
    """Schedule the member's next own act: the times between two are exponential."""
    rules = world.programme.customers
    rate = sum(_rates(rules.update_probability_per_month, rules.merge_probability, rules.deletion_probability))
    if rate > 0:
        wait_ms = int(world.life_draws.expovariate(rate) * _MONTH_MS)
        world.schedule(at_ms + wait_ms, member.customer_id, _live)


def _rates(*probabilities: float) -> list[float]:
    return [-log(1 - min(probability, 0.999)) for probability in probabilities]


def _live(world: World, member: Member | None, at_ms: int) -> list[SimEvent]:
    if member is None or member.is_gone:
        return []
    rules, chance = world.programme.customers, world.life_draws
    weights = _rates(rules.update_probability_per_month, rules.merge_probability, rules.deletion_probability)
    act = chance.choices((update, _merge_somebody, delete), weights)[0]
    events = act(world, member, at_ms)
    _plan_life(world, member, at_ms)
    return events


def update(world: World, member: Member | None, at_ms: int) -> list[SimEvent]:
    """Let a member give an e-mail address, or move to another city."""
    if member is None or member.is_gone:
        return []
    step = Step(world, at_ms, world.ids.hex32())
    if member.email is None and member.external_id:
        member.email = address(member.customer_id - world.programme.customers.id_base)
        changed = {"fieldName": "email", "previousValue": "", "currentValue": member.email, "fieldType": "StandardField"}
    else:
        city = world.life_draws.choice([name for name in _CITIES if name != member.city])
        changed = {"fieldName": "city", "previousValue": member.city, "currentValue": city, "fieldType": "ExtendedField"}
        member.city = city
    identify(world, member)
    label = {
        "previousStatus": "ACTIVE",
        "previousLabel": "Active",
        "currentStatus": "ACTIVE",
        "currentLabel": "Active",
        "reason": "",
    }
    fields = [{**changed, "source": "INSTORE", "accountId": ""}]
    step.emit("customerUpdated", 0, _updated(step, member, fields, label), member=member, ref=str(member.customer_id))
    return step.events


def _updated(step: Step, member: Member, fields: Json, status: Json) -> Json:
    return {
        "loyaltyType": "loyalty",
        "source": "INSTORE",
        "accountId": "",
        "firstName": member.first_name,
        "lastName": member.last_name,
        "enteredAt": step.at_ms + _ENTERED_MS,
        "enteredBy": member.till.entered_by,
        "updatedFields": fields,
        "customerStatus": status,
        "triggeringActivity": {"name": "CustomerUpdate", "requestId": step.request},
        "customerIdentifiers": {
            **member.identifiers, "firstName": member.first_name, "lastName": member.last_name, "loyaltyType": "loyalty",
        },
        **_fields(member),
    }  # fmt: skip


def delete(world: World, member: Member | None, at_ms: int) -> list[SimEvent]:
    """Delete a member's personal data: the last event they have. ASSUMPTION: their later bills are anonymous."""
    if member is None or member.is_gone:
        return []
    step = Step(world, at_ms, "")
    status = {"currentLabel": "Deleted", "reason": "PII delete request"}
    step.emit("customerUpdated", 0, _updated(step, member, [], status), member=member, ref=str(member.customer_id))
    member.is_deleted = True
    return step.events


def _merge_somebody(world: World, member: Member | None, at_ms: int) -> list[SimEvent]:
    if member is None:
        return []
    others = [other.customer_id for other in world.members.values() if not other.is_gone and other is not member]
    if others:
        victim_id = world.life_draws.choice(others)
        world.schedule(at_ms, member.customer_id, partial(merge_with, victim_id=victim_id))
    return []


def merge_with(world: World, survivor: Member | None, at_ms: int, *, victim_id: int) -> list[SimEvent]:
    """Merge another member into this one; waits while the other one has newer events."""
    victim = world.members.get(victim_id)
    if survivor is None or victim is None or survivor.is_gone or victim.is_gone or survivor is victim:
        return []
    if victim.newest_ms + BILL_GAP_MS > at_ms:
        world.schedule(victim.newest_ms + BILL_GAP_MS, survivor.customer_id, partial(merge_with, victim_id=victim_id))
        return []
    request = str(world.ids.number("merge", 14_960_000))
    step = Step(world, at_ms, request)
    survivor_ids, victim_ids = survivor.identifiers, victim.identifiers
    merge(survivor, victim)
    number, writer = world.arithmetic.number, world.writer
    summary = {
        "loyaltyProgramId": writer.program_id,
        "lifetimePoints": number(survivor.lifetime),
        "currentPoints": number(survivor.current),
        "promisedPoints": number(survivor.promised_points),
        "tierNumber": survivor.tier,
    }
    data = {
        "survivorCustomerIdentifiers": survivor_ids,
        "victimCustomerIdentifiers": victim_ids,
        "triggeringActivity": {
            key: value for key, value in activity("customerMerge", survivor).items() if key != "entityInformation"
        },
        "enteredBy": {"id": -1},
        "loyaltyProgramDetails": writer.program_details,
        "survivorCustomerLoyaltySummary": [summary],
    }
    event = step.emit("loyaltyCustomerMerge", 0, data, member=survivor, ref=request)
    victim.newest_ms = event.created_at_ms
    return step.events
