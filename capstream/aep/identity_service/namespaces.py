"""Identity namespaces: the standard ones and an organisation's own. Source: identity.md 2."""

import re
from collections.abc import Iterable, Mapping
from enum import StrEnum

import msgspec

from capstream.kernel.json import Json, dumps
from capstream.storage.ports import Documents

COLLECTION = "namespaces"
FIRST_CUSTOM_ID = 10_000_000
MOST_CUSTOM = 1000  # ASSUMPTION: identity.md 4.1

_CODE = re.compile(r"[A-Za-z0-9_.]+")


class IdType(StrEnum):
    """What kind of id a namespace holds, spelled as the API answers it."""

    COOKIE = "COOKIE"  #: a browser
    DEVICE = "Device"  #: a device
    CROSS_DEVICE = "CROSS_DEVICE"  #: a person, whatever the device
    EMAIL = "Email"
    PHONE = "Phone"
    MOBILE = "MOBILE"  #: older name of Phone
    NON_PEOPLE = "Non_people"  #: a product, an account, a store: never linked
    PARTNER = "PARTNER"  #: another company's id: never linked
    B2B_ACCOUNT = "B2B_ACCOUNT"
    B2B_ACCOUNT_PERSON = "B2B_ACCOUNT_PERSON"
    B2B_OPPORTUNITY = "B2B_OPPORTUNITY"
    B2B_OPPORTUNITY_PERSON = "B2B_OPPORTUNITY_PERSON"
    B2B_CAMPAIGN = "B2B_CAMPAIGN"
    B2B_CAMPAIGN_MEMBER = "B2B_CAMPAIGN_MEMBER"
    B2B_MARKETING_LIST = "B2B_MARKETING_LIST"
    B2B_MARKETING_LIST_MEMBER = "B2B_MARKETING_LIST_MEMBER"


_BY_SPELLING: Mapping[str, IdType] = {member.value.lower(): member for member in IdType}
_LINKING = frozenset({IdType.COOKIE, IdType.DEVICE, IdType.CROSS_DEVICE, IdType.EMAIL, IdType.PHONE, IdType.MOBILE})
_RANKS = {IdType.COOKIE: 0, IdType.DEVICE: 1}


class Namespace(msgspec.Struct, frozen=True, kw_only=True):
    """One namespace, stored and answered as JSON."""

    id: int
    code: str
    name: str
    idType: str  # noqa: N815 - the stored form is the answered form
    description: str = ""
    status: str = "ACTIVE"
    custom: bool = False
    createTime: int = 0  # noqa: N815
    updateTime: int = 0  # noqa: N815

    def links(self) -> bool:
        """Return whether identities of this namespace are joined with others into a graph."""
        return self.idType in _LINKING

    def rank(self) -> int:
        """Return how long identities of this namespace stay in a full graph: cookies 0, devices 1, people 2. ASSUMPTION."""
        return _RANKS.get(IdType(self.idType), 2)


def _standard(number: int, code: str, name: str, id_type: IdType) -> Namespace:
    return Namespace(id=number, code=code, name=name, idType=id_type.value)


# Nothing may depend on the numbers: most of them are assumptions. Source: identity.md 2.2.
STANDARD: tuple[Namespace, ...] = (
    _standard(0, "CORE", "Adobe Audience Manager", IdType.COOKIE),
    _standard(4, "ECID", "ECID", IdType.COOKIE),
    _standard(6, "Email", "Email", IdType.EMAIL),
    _standard(7, "Phone", "Phone", IdType.PHONE),
    _standard(8, "WAID", "Windows AID", IdType.DEVICE),
    _standard(9, "TNTID", "TNTID", IdType.COOKIE),
    _standard(10, "AAID", "Adobe Analytics (Legacy ID)", IdType.COOKIE),
    _standard(11, "Email_LC_SHA256", "Emails (SHA256, lowercased)", IdType.EMAIL),
    _standard(14, "Phone_E.164", "Phone (E.164)", IdType.PHONE),
    _standard(15, "Phone_SHA256", "Phone (SHA256)", IdType.PHONE),
    _standard(16, "Phone_SHA256_E.164", "Phone (SHA256_E.164)", IdType.PHONE),
    _standard(411, "AdCloud", "AdCloud", IdType.COOKIE),
    _standard(20914, "GAID", "Google Ad ID (GAID)", IdType.DEVICE),
    _standard(20915, "IDFA", "Apple IDFA (ID for Advertisers)", IdType.DEVICE),
    _standard(20919, "FCM", "Firebase Cloud Messaging", IdType.DEVICE),
    _standard(20920, "APNS", "Apple Push Notification service", IdType.DEVICE),
)


