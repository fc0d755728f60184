"""The profile payload: always a member's whole known snapshot. Source: capillary.md 6.4, 7.5 (5, 8, 10, 11), 7.7; xdm.md 9.2."""

from typing import Final

from msgspec.structs import astuple

from capstream.capillary import times
from capstream.capillary.identities import EMAIL, PHONE, identity_map
from capstream.capillary.ledger import ADJUSTED, BALANCES, EXPIRED, LIFETIME, POINTS, PROMISED, REDEEMED, RETURNED, ledger_of
from capstream.capillary.payloads.names import payload_id
from capstream.capillary.programs import Programs, smallest
from capstream.capillary.records import Account, Entry, Ledger, MemberState, Program, Register, Schedule
from capstream.capillary.times import rfc3339
from capstream.capillary.translation_config import TranslationConfig
from capstream.capillary.values import from_milli
from capstream.kernel.json import Json


class _Held:
    """An account as it is shown. Its members are read from the record in one go: one by one they are looked up by name."""

    def __init__(self, account: Account) -> None:
        members: tuple[Json, ...] = astuple(account)
        self.balances = members  #: first those of BALANCES
        self.tier: int | None = members[_TIER]
        self.tier_expiry: str | None = members[_TIER + 1]
        self.tier_upgraded: str | None = members[_TIER + 2]
        self.schedule: Schedule = members[_TIER + 3]


_TIER: Final = len(BALANCES)


_UNKNOWN: Final = _Held(Account())
_ZERO: Final = _Held(Account(0, 0, 0, 0, 0, 0, 0))

_SHOWN: Final[tuple[tuple[str, str], ...]] = (
    ("points", POINTS),
    ("lifetimePoints", LIFETIME),
    ("expiredPoints", EXPIRED),
    ("pointsRedeemed", REDEEMED),
    ("promisedPoints", PROMISED),
    ("returnedPoints", RETURNED),
    ("adjustedPoints", ADJUSTED),
)
_IN_LOYALTY: Final = [(name, BALANCES.index(balance)) for name, balance in _SHOWN]
_IN_PROGRAM: Final = _IN_LOYALTY[:5]
"""Member -> index of its balance."""


def _cased(name: str, config: TranslationConfig) -> str:
    if config.tier_case == "keep":
        return name
    return name.lower() if config.tier_case == "lower" else name.upper()


def profile_body(
    org_id: str, customer_id: str, state: MemberState, programs: Programs, config: TranslationConfig
) -> dict[str, Json]:
    """Return a member's snapshot as the profile payload.

    Shape: a merged or deleted member keeps identities and status only. What is unknown is left out, never sent as zero.
    """
    body: dict[str, Json] = {
        "_id": payload_id(org_id, "member", customer_id),
        "identityMap": identity_map(org_id, customer_id, None, state, config),
    }
    status = "merged" if state.merged_into is not None else _status(state, config)
    if state.merged_into is not None or status == "deleted":
        body["loyalty"] = {"status": status}
        body["capillary"] = _stamp(org_id, customer_id, state)
        return body
    quality: list[str] = []
    ledger = ledger_of(state.book)
    program_id = selected_program(org_id, ledger, programs, config)
    accounts = {name: _Held(account) for name, account in ledger.accounts.items()}
    held = _held(accounts, ledger, program_id or "")
    loyalty = _loyalty(state, ledger, (org_id, program_id or "", customer_id), held, programs, (config, quality))
    loyalty["status"] = status
    body["loyalty"] = loyalty
    if person := _person(state, config):
        body |= person
    capillary = _stamp(org_id, customer_id, state)
    _attributes(state, capillary)
    _programs(accounts, ledger, (org_id, program_id), programs, capillary, config)
    if quality:
        capillary["quality"] = quality
    body["capillary"] = capillary
    return body


def selected_program(org_id: str, ledger: Ledger, programs: Programs, config: TranslationConfig) -> str | None:
    """Return the programme that `loyalty` shows: the configured one, else the member's default, else its smallest id."""
    if config.program_select != "default":
        return config.program_select
    held = ledger.accounts
    if len(held) == 1:
        return next(iter(held)) or programs.default(org_id)
    if not held:
        return programs.default(org_id)
    flagged = [name for name in held if name and (known := programs.get(org_id, name)) is not None and known.is_default]
    return smallest(flagged or [name for name in held if name]) or ""


def base_tier(ledger: Ledger, program: Program | None) -> int | None:
    """Return the tier a zero-seeded member starts in; None while the programme's tier list is unknown."""
    return program.base_tier() if ledger.zero and program is not None else None


