"""User-agent and Analytics functions, and the identity function without a public algorithm. Source: data-prep.md 5.2, D9."""

import re
from functools import lru_cache
from typing import NamedTuple

from capstream.lang.diagnostics import Fail

UNKNOWN = "Unknown"
UNKNOWN_VERSION = "??"
_DOCUMENTED_ECIDS = {"4ed70bee-b654-420a-a3fd-b58b6b65e991": "28880788470263023831040523038280731744"}

_SYSTEMS = (
    ("Windows Phone", re.compile(r"Windows Phone(?: OS)? ([0-9.]+)")),
    ("Windows NT", re.compile(r"Windows NT ([0-9.]+)")),
    ("iOS", re.compile(r"(?:iPhone|iPad|iPod)[^)]*?OS ([0-9_]+)")),
    ("Tizen", re.compile(r"Tizen ([0-9.]+)")),
    ("Android", re.compile(r"Android(?: ([0-9.]+))?")),
    ("Chrome OS", re.compile(r"CrOS \S+ ([0-9.]+)")),
    ("Mac OS", re.compile(r"Mac OS X(?: ([0-9_.]+))?")),
    ("Linux", re.compile(r"Linux()")),
)
_AGENTS = (
    ("Googlebot", re.compile(r"Googlebot/([0-9.]+)")),
    ("Bingbot", re.compile(r"bingbot/([0-9.]+)")),
    ("Edge", re.compile(r"(?:Edge|EdgA|EdgiOS|Edg)/([0-9.]+)")),
    ("Opera", re.compile(r"(?:OPR|Opera)/([0-9.]+)")),
    ("Samsungbrowser", re.compile(r"SamsungBrowser/([0-9.]+)")),
    ("Firefox", re.compile(r"(?:Firefox|FxiOS)/([0-9.]+)")),
    ("Chrome", re.compile(r"(?:Chrome|CriOS)/([0-9.]+)")),
    ("Safari", re.compile(r"Version/([0-9.]+).*Safari/")),
    ("Internet Explorer", re.compile(r"(?:MSIE |Trident/.*rv:)([0-9.]+)")),
    ("Curl", re.compile(r"curl/([0-9.]+)", re.IGNORECASE)),
)
_DEVICES = (
    ("Robot Mobile", re.compile(r"\A(?=.*(?:bot\b|bot/|crawler|spider))(?=.*Mobile)", re.IGNORECASE | re.DOTALL)),
    ("Robot", re.compile(r"bot\b|bot/|crawler|spider|curl/|wget|python-requests", re.IGNORECASE)),
    ("Game Console", re.compile(r"PlayStation(?! Vita)|Xbox|Nintendo (?:Switch|Wii)")),
    ("Handheld Game Console", re.compile(r"PlayStation Vita|Nintendo 3DS|Nintendo DS")),
    ("TV", re.compile(r"SmartTV|SMART-TV|Smart-TV|AppleTV|Apple TV|GoogleTV|HbbTV|BRAVIA|\bTV\b")),
    ("Set-top box", re.compile(r"Roku|\bCrKey\b|\bAFT[A-Z]")),
    ("eReader", re.compile(r"Kindle|Kobo")),
    ("Watch", re.compile(r"\bWatch\b|Apple Watch")),
    ("Virtual Reality", re.compile(r"OculusBrowser|\bQuest\b")),
    ("Tablet", re.compile(r"iPad|Tablet|\bSilk/(?!.*Mobile)|Android(?!.*Mobile)", re.DOTALL)),
    ("Phone", re.compile(r"iPhone|iPod|Windows Phone|Android.*Mobile", re.DOTALL)),
    ("Mobile", re.compile(r"Mobile|BlackBerry|Opera Mini")),
    ("Desktop", re.compile(r"Windows NT|Macintosh|X11|CrOS|Linux (?:x86_64|i686)")),
)


class Agent(NamedTuple):
    """What a user-agent text tells."""

    os: str
    os_version: str
    name: str
    version: str
    device: str


@lru_cache(maxsize=512)
def agent(value: str) -> Agent:
    """Return the parts of a user-agent text; unknown parts are `Unknown` and `??` (ASSUMPTION, Yauaa's convention)."""
    value = value[:2048]
    system, system_version = _find(_SYSTEMS, value)
    name, version = _find(_AGENTS, value)
    device = next((label for label, pattern in _DEVICES if pattern.search(value)), UNKNOWN)
    return Agent(system, system_version.replace("_", "."), name, version, device)


