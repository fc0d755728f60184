import pytest
from hypothesis import given
from hypothesis import strategies as st

from capstream.aep import operations
from capstream.aep.call import Operation
from capstream.aep.operations import parse
from capstream.aep.routing import Router


def operation(method: str, path: str, service: str = "flow_service") -> Operation:
    return Operation(id=f"{method} {path}", service=service, method=method, path=path)


ROUTER = Router(
    [
        operation("GET", "/a/things"),
        operation("POST", "/a/things"),
        operation("GET", "/a/things/{id}"),
        operation("POST", "/a/things/search"),
        operation("GET", "/a/things/{id}/parts/{part}"),
        operation("GET", "/a/tags/{name...}"),
        operation("GET", "/c/dataSets/{id}", "catalog"),
    ],
    folded=("catalog",),
)

FOUND = [
    ("GET", "/a/things", "GET /a/things", {}),
    ("GET", "/a/things/", "GET /a/things", {}),
    ("GET", "//a///things//", "GET /a/things", {}),
    ("GET", "/a/things/7", "GET /a/things/{id}", {"id": "7"}),
    ("GET", "/a/things/search", "GET /a/things/{id}", {"id": "search"}),
    ("POST", "/a/things/search", "POST /a/things/search", {}),
    ("GET", "/a/things/https%3A%2F%2Fns.adobe.com%2Fx", "GET /a/things/{id}", {"id": "https://ns.adobe.com/x"}),
    ("GET", "/a/things/a%2525b", "GET /a/things/{id}", {"id": "a%25b"}),
    ("GET", "/a/things/1/parts/2/", "GET /a/things/{id}/parts/{part}", {"id": "1", "part": "2"}),
    ("GET", "/a/tags/adobe/pqs/table", "GET /a/tags/{name...}", {"name": "adobe/pqs/table"}),
    ("GET", "/c/datasets/1", "GET /c/dataSets/{id}", {"id": "1"}),
    ("GET", "/c/DATASETS/Ab", "GET /c/dataSets/{id}", {"id": "Ab"}),
    ("HEAD", "/a/things", "GET /a/things", {}),
]


@pytest.mark.parametrize(("method", "path", "wanted", "params"), FOUND)
def test_finds_operation(method: str, path: str, wanted: str, params: dict[str, str]) -> None:
    match = ROUTER.match(method, path)
    assert match.operation is not None
    assert match.operation.id == wanted
    assert match.params == params


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("DELETE", "/a/things", {"GET", "POST"}),
        ("PATCH", "/a/things/search", {"POST", "GET"}),
        ("POST", "/a/tags/x/y", {"GET"}),
        ("GET", "/a/nothing", set()),
        ("GET", "/a/Things", set()),
        ("GET", "/a/things/1/parts", set()),
    ],
)
def test_says_which_methods_a_path_knows(method: str, path: str, allowed: set[str]) -> None:
    match = ROUTER.match(method, path)
    assert match.operation is None
    assert match.allowed == allowed


def test_an_unknown_path_belongs_to_the_service_around_it() -> None:
    assert ROUTER.match("GET", "/c/nothing/here").service == "catalog"
    assert ROUTER.match("GET", "/x").service == ""


def test_an_alias_reaches_everything_below_its_target() -> None:
    router = Router([operation("GET", "/long/way/things/{id}")])
    router.alias("/short", "/long/way")
    match = router.match("GET", "/short/things/5")
    assert match.operation is not None
    assert match.params == {"id": "5"}


def test_two_operations_cannot_share_a_path() -> None:
    with pytest.raises(ValueError, match="two operations"):
        Router([operation("GET", "/a/{x}"), operation("GET", "/a/{y}")])


@given(st.text(min_size=1).filter(lambda text: text.strip("/") and "/" not in text))
def test_a_parameter_comes_back_as_it_was_encoded(value: str) -> None:
    from urllib.parse import quote

    text = value.encode("utf-8", "replace").decode()
    match = ROUTER.match("GET", f"/a/things/{quote(text, safe='')}")
    assert match.params == {"id": text}


def test_every_table_loads_and_routes_to_itself() -> None:
    loaded = operations.load()
    assert {operation.service for operation in loaded} >= {"catalog", "sandbox", "ims", "query_service", "segmentation"}
    router = Router(loaded)
    for one in loaded:
        path = one.path.replace("...}", "}").replace("{", "").replace("}", "")
        match = router.match(one.method, path)
        assert match.operation is not None
        assert match.operation.method == one.method


BAD_TABLES = [
    ('[[operation]]\nid = "a"\nmethod = "GET"\npath = "x"\n', "must start with a slash"),
    ('[[operation]]\nid = "a"\nmethod = "GRAB"\npath = "/x"\n', "GRAB"),
    ('[[operation]]\nmethod = "GET"\npath = "/x"\n', "id must not be empty"),
    ('[[operation]]\nid = "a"\nmethod = "GET"\npath = "/x"\nextra = 1\n', "unknown members"),
    ('[[operation]]\nid = "a"\nmethod = "GET"\npath = "/x"\n[[operation]]\nid = "a"\nmethod = "GET"\npath = "/y"\n', "twice"),
]


@pytest.mark.parametrize(("text", "reason"), BAD_TABLES)
def test_a_bad_table_is_refused_with_its_reason(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse("things", text)