def awaits_tier_list(org_id: str, state: MemberState, programs: Programs, config: TranslationConfig) -> bool:
    """Say whether a member's tier is only unknown because no event has brought the programme's tier list yet."""
    ledger = ledger_of(state.book)
    if not ledger.zero or state.merged_into is not None:
        return False
    program_id = selected_program(org_id, ledger, programs, config)
    account = ledger.accounts.get(program_id or "")
    if account is not None and account.tier is not None:
        return False
    program = None if program_id is None else programs.get(org_id, program_id)
    return program is None or program.base_tier() is None


def _held(accounts: dict[str, _Held], ledger: Ledger, program_id: str) -> _Held:
    found = accounts.get(program_id)
    return found if found is not None else _ZERO if ledger.zero else _UNKNOWN


def _loyalty(
    state: MemberState,
    ledger: Ledger,
    names: tuple[str, str, str],
    account: _Held,
    programs: Programs,
    notes: tuple[TranslationConfig, list[str]],
) -> dict[str, Json]:
    org_id, program_id, customer_id = names
    config, quality = notes
    program = programs.get(org_id, program_id)
    loyalty: dict[str, Json] = {"loyaltyID": [customer_id]}
    for name, index in _IN_LOYALTY:
        if (value := account.balances[index]) is not None:
            loyalty[name] = from_milli(value)
    if (spent := ledger.purchases) is not None:
        loyalty["lifetimePurchases"] = from_milli(spent)
    if program is not None and program.name:
        loyalty["program"] = program.name
    elif program_id:
        quality.append("program_name_unknown")
    if state.joined is not None:
        loyalty["joinDate"] = rfc3339(state.joined)
    _tier(loyalty, account, ledger, program, notes)
    _schedule(loyalty, account, config, quality)
    if rewards := _rewards(state):
        loyalty["rewards"] = rewards
    return loyalty


def _tier(
    loyalty: dict[str, Json],
    account: _Held,
    ledger: Ledger,
    program: Program | None,
    notes: tuple[TranslationConfig, list[str]],
) -> None:
    config, quality = notes
    tier = account.tier if account.tier is not None else base_tier(ledger, program)
    if tier is None:
        return
    name = None if program is None else program.tier_name(tier)
    if name is None:
        quality.append("tier_name_unknown")
        name = f"tier-{tier}"
    loyalty["tier"] = _cased(name, config)
    following = None if program is None else program.tier_name(tier + 1)
    if following is not None:
        loyalty["nextTier"] = _cased(following, config)
    if account.tier_upgraded is not None:
        loyalty["tierUpgradeDate"] = account.tier_upgraded
    if account.tier_expiry is not None:
        loyalty["tierExpiryDate"] = account.tier_expiry


def _schedule(loyalty: dict[str, Json], account: _Held, config: TranslationConfig, quality: list[str]) -> None:
    schedule = account.schedule
    if schedule.lots:
        entries, cut = _entries(schedule, account.balances[0])
        if entries:
            loyalty["pointsExpiration"] = [
                {"pointsExpiring": from_milli(held), "pointsExpirationDate": times.end_of_day(day, config.org_zone)}
                for day, held in entries
            ]
        if cut or schedule.guessed:
            quality.append("schedule_approximate")
    elif schedule.guessed:
        quality.append("schedule_approximate")


def _entries(schedule: Schedule, balance: int | None) -> tuple[list[tuple[str, int]], bool]:
    """Return one entry per day, ascending, and whether some were cut: what exceeds the balance leaves the earliest days."""
    by_day: dict[str, int] = {}
    total = 0
    for lot in schedule.lots:
        day: str = lot.day
        held: int = lot.points
        total += held
        before = by_day.get(day)
        by_day[day] = held if before is None else before + held
    excess = 0 if balance is None else max(0, total - max(balance, 0))
    cut = excess > 0
    entries: list[tuple[str, int]] = []
    for day, held in by_day.items():
        if excess > 0 or held < 0:
            gone = min(held, excess)
            excess -= gone
            held -= gone
        if held > 0 and not times.is_never(day):
            entries.append((day, held))
    return entries, cut


def _rewards(state: MemberState) -> dict[str, Json]:
    rewards: dict[str, Json] = {}
    if state.coupons:
        rewards["coupons"] = [_coupon(entry) for entry in state.coupons]
    if state.badges:
        rewards["badges"] = [{"id": entry.id, "state": "earned", **_facts(entry, ("start",))} for entry in state.badges]
    return rewards


