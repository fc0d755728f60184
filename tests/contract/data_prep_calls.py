"""Every operation of the Data Prep specification, called on good and bad paths."""

from whole_platform import PROFILE, Platform

CONVERSION = "/data/foundation/conversion"
SETS = f"{CONVERSION}/mappingSets"
NONE = "0" * 32
FULL = "application/vnd.adobe.xed-full+json;version=1"
OUTPUT = {"schemaRef": {"id": PROFILE, "contentType": FULL}}
NAME = {"sourceType": "ATTRIBUTE", "source": "firstName", "destination": "_id"}
LOWER = {"sourceType": "EXPRESSION", "source": "lower(mail)", "destination": "personID", "name": "mail"}
FIXED = {"sourceType": "STATIC", "source": "Jim", "destination": "createdByBatchID", "description": "a constant"}
LOST = {"sourceType": "ATTRIBUTE", "source": "firstName", "destination": "person.nowhere"}
BROKEN = {"sourceType": "EXPRESSION", "source": "lower(", "destination": "personID"}
SET = {"name": "Members", "outputSchema": OUTPUT, "mappings": [NAME, LOWER, FIXED], "tags": [{"name": "a", "values": ["b"]}]}


def data_prep(it: Platform) -> None:
    """Call the language, the sets and their mappings."""
    _language(it)
    made = it.says("createMappingSet", "POST", SETS, json=SET).json()["id"]
    legacy = {"sourceAttribute": "firstName", "destinationXdmPath": "_id", "identity": False, "version": 0}
    tutorial = {"version": 0, "xdmSchema": PROFILE, "xdmVersion": "1.0", "mappings": [legacy]}
    it.says("createMappingSet", "POST", SETS, json=tutorial)
    it.says("createMappingSet", "POST", SETS, json={"outputSchema": OUTPUT, "copyFrom": made})
    for wrong in ({}, [], SET | {"mappings": [BROKEN]}, SET | {"mappings": [{"source": "a"}]}, {"copyFrom": NONE}):
        it.says("createMappingSet", "POST", SETS, json=wrong)
    it.says("createMappingSet", "POST", f"{SETS}?validate=true", json=SET | {"mappings": [LOST]})
    it.says("createMappingSet", "POST", SETS, json=SET | {"outputSchema": {"schemaRef": {"id": "https://ns.adobe.com/none"}}})
    it.says("createMappingSet", "POST", SETS, content=b"{", headers={"content-type": "application/json"})
    for query in ("", "?limit=1&start=1", "?name=memb&orderBy=-createdDate", "?expandSchema=true&limit=5&start=0"):
        it.says("listMappingSets", "GET", f"{SETS}{query}")
    for query in ("?limit=0", "?start=-1", "?orderBy=colour"):
        it.says("listMappingSets", "GET", f"{SETS}{query}")
    it.says("putMappingSet", "PUT", f"{SETS}/{made}", json=SET | {"mappings": [NAME]})
    it.says("putMappingSet", "PUT", f"{SETS}/{made}", json=SET | {"mappings": [BROKEN]})
    it.says("putMappingSet", "PUT", f"{SETS}/{NONE}", json=SET)
    for path in (made, f"{made}?version=0", f"{made}?expandSchema=true", f"{made}?version=7", f"{made}?version=x", NONE):
        it.says("retrieveMappingSet", "GET", f"{SETS}/{path}")
    (mapping,) = it.says("listMappings", "GET", f"{SETS}/{made}/mappings").json()
    it.says("listMappings", "GET", f"{SETS}/{NONE}/mappings")
    it.says("retrieveMapping", "GET", f"{SETS}/{made}/mappings/{mapping['id']}")
    it.says("retrieveMapping", "GET", f"{SETS}/{made}/mappings/{NONE}")
    _trials(it)


def _language(it: Platform) -> None:
    place = f"{CONVERSION}/languages/el"
    it.says("listMappingSetFunctions", "GET", f"{place}/functions")
    it.says("listMappingSetOperators", "GET", f"{place}/operators")
    sample = {"sampleData": '{"mail": "A@example.com"}', "sampleDataType": "JSON"}
    for body in (
        {"expression": {"expression": 'concat("Hi", "!")'}},
        {"expression": "lowr(a)"},
        {"expression": "lower(mail)", **sample},
    ):
        it.says("validateExpression", "POST", f"{place}/validate", json=body)
    for wrong in ({}, [], {"expression": "a", "sampleData": {}}):
        it.says("validateExpression", "POST", f"{place}/validate", json=wrong)


def _trials(it: Platform) -> None:
    for mappings in ([NAME, LOWER], [LOST, BROKEN, NAME, NAME]):
        it.says("validateMappingSet", "POST", f"{SETS}/validate", json=SET | {"mappings": mappings})
    it.says("validateMappingSet", "POST", f"{SETS}/validate", json={"outputSchema": OUTPUT})
    record = {"firstName": "Jim", "mail": "A@example.com"}
    it.says("previewMappingSet", "POST", f"{SETS}/preview", json={"data": record, "mappingSet": SET})
    it.says("previewMappingSet", "POST", f"{SETS}/preview", json={"data": [record, {"mail": 5}], "mappingSet": SET})
    failing = SET | {"mappings": [NAME, BROKEN]}
    it.says("previewMappingSet", "POST", f"{SETS}/preview", json={"data": record, "mappingSet": failing})
    it.says("previewMappingSet", "POST", f"{SETS}/preview", json={"data": "x", "mappingSet": SET})
    it.says("previewMappingSet", "POST", f"{SETS}/preview", json={"data": record})