class NamespaceTable:
    """The namespaces one organisation can name, for lookups."""

    def __init__(self, namespaces: Iterable[Namespace]) -> None:
        self._all = tuple(namespaces)
        self._by_code = {namespace.code: namespace for namespace in self._all}
        self._by_lower = {namespace.code.lower(): namespace for namespace in reversed(self._all)}
        self._by_id = {namespace.id: namespace for namespace in self._all}

    def all(self) -> tuple[Namespace, ...]:
        """Return every namespace, the standard ones first."""
        return self._all

    def find(self, code: str) -> Namespace | None:
        """Return the namespace named `code`: exactly, else without case, else as a number. Source: identity.md 2.2."""
        found = self._by_code.get(code) or self._by_lower.get(code.strip().lower())
        if found is None and code.isascii() and code.isdigit():
            found = self._by_id.get(int(code))
        return found

    def numbered(self, number: int) -> Namespace | None:
        """Return the namespace with this id."""
        return self._by_id.get(number)


class Namespaces:
    """The namespaces of every organisation, kept in the control plane's documents."""

    def __init__(self, documents: Documents) -> None:
        self._documents = documents
        self._version = -1
        self._tables: dict[str, NamespaceTable] = {}

    def table(self, org_id: str) -> NamespaceTable:
        """Return the organisation's namespaces; the same object while nothing in the control plane changed."""
        version = self._documents.version()
        if version != self._version:
            self._tables.clear()
            self._version = version
        found = self._tables.get(org_id)
        if found is None:
            stored = self._documents.scan(COLLECTION, prefix=f"{org_id}/")
            custom = [msgspec.json.decode(body, type=Namespace) for _, body in stored]
            found = self._tables[org_id] = NamespaceTable((*STANDARD, *custom))
        return found

    def create(self, org_id: str, wanted: "NewNamespace", now_ms: int) -> Namespace:
        """Store and return a custom namespace with the next free id."""
        numbers = [namespace.id for namespace in self.table(org_id).all() if namespace.custom]
        created = Namespace(
            id=max(numbers, default=FIRST_CUSTOM_ID - 1) + 1,
            code=wanted.code,
            name=wanted.name,
            idType=wanted.id_type.value,
            description=wanted.description,
            custom=True,
            createTime=now_ms,
            updateTime=now_ms,
        )
        self.save(org_id, created)
        return created

    def save(self, org_id: str, namespace: Namespace) -> None:
        """Store a custom namespace durably."""
        with self._documents.transaction() as change:
            change.put(COLLECTION, [(f"{org_id}/{namespace.id:012}", dumps(namespace))])


class NewNamespace(msgspec.Struct, frozen=True, kw_only=True):
    """What a caller may say about a namespace."""

    code: str
    name: str
    id_type: IdType
    description: str


def read_wanted(body: Json) -> NewNamespace | str:
    """Return the wanted namespace, or the sentence that says what is wrong with `body`."""
    if not isinstance(body, dict):
        return "The request body must be a JSON object with name, code and idType."
    for name in ("name", "code", "idType"):
        if not isinstance(body.get(name), str) or not body[name].strip():
            return f"'{name}' is required and must be a non-empty string."
    id_type = _BY_SPELLING.get(body["idType"].strip().lower())
    if id_type is None:
        return f"idType '{body['idType']}' is unknown. Use one of {', '.join(member.value for member in IdType)}."
    if not _CODE.fullmatch(body["code"]):
        return f"code '{body['code']}' is not allowed. Use letters, digits and '_' only."
    description = body.get("description") or ""
    if not isinstance(description, str):
        return "'description' must be a string."
    return NewNamespace(code=body["code"], name=body["name"].strip(), id_type=id_type, description=description)
