"""What the payload of one event is made from: the event, what it points at, and the flags collected on the way."""

from typing import Final

from capstream.capillary.events import NormalisedEvent
from capstream.capillary.payloads.records import Draft
from capstream.capillary.programs import Programs
from capstream.capillary.translation_config import TranslationConfig
from capstream.capillary.values import Unfit, decimal_id, opaque_id, text
from capstream.kernel.json import Json

_TRIGGER_KEYS: Final[tuple[str, ...]] = (
    "billId",
    "billNumber",
    "billLineItemId",
    "redemptionId",
    "customerId",
    "eventLogId",
    "transactionId",
    "targetRuleId",
)
_TRIGGER_KEY_OF: Final = {key.lower(): key for key in _TRIGGER_KEYS}
_MOST_SPELLINGS: Final = 256
_LONGEST_SPELLING: Final = 64
_EMPTY: Final[dict[str, Json]] = {}


def draft_of(event: NormalisedEvent, programs: Programs, config: TranslationConfig, bill: dict[str, Json] | None) -> Draft:
    """Return the draft of an event. Errors: Unfit when the programme id or a trigger identifier cannot be read."""
    data = event.data
    activity = data.get("triggeringActivity")
    if type(activity) is not dict:
        activity = _EMPTY
    name, trigger = None, {}
    if activity:
        name = _trigger_name(activity.get("name"))
        trigger = _identifiers(activity.get("identifiers"))
    return Draft(
        event,
        (programs, config),
        trigger=(name, trigger),
        entered_by=_entered_by(data, activity),
        program=_program(event, programs),
        bill=bill,
    )


def section(source: dict[str, Json], name: str) -> dict[str, Json]:
    """Return a member that is an object, an empty one when it is anything else."""
    found = source.get(name)
    return found if type(found) is dict else _EMPTY


def objects(source: dict[str, Json], name: str) -> list[dict[str, Json]]:
    """Return the objects of a member that is a list; nothing when it is absent. Errors: Unfit when it is something else."""
    found = source.get(name)
    if found is None:
        return []
    if type(found) is not list:
        raise Unfit("must be a list").under("data", name)
    return [item for item in found if type(item) is dict]


def _trigger_name(value: Json) -> str | None:
    try:
        found = text(value)
    except Unfit as unfit:
        raise unfit.under("data", "triggeringActivity", "name") from None
    return None if found is None else found[:255]


def _trigger_key(key: str) -> str:
    found = _spellings.get(key)
    if found is None:
        compact = "".join(key.split())
        found = _TRIGGER_KEY_OF.get(compact.lower()) or compact[:1].lower() + compact[1:]
        if len(_spellings) < _MOST_SPELLINGS and len(key) <= _LONGEST_SPELLING:
            _spellings[key] = found
    return found


_spellings: Final[dict[str, str]] = {}  # what came before, and what it stands for


def _identifiers(listed: Json) -> dict[str, str]:
    found: dict[str, str] = {}
    if type(listed) is not list:
        return found
    for index, item in enumerate(listed):
        if type(item) is not dict or type(key := item.get("key")) is not str or not key.strip():
            continue
        try:
            value = opaque_id(item.get("value"))
        except Unfit as unfit:
            raise unfit.under("data", "triggeringActivity", "identifiers", index, "value") from None
        if value is not None:
            found[_trigger_key(key)] = value
    return found


def _entered_by(data: dict[str, Json], activity: dict[str, Json]) -> dict[str, Json]:
    """Return the first `enteredBy` that names a store, else one that names a till.

    `enteredAt` inside the activity is a misnamed `enteredBy` of one published sample.
    """
    found = _EMPTY
    for holder in (data.get("enteredBy"), data.get("addedBy"), activity.get("enteredBy"), activity.get("enteredAt")):
        if type(holder) is dict:
            if holder.get("store"):
                return holder
            if not found and holder.get("till"):
                found = holder
    return found


def _program(event: NormalisedEvent, programs: Programs) -> tuple[str | None, str | None]:
    data = event.data
    details = data.get("loyaltyProgramDetails")
    if type(details) is not dict:
        details = _EMPTY
    try:
        program_id = decimal_id(data.get("loyaltyProgramId")) or decimal_id(details.get("id"))
    except Unfit as unfit:
        raise unfit.under("data", "loyaltyProgramId") from None
    if program_id is None and type(split := data.get("programPointsSplit")) is list and split and type(split[0]) is dict:
        program_id = _split_program(split[0])
    name = details.get("name")
    if type(name) is not str or not name.strip():
        known = programs.get(event.org_id, program_id) if program_id is not None else None
        name = None if known is None else known.name
    return program_id, name


def _split_program(split: dict[str, Json]) -> str | None:
    try:
        return decimal_id(split.get("programId"))
    except Unfit as unfit:
        raise unfit.under("data", "programPointsSplit", 0, "programId") from None
