"""Capillary's identifiers as identities of the platform: normalised values in, an identityMap out.

Source: capillary.md 7.4.
"""

import re
from hashlib import sha256
from typing import Final

from capstream.capillary.records import MemberState
from capstream.capillary.translation_config import TranslationConfig
from capstream.capillary.values import Unfit, opaque_id
from capstream.kernel.json import Json

EMAIL, EMAIL_HASH, PHONE, PHONE_HASH, EXTERNAL, CARD = "email", "email_hash", "phone", "phone_hash", "external", "card"
_HEX: Final = re.compile(r"[0-9a-f]+", re.ASCII)
_MAX_EMAIL: Final = 254
_MAX_VALUE: Final = 255

Found = dict[str, str]
"""Kind of identity -> value. Cards are `card:{number}`, configured account identifiers `account:{key}`."""


def read_identities(identifiers: Json, config: TranslationConfig, flags: list[str]) -> Found:
    """Return the usable identities of a `customerIdentifiers` object; what is unusable is left out, hashed values are flagged."""
    found: Found = {}
    if type(identifiers) is not dict:
        return found
    instore = identifiers.get("instore")
    if type(instore) is dict:
        if (value := instore.get("email")) is not None:
            _email(found, value, config, flags)
        if (value := instore.get("mobile")) is not None and (phone := _phone(value, config)):
            found[PHONE] = phone
        if (value := instore.get("externalId")) is not None and (external := _plain(value, config)):
            found[EXTERNAL] = external
        if config.cards:
            _cards(found, instore, config)
    if config.account_keys:
        _accounts(found, identifiers, config, flags)
    return found


def _email(found: Found, value: Json, config: TranslationConfig, flags: list[str]) -> None:
    if type(value) is not str:
        return
    email = value.strip().lower()
    at, size = email.find("@"), len(email)
    if at >= 0:
        if 0 < at < size - 1 and size <= _MAX_EMAIL and email.rfind("@") == at and len(email.split()) == 1:
            found[EMAIL] = email
    elif size in (32, 40, 64) and _HEX.fullmatch(email):
        if size == 64 and not _is_denied(email, config):
            found[EMAIL_HASH] = email
        else:
            flags.append("hashed_identifier")


def _phone(value: Json, config: TranslationConfig) -> str | None:
    try:
        raw = opaque_id(value)
    except Unfit:
        return None
    if raw is None or _is_denied(raw, config):
        return None
    digits = raw if raw.isascii() and raw.isdigit() else "".join(sign for sign in raw if sign in "0123456789")
    if digits != raw and any(sign.isalpha() for sign in raw):
        return None
    digits = digits.removeprefix("00")
    if digits.startswith("0"):
        if config.default_country_code is None:
            return None
        digits = config.default_country_code + digits[1:]
    return f"+{digits}" if 8 <= len(digits) <= 15 else None


def _plain(value: Json, config: TranslationConfig) -> str | None:
    try:
        found = opaque_id(value)
    except Unfit:
        return None
    return None if found is None or len(found) > _MAX_VALUE or _is_denied(found, config) else found


def _is_denied(value: str, config: TranslationConfig) -> bool:
    return value.lower() in config.denied_values or not value.strip("0")


def _cards(found: Found, instore: dict[str, Json], config: TranslationConfig) -> None:
    numbers = instore.get("cardNumbers")
    listed = list(numbers) if type(numbers) is list else []
    for value in (*listed, instore.get("cardnumber"), instore.get("card_number")):
        if (card := _plain(value, config)) is not None:
            found[f"{CARD}:{card}"] = card


def _accounts(found: Found, identifiers: dict[str, Json], config: TranslationConfig, flags: list[str]) -> None:
    for source, holder in identifiers.items():
        accounts = holder.get("accounts") if type(holder) is dict else None
        for account in accounts if type(accounts) is list else ():
            listed = account.get("identifiers") if type(account) is dict else None
            for item in listed if type(listed) is list else ():
                if type(item) is not dict:
                    continue
                key = config.account_keys.get(f"{source}.{item.get('identifierType')}")
                if key is not None:
                    _account_value(found, key, item.get("identifierValue"), config, flags)


def _account_value(found: Found, key: str, value: Json, config: TranslationConfig, flags: list[str]) -> None:
    if key == EMAIL:
        if EMAIL not in found:
            _email(found, value, config, flags)
    elif key == PHONE:
        if PHONE not in found and (phone := _phone(value, config)):
            found[PHONE] = phone
    elif (plain := _plain(value, config)) is not None:
        found[f"account:{key}"] = plain


def identity_map(
    org_id: str, customer_id: str, event: Found | None, state: MemberState | None, config: TranslationConfig
) -> dict[str, Json]:
    """Return an identityMap with exactly one primary item: the event's identities first, then the state's, then merged members'.

    Source: capillary.md 7.4 (primary, authenticatedState), 7.5 (9).
    """
    items: dict[str, list[Json]] = {"capillaryUserId": [_item(user_id(org_id, customer_id, config))]}
    keys: dict[str, str] = config.identity_keys
    if event:
        for kind, value in event.items():
            _add(items, keys.get(kind) or _other_key(kind), value)
    if state is not None:
        for kind, register in state.identities.items():
            known = register[0]
            if known is not None and (event is None or event.get(kind) != known):
                _add(items, keys.get(kind) or _other_key(kind), known)
        for merged_id, registers in state.merged.items():
            _add(items, "capillaryUserId", user_id(org_id, merged_id, config))
            for kind, register in registers.items():
                if register[0] is not None:
                    _add(items, keys.get(kind) or _other_key(kind), register[0])
    if config.email_mode != "pass":
        _veil(items, keys[EMAIL], keys[EMAIL_HASH] if config.email_mode == "hash" else "")
    if config.phone_mode != "pass":
        _veil(items, keys[PHONE], keys[PHONE_HASH] if config.phone_mode == "hash" else "")
    items[_primary_key(items, config)][0]["primary"] = True
    return items


def _veil(items: dict[str, list[Json]], key: str, hashed_key: str) -> None:
    """Replace the values under a key by their SHA-256 under another one; without that one they are left out."""
    for item in items.pop(key, ()):
        if hashed_key:
            _add(items, hashed_key, sha256(item["id"].encode()).hexdigest())


_ITEM: Final[dict[str, Json]] = {"id": "", "authenticatedState": "ambiguous", "primary": False}
"""Copied for every identity: cheaper than building one."""


def _item(value: str) -> dict[str, Json]:
    item = _ITEM.copy()
    item["id"] = value
    return item


def _add(items: dict[str, list[Json]], key: str, value: str) -> None:
    held = items.get(key)
    if held is None:
        items[key] = [_item(value)]
        return
    for item in held:
        if item["id"] == value:
            return
    held.append(_item(value))


def user_id(org_id: str, customer_id: str, config: TranslationConfig) -> str:
    """Return the identity of a member in the namespace of Capillary's ids."""
    if config.customer_id_template == "{customerId}":
        return customer_id
    return config.customer_id_template.replace("{orgId}", org_id).replace("{customerId}", customer_id)


def _other_key(kind: str) -> str:
    return "capillaryCard" if kind.startswith("card:") else kind.removeprefix("account:")


def _primary_key(items: dict[str, list[Json]], config: TranslationConfig) -> str:
    if config.primary == "adobe_sample":
        for kind in (EMAIL, PHONE):
            if config.identity_keys[kind] in items:
                return config.identity_keys[kind]
    return "capillaryUserId"
