"""The page of Capillary's events: what each becomes, and the settings of the translation."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import Field, fields
from typing import Any

from capstream.capillary.payloads.transaction import EVENT_TYPES
from capstream.capillary.touching import ALWAYS, PURCHASES, WHEN_CHANGED
from capstream.capillary.translation_config import CHOICES, TranslationConfig
from capstream.capillary.vocabulary import MAPPED, UNMAPPED

Table = Callable[[Sequence[str], Iterable[Sequence[str]]], str]

SOURCE_EVENTS = (
    "customerAdded", "customerUpdated", "transactionAdded", "transactionUpdated",
    "pointsIssued", "pointsRedeemed", "pointsExpired", "pointsExpiryReminder", "pointsExpiryChange",
    "tierUpgraded", "tierDowngraded", "tierRenewed", "tierDowngradeReminder", "promotionEarned",
)  # fmt: skip
"""The 14 events of Adobe's source, in the order of its documentation."""

_MEANINGS: Mapping[str, str] = {
    "org_zone": "zone of dates without a time",
    "cluster_zone": "zone in which Capillary's cluster keeps bill times",
    "bill_time": "how far bill times are believed: as instants, as wall clock of the store, or by looking at each",
    "store_zones": "store code → zone",
    "default_store_zone": "zone of stores that are not listed",
    "default_currency": "currency of bills that name none",
    "identity.customer_id_template": "the identity of a customer; `{orgId}-{customerId}` when organisations share a sandbox",
    "identity.primary": "which identity is primary; `adobe_sample`: e-mail first, as in Adobe's sample",
    "identity.key_case": "keys of the identity map: as in Adobe's sample (`email`), or as the namespaces (`Email`)",
    "identity.phone_key": "key of phone numbers, when another namespace is meant",
    "identity.external_id_key": "key of external ids, for instance the brand's CRM namespace",
    "identity.cards": "whether card numbers are identities",
    "identity.accounts": "`source.type` of further accounts → key",
    "identity.event_identities": "identities of an event: all that is known about the member, or those in the event",
    "identity.default_country_code": "calling code for local numbers; without it they are left out",
    "identity.denied_values": "further values that are no identity",
    "identity.email": "e-mail addresses as identities: as they are, their SHA-256 (namespace Email_LC_SHA256), or none",
    "identity.phone": "phone numbers as identities: as they are, the SHA-256 of +44… (namespace Phone_SHA256_E.164), or none",
    "pii.names": "whether names go into the profile",
    "pii.email": "whether e-mail addresses go into the profile (`identity.email` decides about the identity)",
    "pii.phone": "whether phone numbers go into the profile (`identity.phone` decides about the identity)",
    "pii.fields": "custom or extended field (in any case; `*`: all others) → `pass`, `hash` or `drop`, in profiles and events",
    "pii.voucher_codes": "voucher codes as they are, or hashed",
    "program.select": "the programme whose balance is the profile's: its id, or `default`",
    "tier_case": "spelling of tier names",
    "statuses": "status label → `loyalty.status`",
    "profile.on_transaction": "whether a bill alone is followed by a profile payload",
    "emit_customer_updated_event": "whether `customerUpdated` is an event of its own too",
    "expiry_change_source": "which of the two events about moved expiry dates counts",
    "anonymous_bills": "what becomes of bills without a member",
    "groups.enabled": "whether events about groups are translated",
    "events": "the events that are translated; others are skipped",
    "event_types": "event → another `eventType`",
    "extra_fields": "further members of an event's data to carry along",
    "enrichment.transaction": "line items from Capillary's API; set by `capillaryApi.mode`",
    "enrichment.member_state": "whether members seen for the first time are looked up",
    "enrichment.repair": "whether balances are looked up after events that state only a change",
}


def parts(table: Table) -> list[str]:
    """Return the parts of the page. Errors: KeyError for a setting nobody explained."""
    further = sorted(MAPPED - set(SOURCE_EVENTS), key=str.lower)
    header = ("event", "`eventType`", "profile payload")
    names = ", ".join(f"`{name}`" for name in sorted(UNMAPPED, key=str.lower))
    return [
        "An event with an `eventType` becomes an experience event with a deterministic `_id`; most are followed by the member's\n"
        "new profile. A bill of the type RETURN is `commerce.returns`.",
        f"## The 14 events of the source\n\n{table(header, map(_event, SOURCE_EVENTS))}",
        f"## Further events\n\nTranslated when they are sent.\n\n{table(header, map(_event, further))}",
        f"## Known and not translated\n\nJournaled and counted as skipped (`UNMAPPED_EVENT`): {names}.",
        _SETTINGS_INTRO + table(("setting", "default", "choices", "meaning"), map(_setting, _settings())),
    ]


_SETTINGS_INTRO = (
    "## Settings of the translation\n\n"
    "Member `translation` of a source ([PUT /relay/sources/{key}](endpoints.md#a-source)), nested or dotted:\n"
    '`{"pii": {"names": true}}` and `{"pii.names": true}` mean the same.\n\n'
)


def _event(name: str) -> list[str]:
    if name in ALWAYS:
        follows = "yes"
    elif name in WHEN_CHANGED:
        follows = "when it changed"
    else:
        follows = "by `profile.on_transaction`" if name in PURCHASES else ""
    kind = f"`{EVENT_TYPES[name]}`" if name in EVENT_TYPES else "none"
    condition = ", by `emit_customer_updated_event`" if name == "customerUpdated" else ""
    return [f"`{name}`", kind + condition, follows]


def _settings() -> list[Field[Any]]:
    return [each for each in fields(TranslationConfig) if each.init]


def _setting(each: Field[Any]) -> list[str]:
    key = each.metadata["key"]
    choices = ", ".join(f"`{choice}`" for choice in CHOICES.get(each.name, ()))
    return [f"`{key}`", _default(each), choices, _MEANINGS[key]]


def _default(each: Field[Any]) -> str:
    value = getattr(TranslationConfig(), each.name)
    if each.name == "enabled_kinds":
        return "all"
    if isinstance(value, Mapping | frozenset):
        return "(built in)" if value else ""
    return "" if value is None else f"`{str(value).lower() if isinstance(value, bool) else value}`"