_MEMBER_OF: Final = {"name": "name", "series": "series", "start": "startDate", "end": "endDate", "value": "discountValue"}


def _facts(entry: Entry, names: tuple[str, ...]) -> dict[str, Json]:
    return {_MEMBER_OF[name]: entry.facts[name][0] for name in names if name in entry.facts}


def _coupon(entry: Entry) -> dict[str, Json]:
    state = "redeemed" if entry.redeemed else "issued"
    return {"id": entry.id, "state": state, **_facts(entry, ("name", "series", "start", "end", "value"))}


def _status(state: MemberState, config: TranslationConfig) -> str:
    stated: dict[str, Register] = state.attributes
    label = stated.get("status")
    if label is not None and label[0]:
        lowered = str(label[0]).strip().lower()
        return config.statuses.get(lowered, lowered)
    kind = stated.get("loyalty_type")
    return "active" if kind is None or str(kind[0]).strip().lower() == "loyalty" else "notEnrolled"


def _person(state: MemberState, config: TranslationConfig) -> dict[str, Json]:
    person: dict[str, Json] = {}
    if config.pii_names:
        stated = (("firstName", "first_name"), ("lastName", "last_name"))
        names = {member: state.attributes[name][0] for member, name in stated if name in state.attributes}
        if known := {member: name for member, name in names.items() if name is not None}:
            person["person"] = {"name": known}
    if config.pii_email and EMAIL in state.identities:
        person["personalEmail"] = {"address": state.identities[EMAIL][0]}
    if config.pii_phone and PHONE in state.identities:
        person["mobilePhone"] = {"number": state.identities[PHONE][0]}
    return person


def _stamp(org_id: str, customer_id: str, state: MemberState) -> dict[str, Json]:
    stamp: dict[str, Json] = {"orgId": org_id, "customerId": customer_id, "stateVersion": state.version}
    as_of, last_id = state.as_of, state.last_id
    if as_of:
        stamp["asOf"] = rfc3339(as_of)
    if last_id:
        stamp["lastEvent"] = {"name": state.last_name, "id": last_id}
    return stamp


_ATTRIBUTES: Final[tuple[tuple[str, str], ...]] = (
    ("loyaltyType", "loyalty_type"),
    ("source", "source"),
    ("accountId", "account"),
    ("customerStatus", "status"),
)


def _attributes(state: MemberState, capillary: dict[str, Json]) -> None:
    stated: dict[str, Register] = state.attributes
    if stated:
        for member, name in _ATTRIBUTES:
            register = stated.get(name)
            if register is not None and register[0] is not None:
                capillary[member] = register[0]
    for member, registers in (("customFields", state.custom), ("extendedFields", state.extended)):
        if registers and (known := {name: register[0] for name, register in registers.items() if register[0] is not None}):
            capillary[member] = known


def _programs(
    accounts: dict[str, _Held],
    ledger: Ledger,
    names: tuple[str, str | None],
    programs: Programs,
    capillary: dict[str, Json],
    config: TranslationConfig,
) -> None:
    org_id, selected = names
    listed: list[Json] = []
    named = list(accounts)
    if len(named) > 1:
        named.sort(key=_by_size)
    for program_id in named:
        if not program_id:
            continue
        account, program = accounts[program_id], programs.get(org_id, program_id)
        tier = account.tier if account.tier is not None else base_tier(ledger, program)
        listed.append(_program(program_id, account, program, tier, config))
    if selected:
        capillary["programId"] = selected
        program = programs.get(org_id, selected)
        tier = _held(accounts, ledger, selected).tier
        if tier is None:
            tier = base_tier(ledger, program)
        if tier is not None:
            capillary["tierNumber"] = tier
    if listed:
        capillary["programs"] = listed


def _by_size(program_id: str) -> tuple[int, str]:
    return (len(program_id), program_id)


def _program(
    program_id: str, account: _Held, program: Program | None, tier: int | None, config: TranslationConfig
) -> dict[str, Json]:
    entry: dict[str, Json] = {"id": program_id}
    if program is not None:
        if program.name:
            entry["name"] = program.name[:255]
        if program.is_default is not None:
            entry["isDefault"] = program.is_default
    for name, index in _IN_PROGRAM:
        if (value := account.balances[index]) is not None:
            entry[name] = from_milli(value)
    if tier is not None:
        known = None if program is None else program.tier_name(tier)
        entry["tier"] = _cased(known or f"tier-{tier}", config)[:255]
        entry["tierNumber"] = tier
    if account.tier_expiry is not None:
        entry["tierExpiryDate"] = account.tier_expiry
    return entry