def _find(table: tuple[tuple[str, re.Pattern[str]], ...], value: str) -> tuple[str, str]:
    for name, pattern in table:
        if match := pattern.search(value):
            return name, match[1] or UNKNOWN_VERSION
    return UNKNOWN, UNKNOWN_VERSION


def _major(name: str, version: str) -> str:
    return f"{name} {version.partition('.')[0]}"


def ua_os_name(value: str) -> str:
    """Return the operating system."""
    return agent(value).os


def ua_os_version(value: str) -> str:
    """Return the version of the operating system."""
    return agent(value).os_version


def ua_os_version_major(value: str) -> str:
    """Return the operating system with its major version."""
    found = agent(value)
    return _major(found.os, found.os_version)


def ua_os_name_version(value: str) -> str:
    """Return the operating system with its version."""
    found = agent(value)
    return f"{found.os} {found.os_version}"


def ua_agent_name(value: str) -> str:
    """Return the browser."""
    return agent(value).name


def ua_agent_version(value: str) -> str:
    """Return the version of the browser."""
    return agent(value).version


def ua_agent_version_major(value: str) -> str:
    """Return the browser with its major version."""
    found = agent(value)
    return _major(found.name, found.version)


def ua_device_class(value: str) -> str:
    """Return the class of the device."""
    return agent(value).device


def _event(events: str, name: str) -> tuple[str | None, str | None] | None:
    for event in events.split(","):
        head, _, identifier = event.strip().partition(":")
        found, _, value = head.partition("=")
        if found == name:
            return value or None, identifier or None
    return None


def aa_get_event_id(events: str, name: str) -> str | None:
    """Return the id of an event, null when it has none."""
    event = _event(events, name)
    return None if event is None else event[1]


def aa_get_event_value(events: str, name: str) -> str | None:
    """Return the value of an event, `1` when it has none."""
    event = _event(events, name)
    return None if event is None else event[0] or "1"


MAX_PARTS = 50_000
"""The most products, and parts of products, of one text (ASSUMPTION): a hit of Analytics has far fewer."""


def product_part(products: str, position: int) -> list[str | None]:
    """Return one part of every product, null where it is empty or absent."""
    if not products.strip():
        return []
    if sum(map(products.count, ",;|")) > MAX_PARTS:
        raise Fail(f"The products have more than {MAX_PARTS} parts")
    parts = [product.strip().split(";") for product in products.split(",")]
    return [(part[position] or None) if position < len(part) else None for part in parts]


def _named(parts: list[str | None], name: str, *, identified: bool) -> list[str | None]:
    result: list[str | None] = []
    for part in parts:
        found = None
        for item in (part or "").split("|"):
            key, _, value = item.partition("=")
            if key == name:
                found = (value.partition(":")[0] if identified else value) or None
                break
        result.append(found)
    return result


def aa_get_product_categories(products: str) -> list[str | None]:
    """Return the category of every product."""
    return product_part(products, 0)


def aa_get_product_names(products: str) -> list[str | None]:
    """Return the name of every product."""
    return product_part(products, 1)


def aa_get_product_quantities(products: str) -> list[str | None]:
    """Return the quantity of every product."""
    return product_part(products, 2)


def aa_get_product_prices(products: str) -> list[str | None]:
    """Return the price of every product."""
    return product_part(products, 3)


def aa_get_product_event_values(products: str, event: str) -> list[str | None]:
    """Return the value of one event of every product."""
    return _named(product_part(products, 4), event, identified=True)


def aa_get_product_evars(products: str, evar: str) -> list[str | None]:
    """Return the value of one eVar of every product."""
    return _named(product_part(products, 5), evar, identified=False)


def fpid_to_ecid(value: str) -> str:
    """Return the ECID of the documented example. Errors: Fail for any other id, because the derivation is not public."""
    found = _DOCUMENTED_ECIDS.get(value.lower())
    if found is None:
        raise Fail("The derivation of an ECID from a first-party id is not public; leave the ECID to Experience Platform")
    return found
