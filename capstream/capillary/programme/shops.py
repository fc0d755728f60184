"""The stores and tills of the simulated chain: one for each country, region and hash. Source: capillary.md 9.1."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from zlib import crc32

from capstream.capillary.programme.config import Shops
from capstream.kernel.errors import InputError
from capstream.kernel.json import Json

#: country of the retail file -> ISO 3166 code, zone, number of stores
COUNTRIES: Mapping[str, tuple[str, str, int]] = MappingProxyType(
    {
        "United Kingdom": ("gb", "Europe/London", 12),
        "EIRE": ("ie", "Europe/Dublin", 2),
        "Germany": ("de", "Europe/Berlin", 3),
        "France": ("fr", "Europe/Paris", 3),
        "Norway": ("no", "Europe/Oslo", 1),
        "Australia": ("au", "Australia/Sydney", 2),
        "Netherlands": ("nl", "Europe/Amsterdam", 2),
        "Italy": ("it", "Europe/Rome", 1),
        "Japan": ("jp", "Asia/Tokyo", 1),
        "Portugal": ("pt", "Europe/Lisbon", 1),
        "Spain": ("es", "Europe/Madrid", 2),
        "Lithuania": ("lt", "Europe/Vilnius", 1),
        "Cyprus": ("cy", "Asia/Nicosia", 1),
        "Belgium": ("be", "Europe/Brussels", 2),
        "Switzerland": ("ch", "Europe/Zurich", 2),
        "Channel Islands": ("je", "Europe/Jersey", 1),
        "Denmark": ("dk", "Europe/Copenhagen", 1),
        "Malta": ("mt", "Europe/Malta", 1),
        "Singapore": ("sg", "Asia/Singapore", 1),
        "Iceland": ("is", "Atlantic/Reykjavik", 1),
        "Poland": ("pl", "Europe/Warsaw", 1),
        "Finland": ("fi", "Europe/Helsinki", 1),
        "Austria": ("at", "Europe/Vienna", 1),
        "Sweden": ("se", "Europe/Stockholm", 1),
        "Hong Kong": ("hk", "Asia/Hong_Kong", 1),
        "Greece": ("gr", "Europe/Athens", 1),
        "Israel": ("il", "Asia/Jerusalem", 1),
        "Saudi Arabia": ("sa", "Asia/Riyadh", 1),
        "Czech Republic": ("cz", "Europe/Prague", 1),
        "Canada": ("ca", "America/Toronto", 1),
        "USA": ("us", "America/New_York", 2),
        "Brazil": ("br", "America/Sao_Paulo", 1),
        "Lebanon": ("lb", "Asia/Beirut", 1),
        "Bahrain": ("bh", "Asia/Bahrain", 1),
        "RSA": ("za", "Africa/Johannesburg", 1),
        "United Arab Emirates": ("ae", "Asia/Dubai", 1),
    }
)


@dataclass(frozen=True, slots=True)
class Till:
    """A till and its store. `entered_by` is shared by all events from here: nobody may change it."""

    id: int
    code: str
    store_id: int
    store_code: str
    store_name: str
    zone: str
    has_wall_clock: bool  #: its bill times are wall clock read in the cluster's zone
    entered_by: Json


class Chain:
    """All stores. The same customer shops in the same store; the till follows from the invoice."""

    def __init__(self, shops: Shops, *, enrichment: bool) -> None:
        if shops.home not in COUNTRIES:
            raise InputError("shops.home", f"{shops.home!r} has no stores", f"choose one of {', '.join(COUNTRIES)}")
        self._shops = shops
        self._enrichment = enrichment
        self._tills: dict[tuple[str, int, int], Till] = {}

    def till(self, country: str, customer_ref: str, invoice_id: str) -> Till:
        """Return where that bill was rung up; a country nobody knows (Unspecified) is the home country."""
        known = country if country in COUNTRIES else self._shops.home
        invoice = crc32(invoice_id.encode())
        store = 1 + (crc32(customer_ref.encode()) if customer_ref else invoice >> 8) % COUNTRIES[known][2]
        tills = 1 + crc32(f"{known}:{store}".encode()) % 3
        key = (known, store, 1 + invoice % tills)
        till = self._tills.get(key)
        if till is None:
            till = self._tills[key] = self._open(*key)
        return till

    def _open(self, country: str, store: int, number: int) -> Till:
        iso2, zone, _ = COUNTRIES[country]
        place = f"{iso2}.{store:03d}"
        store_id = 75_000_000 + crc32(place.encode()) % 100_000 * 10
        code = f"till.{place}.{number:02d}"
        name = f"Store {iso2.upper()} {store:03d}"
        entered_by: Json = {"id": store_id + number}
        if self._enrichment:
            entered_by["till"] = {"code": code, "name": code}
            entered_by["store"] = {
                "code": f"str.{place}",
                "name": name,
                "externalId": f"{iso2.upper()}{store:03d}",
                "externalId1": "",
                "externalId2": "",
            }
        wall_clock = crc32(b"zone" + place.encode()) % 10_000 < self._shops.wall_clock_share * 10_000
        return Till(store_id + number, code, store_id, f"str.{place}", name, zone, wall_clock, entered_by)
