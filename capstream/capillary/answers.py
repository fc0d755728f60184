"""What the answers of Capillary's API say about a member. Source: capillary.md 5.2 (C2, C3, C5, C6), 7.5 (4)."""

from collections.abc import Iterator

from capstream.capillary import times
from capstream.capillary.identities import Found, read_identities
from capstream.capillary.ledger import ADJUSTED, BALANCES, EXPIRED, LIFETIME, POINTS, PROMISED, REDEEMED, RETURNED, Op
from capstream.capillary.payloads.draft import section
from capstream.capillary.payloads.forms import named_texts
from capstream.capillary.payloads.records import Scope
from capstream.capillary.programs import Programs
from capstream.capillary.results import Reading
from capstream.capillary.translation_config import TranslationConfig
from capstream.capillary.values import Unfit, decimal_id, milli, text, whole
from capstream.kernel.json import Json


def read_answer(kind: str, body: Json, scope: Scope, programs: Programs, config: TranslationConfig) -> Reading:
    """Return what an answer says. Errors: Unfit when it does not have the shape of its call."""
    if type(body) is not dict:
        raise Unfit("must be an object")
    return _READERS[kind](body, scope, programs, config)


def _elements(body: dict[str, Json], name: str) -> Iterator[dict[str, Json]]:
    listed = body.get(name)
    if type(listed) is not list:
        raise Unfit("must be a list").under(name)
    yield from (item for item in listed if type(item) is dict)


_C3_BALANCES = (
    (POINTS, "loyaltyPoints"),
    (LIFETIME, "lifetimePoints"),
    (REDEEMED, "redeemed"),
    (EXPIRED, "expired"),
    (RETURNED, "returned"),
    (ADJUSTED, "adjusted"),
    (PROMISED, "delayedPoints"),
)


def _loyalty_details(body: dict[str, Json], scope: Scope, programs: Programs, _config: TranslationConfig) -> Reading:
    reading = Reading()
    default = programs.default(scope.org_id)
    purchases: dict[str, int] = {}
    for item in _elements(body, "data"):
        program = decimal_id(item.get("programId")) or default or ""
        for balance, member in _C3_BALANCES:
            if (value := milli(item.get(member))) is not None:
                reading.operations.append([Op.SET, program, BALANCES.index(balance), value])
        if (spent := milli(item.get("cumulativePurchases"))) is not None:
            purchases[program] = spent
        tier = (item.get("slabSNo"), item.get("currentSlab"), item.get("slabExpiryDate"))
        _tier(reading, program, tier, (item.get("nextSlabSerialNumber"), item.get("nextSlab")), scope)
    if purchases:
        chosen = purchases.get(default or "", purchases[min(purchases)])
        reading.operations.append([Op.SET_PURCHASES, "", chosen])
    if reading.operations:
        reading.operations.append([Op.SEEDED, ""])
    return reading


def _tier(reading: Reading, program: str, tier: tuple[Json, Json, Json], following: tuple[Json, Json], scope: Scope) -> None:
    number = whole(tier[0])
    if number is not None and number >= 0:
        expires = times.iso_instant(tier[2], scope.zone)
        written = None if expires is None else times.rfc3339(expires)
        reading.operations.append(
            [Op.TIER, program, number, None if written is None or times.is_never(written) else written, None]
        )
    for place, name in ((tier[0], tier[1]), following):
        known, named = whole(place), text(name)
        if known is not None and known >= 0 and named is not None:
            reading.tier_names.append((program, known, named))


def _tier_details(body: dict[str, Json], scope: Scope, programs: Programs, _config: TranslationConfig) -> Reading:
    reading = Reading()
    for item in _elements(body, "programTiers"):
        program = decimal_id(item.get("programId")) or programs.default(scope.org_id) or ""
        tier = (item.get("currentTierSerialNumber"), item.get("currentTierName"), item.get("tierExpiryDate"))
        _tier(reading, program, tier, (item.get("nextTierSerialNumber"), item.get("nextTierName")), scope)
    return reading


def _expiry_schedule(body: dict[str, Json], scope: Scope, programs: Programs, _config: TranslationConfig) -> Reading:
    schedules: dict[str, list[Json]] = {}
    for item in _elements(body, "expirySchedules"):
        program = decimal_id(item.get("programId")) or programs.default(scope.org_id) or ""
        moment = times.iso_instant(item.get("expiryDateISO") or item.get("expiryDate"), scope.zone)
        held = milli(item.get("points"))
        if moment is not None and held:
            schedules.setdefault(program, []).append([times.day_in(moment, scope.zone), held, None, None])
    return Reading(operations=[[Op.LOTS_REPLACE, "", schedules]])


def _customer(body: dict[str, Json], scope: Scope, _programs: Programs, config: TranslationConfig) -> Reading:
    """Read the in-store profile, else the first. ASSUMPTION: `customerStatus` is `{label}` or `{status}`, or the label itself."""
    profiles = list(_elements(body, "profiles"))
    profile = next((item for item in profiles if text(item.get("source")) == "INSTORE"), profiles[0] if profiles else {})
    reading = Reading(identities=_identities(profile, config))
    stated = {"source": text(profile.get("source")), "loyalty_type": text(section(body, "loyaltyInfo").get("loyaltyType"))}
    if stated["source"] is not None:
        reading.attributes["account"] = text(profile.get("accountId"))
    if config.pii_names:
        stated |= {"first_name": text(profile.get("firstName")), "last_name": text(profile.get("lastName"))}
    status = body.get("customerStatus")
    if type(status) is dict:
        status = status.get("label") or status.get("currentLabel") or status.get("status")
    stated["status"] = text(status)
    reading.attributes |= {name: value for name, value in stated.items() if value is not None}
    reading.joined = times.iso_instant(section(profile, "attribution").get("createDate"), scope.zone)
    if type(profile.get("fields")) is dict:
        reading.custom = named_texts(profile["fields"]) or {}
    if type(body.get("extendedFields")) is dict:
        reading.extended = named_texts(body["extendedFields"]) or {}
    return reading


def _identities(profile: dict[str, Json], config: TranslationConfig) -> Found:
    instore: dict[str, Json] = {"cardNumbers": []}
    for item in profile.get("identifiers") or ():
        if type(item) is dict and type(item.get("type")) is str:
            name = item["type"].lower()
            if name == "cardnumber":
                instore["cardNumbers"].append(item.get("value"))
            else:
                instore["externalId" if name == "externalid" else name] = item.get("value")
    return read_identities({"instore": instore}, config, [])


_READERS = {"C2": _customer, "C3": _loyalty_details, "C5": _tier_details, "C6": _expiry_schedule}
