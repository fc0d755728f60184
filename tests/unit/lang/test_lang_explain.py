"""An expression laid open: tree, types, reads, code, and where it is wrong."""

from capstream.lang.check import diagnose
from capstream.lang.explain import explain, pointed


def test_tree_types_and_reads() -> None:
    found = explain("concat(lower(a.b[0]), items[*].sku) == 'x' ? [1] : {'k': now()}")
    assert found.diagnostics == ()
    assert found.tree == (
        "operator ? : any",
        "  operator == : bool",
        "    call concat : text",
        "      call lower : text",
        "        path a.b[0] : any",
        "      path items[*].sku : any",
        '    constant "x" : text',
        "  array : array",
        "    constant 1 : long",
        "  map : map",
        '    constant "k" : text',
        "    call now : date",
    )
    assert found.reads == ("a.b[0]", "items[*].sku")


def test_the_code_and_what_its_names_stand_for() -> None:
    found = explain("upper(a) + 1")
    names = dict(found.names)
    assert set(names.values()) >= {"function upper", "function add", '"a"', "1", "the source record"}
    assert all(name in found.code for name in names)
    assert len(set(names.values())) == len(names)  # nothing is told twice
    assert explain("1 + 2").code == "k1"
    assert dict(explain("1 + 2").names) == {"k1": "3"}


def test_what_is_wrong_is_pointed_at() -> None:
    source = "concat(a,\n  lowr(b))"
    (finding,) = explain(source).diagnostics
    assert pointed(source, finding).splitlines() == [
        "Unknown function lowr at 2:3 (unknown-function)",
        "      lowr(b))",
        "      ^^^^^^^",
        "  hint: did you mean lower?",
    ]


def test_an_expression_that_does_not_parse_has_no_tree() -> None:
    found = explain("a +")
    assert (found.tree, found.code, found.type) == ((), "", "")
    assert pointed("a +", found.diagnostics[0]).splitlines()[-1] == "       ^"


def test_a_place_far_to_the_right_of_a_long_line_is_shown() -> None:
    source = "concat(" + "a, " * 200 + "lowr(b))"
    (finding,) = diagnose(source)
    message, line, carets, hint = pointed(source, finding).splitlines()
    assert len(line) < 130
    assert line[carets.index("^") :].startswith("lowr(b)")
    assert "1:608" in message
    assert hint.endswith("lower?")


def test_the_form_for_tools() -> None:
    told = explain("nosuch(a)").to_json()
    assert told["valid"] is False
    assert told["diagnostics"] == [
        {"code": "unknown-function", "message": "Unknown function nosuch", "line": 1, "column": 1, "hint": None}
    ]
    assert explain("a").to_json()["valid"] is True
