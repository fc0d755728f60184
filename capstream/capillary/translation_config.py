"""The settings of the translation: one frozen value, read from a settings table, defaults as the contract states them.

Source: capillary.md 5.4 (enrichment), 7.3 (times), 7.4 (identities), 7.5-7.8.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Final, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from capstream.capillary.vocabulary import MAPPED, canonical_name
from capstream.kernel.errors import InputError
from capstream.kernel.json import Json

BillTime = Literal["auto", "instant", "cluster_wall_clock"]
Need = Literal["required", "best_effort", "off"]
IdentityMode = Literal["pass", "hash", "drop"]

STATUSES: Final[dict[str, str]] = {
    "active": "active",
    "suspended": "suspended",
    "fraud suspected": "suspended",
    "fraud confirmed": "disabled",
    "internal": "disabled",
    "pending deletion": "disabled",
    "deleted": "deleted",
}
"""Status label (lower case) -> `loyalty.status`; any other label is used in lower case."""

CHOICES: Final[dict[str, tuple[str, ...]]] = {
    "bill_time": ("auto", "instant", "cluster_wall_clock"),
    "primary": ("capillary_user_id", "adobe_sample"),
    "key_case": ("sample", "namespace"),
    "event_identities": ("state", "event"),
    "email_mode": ("pass", "hash", "drop"),
    "phone_mode": ("pass", "hash", "drop"),
    "voucher_codes": ("hash", "plain"),
    "tier_case": ("keep", "lower", "upper"),
    "expiry_change_source": ("pointsExpiryChange", "singlePointsExpiryUpdated"),
    "anonymous_bills": ("drop", "dead_letter", "journal"),
    "transaction_lines": ("required", "best_effort", "off"),
}
"""Field -> what it may be set to. The types of the fields say the same, but once compiled they are gone."""

_DENIED: Final = frozenset({"", "null", "none", "undefined", "n/a", "unknown", "-1", "anonymous", "invalid"})


@dataclass(frozen=True, kw_only=True)
class TranslationConfig:
    """How one source's events become payloads. `metadata["key"]` is the name of a field in the settings.

    Compiled: an event asks some thirty times (docs/adr/0004).
    """

    org_zone: str = field(default="UTC", metadata={"key": "org_zone"})
    cluster_zone: str = field(default="UTC", metadata={"key": "cluster_zone"})
    bill_time: BillTime = field(default="auto", metadata={"key": "bill_time"})
    store_zones: dict[str, str] = field(default_factory=dict, metadata={"key": "store_zones"})
    default_store_zone: str | None = field(default=None, metadata={"key": "default_store_zone"})
    default_currency: str | None = field(default=None, metadata={"key": "default_currency"})

    customer_id_template: str = field(default="{customerId}", metadata={"key": "identity.customer_id_template"})
    primary: Literal["capillary_user_id", "adobe_sample"] = field(
        default="capillary_user_id", metadata={"key": "identity.primary"}
    )
    key_case: Literal["sample", "namespace"] = field(default="sample", metadata={"key": "identity.key_case"})
    phone_key: str | None = field(default=None, metadata={"key": "identity.phone_key"})
    external_id_key: str = field(default="capillaryExternalId", metadata={"key": "identity.external_id_key"})
    cards: bool = field(default=False, metadata={"key": "identity.cards"})
    account_keys: dict[str, str] = field(default_factory=dict, metadata={"key": "identity.accounts"})
    event_identities: Literal["state", "event"] = field(default="state", metadata={"key": "identity.event_identities"})
    default_country_code: str | None = field(default=None, metadata={"key": "identity.default_country_code"})
    denied_values: frozenset[str] = field(default=_DENIED, metadata={"key": "identity.denied_values"})
    email_mode: IdentityMode = field(default="pass", metadata={"key": "identity.email"})
    phone_mode: IdentityMode = field(default="pass", metadata={"key": "identity.phone"})

    pii_names: bool = field(default=False, metadata={"key": "pii.names"})
    pii_email: bool = field(default=False, metadata={"key": "pii.email"})
    pii_phone: bool = field(default=False, metadata={"key": "pii.phone"})
    voucher_codes: Literal["hash", "plain"] = field(default="hash", metadata={"key": "pii.voucher_codes"})

    field_modes: dict[str, str] = field(default_factory=dict, metadata={"key": "pii.fields"})

    program_select: str = field(default="default", metadata={"key": "program.select"})
    tier_case: Literal["keep", "lower", "upper"] = field(default="keep", metadata={"key": "tier_case"})
    statuses: dict[str, str] = field(default_factory=lambda: STATUSES, metadata={"key": "statuses"})
    profile_on_transaction: bool = field(default=False, metadata={"key": "profile.on_transaction"})
    emit_customer_updated_event: bool = field(default=False, metadata={"key": "emit_customer_updated_event"})
    expiry_change_source: Literal["pointsExpiryChange", "singlePointsExpiryUpdated"] = field(
        default="pointsExpiryChange", metadata={"key": "expiry_change_source"}
    )
    anonymous_bills: Literal["drop", "dead_letter", "journal"] = field(default="journal", metadata={"key": "anonymous_bills"})
    groups_enabled: bool = field(default=False, metadata={"key": "groups.enabled"})
    enabled_kinds: frozenset[str] = field(default=MAPPED, metadata={"key": "events"})
    event_types: dict[str, str] = field(default_factory=dict, metadata={"key": "event_types"})
    extra_fields: frozenset[str] = field(default=frozenset(), metadata={"key": "extra_fields"})

    transaction_lines: Need = field(default="best_effort", metadata={"key": "enrichment.transaction"})
    member_state: bool = field(default=True, metadata={"key": "enrichment.member_state"})
    repair: bool = field(default=False, metadata={"key": "enrichment.repair"})

    identity_keys: dict[str, str] = field(init=False, repr=False, compare=False)  #: kind of identity -> key in the identityMap

    def __post_init__(self) -> None:
        """Work out what depends on several settings."""
        sample = self.key_case == "sample"
        keys = {"email": "email" if sample else "Email", "email_hash": "email_lc_sha256" if sample else "Email_LC_SHA256"}
        keys |= {"phone": self.phone_key or ("phone" if sample else "Phone"), "external": self.external_id_key}
        keys["phone_hash"] = "phone_sha256_e.164" if sample else "Phone_SHA256_E.164"
        object.__setattr__(self, "identity_keys", keys)

    @classmethod
    def from_settings(cls, settings: Mapping[str, Json]) -> "TranslationConfig":
        """Return the config of a settings table.

        Shape: nested tables and dotted keys mean the same: `{"pii": {"names": true}}`, `{"pii.names": true}`.
        Errors: InputError that names the key, for an unknown key, a wrong type or a value outside the choices.
        """
        known = {entry.metadata["key"]: entry.name for entry in fields(cls) if entry.init}
        values: dict[str, Json] = {}
        for key, value in _flattened(settings, "", frozenset(known)):
            if key not in known:
                raise InputError(key, "is no setting of the translation", f"known are {', '.join(sorted(known))}")
            values[known[key]] = _READERS[known[key]](key, value)
        return cls(**values)


def _flattened(settings: Mapping[str, Json], prefix: str, known: frozenset[str]) -> list[tuple[str, Json]]:
    flat: list[tuple[str, Json]] = []
    for name, value in settings.items():
        key = f"{prefix}{name}"
        if isinstance(value, Mapping) and key not in known:
            flat += _flattened(value, f"{key}.", known)
        else:
            flat.append((key, value))
    return flat


_Reader = Callable[[str, Json], Json]


def _boolean(key: str, value: Json) -> bool:
    if not isinstance(value, bool):
        raise InputError(key, "is neither true nor false", "send true or false")
    return value


def _name(key: str, value: Json) -> str:
    if not isinstance(value, str) or not value.strip():
        raise InputError(key, "is no text", "send text")
    return value.strip()


def _optional(read: Callable[[str, Json], str]) -> _Reader:
    return lambda key, value: None if value in (None, "") else read(key, value)


def _choice(*choices: str) -> _Reader:
    def read(key: str, value: Json) -> str:
        if value not in choices:
            raise InputError(key, "is no known choice", f"one of {', '.join(choices)}")
        return str(value)

    return read


def _zone(key: str, value: Json) -> str:
    name = _name(key, value)
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise InputError(key, f"{name} is no time zone", "use an IANA name such as Europe/London") from None
    return name


def _currency(key: str, value: Json) -> str:
    code = _name(key, value).upper()
    if len(code) != 3 or not code.isascii() or not code.isalpha():
        raise InputError(key, "must be a currency of three letters", "for example GBP")
    return code


def _template(key: str, value: Json) -> str:
    name = _name(key, value)
    if "{customerId}" not in name:
        raise InputError(key, "has no place for the member's id", "put {customerId} into it")
    return name


def _digits(key: str, value: Json) -> str:
    code = str(value).lstrip("+")
    if not code.isascii() or not code.isdigit() or not 1 <= len(code) <= 3:
        raise InputError(key, "must be a country calling code", "for example 44")
    return code


def _table(read: Callable[[str, Json], str]) -> _Reader:
    def read_table(key: str, value: Json) -> dict[str, str]:
        if not isinstance(value, Mapping):
            raise InputError(key, "is no table", "send an object")
        return {str(name): read(f"{key}.{name}", item) for name, item in value.items()}

    return read_table


def _names(key: str, value: Json) -> frozenset[str]:
    if not isinstance(value, list | tuple | set | frozenset) or not all(isinstance(item, str) for item in value):
        raise InputError(key, "is no list of names", "send an array of texts")
    return frozenset(value)


def _denied(key: str, value: Json) -> frozenset[str]:
    return _DENIED | {item.strip().lower() for item in _names(key, value)}


def _kinds(key: str, value: Json) -> frozenset[str]:
    kinds = frozenset(canonical_name(name) for name in _names(key, value))
    if unknown := kinds - MAPPED:
        raise InputError(
            key, f"{', '.join(sorted(unknown))} has no translation", "leave it out; docs/reference/events.md lists the kinds"
        )
    return kinds


def _event_types(key: str, value: Json) -> dict[str, str]:
    read = _table(_name)(key, value)
    return {canonical_name(name): event_type for name, event_type in read.items()}


def _statuses(key: str, value: Json) -> dict[str, str]:
    return {**STATUSES, **{label.lower(): status for label, status in _table(_name)(key, value).items()}}


def _field_modes(key: str, value: Json) -> dict[str, str]:
    return {name.lower(): mode for name, mode in _table(_choice(*CHOICES["email_mode"]))(key, value).items()}


def _program(key: str, value: Json) -> str:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else _name(key, value)


_READERS: Mapping[str, _Reader] = {
    "org_zone": _zone,
    "cluster_zone": _zone,
    "bill_time": _choice(*CHOICES["bill_time"]),
    "store_zones": _table(_zone),
    "default_store_zone": _optional(_zone),
    "default_currency": _optional(_currency),
    "customer_id_template": _template,
    "primary": _choice(*CHOICES["primary"]),
    "key_case": _choice(*CHOICES["key_case"]),
    "phone_key": _optional(_name),
    "external_id_key": _name,
    "cards": _boolean,
    "account_keys": _table(_name),
    "event_identities": _choice(*CHOICES["event_identities"]),
    "default_country_code": _optional(_digits),
    "denied_values": _denied,
    "email_mode": _choice(*CHOICES["email_mode"]),
    "phone_mode": _choice(*CHOICES["phone_mode"]),
    "pii_names": _boolean,
    "pii_email": _boolean,
    "pii_phone": _boolean,
    "voucher_codes": _choice(*CHOICES["voucher_codes"]),
    "field_modes": _field_modes,
    "program_select": _program,
    "tier_case": _choice(*CHOICES["tier_case"]),
    "statuses": _statuses,
    "profile_on_transaction": _boolean,
    "emit_customer_updated_event": _boolean,
    "expiry_change_source": _choice(*CHOICES["expiry_change_source"]),
    "anonymous_bills": _choice(*CHOICES["anonymous_bills"]),
    "groups_enabled": _boolean,
    "enabled_kinds": _kinds,
    "event_types": _event_types,
    "extra_fields": _names,
    "transaction_lines": _choice(*CHOICES["transaction_lines"]),
    "member_state": _boolean,
    "repair": _boolean,
}
