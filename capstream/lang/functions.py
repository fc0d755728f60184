"""The function table. One table feeds the checker, the emitter, the listing endpoints, the reference and the example tests.

Source: data-prep.md 5.2; descriptions are in own words.
"""

from collections.abc import Callable
from types import MappingProxyType

from capstream.kernel.json import Json
from capstream.lang import date_functions as dates
from capstream.lang import hierarchy_functions as trees
from capstream.lang import text_functions as texts
from capstream.lang import web_functions as web
from capstream.lang.signatures import Function, Needs, Type, params_of
from capstream.lang.values import is_empty

STRING, REGEX, HASHING, URL = "String", "Regular expression", "Hashing", "URL"
DATE, OBJECTS, ARRAYS, MAP = "Date / Time", "Hierarchies - Objects", "Hierarchies - Arrays", "Hierarchies - Map"
LOGICAL, AGGREGATION, CONVERSION, JSON = "Logical", "Aggregation", "Type conversions", "JSON"
SPECIAL, AGENT, ANALYTICS, DESTINATIONS = "Special", "User agent", "Analytics", "Destinations"

_AGENT_TEXT = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 5_1_1 like Mac OS X) AppleWebKit/534.46 (KHTML, like Gecko) Version/5.1 Mobile/9B206"
    " Safari/7534.48.3"
)
_PRODUCTS = ";Example product 1;1;4.20;event1=2.3|event2=5:1;eVar1=a,;Example product 2;1;4.20;event1=3|event2=2:2;eVar1=b"


def _none() -> None:
    return None


def _text(name: str, params: str, call: Callable[..., Json], description: str, example: str) -> Function:
    return _row(STRING, name, params, Type.TEXT, call, description, example)


# One parameter for each column of the table: splitting them would only hide that this is a row.
def _row(
    category: str,
    name: str,
    params: str,
    returns: Type,
    call: Callable[..., Json],
    description: str,
    example: str,
    *,
    null_first: bool = True,
    needs: Needs = Needs.NOTHING,
    result: str | None = None,
    costly: bool = False,
) -> Function:
    return Function(
        name=name,
        category=category,
        params=params_of(params),
        returns=returns,
        call=call,
        null_first=null_first,
        description=description,
        example=example,
        result=result,
        needs=needs,
        costly=costly,
    )


def _strings() -> list[Function]:
    return [
        _row(STRING, "concat", "values:any...", Type.TEXT, texts.concat, "Joins texts; numbers, booleans and dates as text.",
             'concat("Hi, ", "there", "!")', null_first=False),
        _row(STRING, "explode", "s:text regex:text?", Type.ARRAY, texts.explode,
             "Splits a text by a regular expression and keeps empty parts.", 'explode("Hi, there!", " ")', costly=True),
        _row(STRING, "instr", "s:text part:text start:int? nth:int?", Type.INT, texts.instr,
             "Finds the position of a text inside another, -1 if it is not there.", 'instr("adobe.com", "com")'),
        _text("replacestr", "s:text find:text~ replacement:text~", texts.replacestr, "Replaces every occurrence of a text.",
              'replacestr("This is a string re test", "re", "replace")'),
        _text("substr", "s:text start:int length:int", texts.substr, "Cuts a number of characters out of a text.",
              'substr("This is a substring test", 7, 8)'),
        *(_text(name, "s:text", str.lower, "Turns a text to lower case.", f'{name}("HeLLo")') for name in ("lower", "lcase")),
        *(_text(name, "s:text", str.upper, "Turns a text to upper case.", f'{name}("HeLLo")') for name in ("upper", "ucase")),
        _row(STRING, "split", "s:text chars:text~", Type.ARRAY, texts.split,
             "Splits a text at any of the given characters and drops empty parts.", 'split("Hello world", " ")'),
        _row(STRING, "join", "separator:text values:any...", Type.TEXT, texts.join,
             "Joins the elements of a list with a separator.", 'join(" ", to_array(true, "Hello", "world"))'),
        _row(STRING, "lpad", "s:text length:int pad:text~", Type.TEXT, texts.lpad, "Fills a text on the left up to a length.",
             'lpad("bat", 8, "yz")', costly=True),
        _row(STRING, "rpad", "s:text length:int pad:text~", Type.TEXT, texts.rpad, "Fills a text on the right up to a length.",
             'rpad("bat", 8, "yz")', costly=True),
        _text("left", "s:text count:int", texts.left, "Takes the first characters of a text.", 'left("abcde", 2)'),
        _text("right", "s:text count:int", texts.right, "Takes the last characters of a text.", 'right("abcde", 2)'),
        _text("ltrim", "s:text", str.lstrip, "Removes white space at the start.", 'ltrim(" hello")'),
        _text("rtrim", "s:text", str.rstrip, "Removes white space at the end.", 'rtrim("hello ")'),
        _text("trim", "s:text", str.strip, "Removes white space at both ends.", 'trim(" hello ")'),
    ]  # fmt: skip


def _regex_hash_url() -> list[Function]:
    return [
        _row(REGEX, "extract_regex", "s:text regex:text", Type.ARRAY, texts.extract_regex,
             "Finds the first match and gives it with its groups.",
             'extract_regex("E259,E259B_009,1_1", "([^,]+),[^,]*,([^,]+)")', costly=True),
        _row(REGEX, "matches_regex", "s:text~ regex:text~", Type.BOOL, texts.matches_regex,
             "Tells whether the whole text matches.", 'matches_regex("E259,E259B_009,1_1", "([^,]+),[^,]*,([^,]+)")',
             null_first=False, costly=True),
        *(_row(HASHING, name, "s:text charset:text?", Type.TEXT, texts.hashing(name), f"Hashes a text with {name.upper()}.",
               f'{name}("my text", "UTF-8")') for name in ("sha1", "sha256", "sha512", "md5")),
        _row(HASHING, "crc32", "s:text charset:text?", Type.TEXT, texts.crc32, "Gives the CRC-32 of a text, bytes reversed.",
             'crc32("my text", "UTF-8")'),
        _row(URL, "get_url_protocol", "url:text", Type.TEXT, texts.get_url_protocol, "Gives the scheme of a URL.",
             'get_url_protocol("https://platform.adobe.com/home")'),
        _row(URL, "get_url_host", "url:text", Type.TEXT, texts.get_url_host, "Gives the host of a URL.",
             'get_url_host("https://platform.adobe.com/home")'),
        _row(URL, "get_url_port", "url:text", Type.INT, texts.get_url_port, "Gives the port of a URL.",
             'get_url_port("sftp://example.com//home/store01/export.csv")'),
        _row(URL, "get_url_path", "url:text full:bool?", Type.TEXT, texts.get_url_path, "Gives the path of a URL.",
             'get_url_path("sftp://example.com//home/store01/export.csv", false)'),
        _row(URL, "get_url_query_str", "url:text mode:text", Type.MAP, texts.get_url_query_str,
             "Gives the query parameters; the mode retain, remove or append says what becomes of the anchor.",
             'get_url_query_str("foo://example.com:8042/over/there?name=ferret#nose", "remove")'),
        _row(URL, "get_url_encoded", "s:text", Type.TEXT, texts.get_url_encoded, "Percent-encodes a text.",
             'get_url_encoded("https://example.com/a b")'),
        _row(URL, "get_url_decoded", "s:text", Type.TEXT, texts.get_url_decoded, "Decodes percent escapes.",
             'get_url_decoded("https%3A%2F%2Fexample.com%2Fa")'),
    ]  # fmt: skip


def _dates() -> list[Function]:
    parts = "year:int~ month:int~ day:int~ hour:int~ minute:int~ second:int~ nanoseconds:int~ zone:text~"
    return [
        _row(DATE, "now", "", Type.DATE, dates.now, "Gives the current time.", "now()", null_first=False, needs=Needs.NOW,
             result="2021-10-26T10:10:24Z"),
        _row(DATE, "timestamp", "", Type.LONG, int, "Gives the current time in epoch milliseconds.", "timestamp()",
             null_first=False, needs=Needs.NOW, result="1571850624571"),
        _row(DATE, "format", "date:date pattern:text", Type.TEXT, dates.format_date, "Writes a date by a pattern.",
             'format(date("2019-10-23T11:24:35+00:00"), "yyyy-MM-dd HH:mm:ss")'),
        _row(DATE, "dformat", "millis:int pattern:text", Type.TEXT, dates.dformat, "Writes epoch milliseconds by a pattern.",
             'dformat(1571829875000, "yyyy-MM-dd\'T\'HH:mm:ss.SSSX")'),
        _row(DATE, "date", "value:any pattern:text?~ default:date?~", Type.DATE, dates.date, "Reads a date.",
             'date("2019-10-23 11:24", "yyyy-MM-dd HH:mm")', null_first=False),
        _row(DATE, "date_part", "part:text~ date:date~", Type.INT, dates.date_part, "Gives one part of a date.",
             'date_part("MM", date("2019-10-17 11:55:12"))', null_first=False),
        _row(DATE, "set_date_part", "part:text~ value:int~ date:date~", Type.DATE, dates.set_date_part,
             "Changes one part of a date.", 'set_date_part("m", 4, date("2016-11-09T11:44:44.797"))', null_first=False),
        *(_row(DATE, name, parts, Type.DATE, dates.make_date_time, "Makes a date of its parts.",
               f'{name}(2019, 10, 17, 11, 55, 12, 999, "America/Los_Angeles")', null_first=False)
          for name in ("make_date_time", "make_timestamp")),
        _row(DATE, "zone_date_to_utc", "date:date", Type.DATE, dates.zone_date_to_utc, "Converts a date to UTC.",
             'zone_date_to_utc("2019-10-17T11:55:12 PST")'),
        _row(DATE, "zone_date_to_zone", "date:date zone:text", Type.DATE, dates.zone_date_to_zone, "Converts a date to a zone.",
             'zone_date_to_zone(date("2021-10-26T13:43:59Z"), "Europe/Paris")'),
    ]  # fmt: skip


def _objects() -> list[Function]:
    return [
        _row(OBJECTS, "is_empty", "value:any", Type.BOOL, is_empty, "Tells whether a value is empty.",
             "is_empty([1, null, 2, 3])", null_first=False),
        *(_row(OBJECTS, name, "key:any array:any more:any?...", Type.ARRAY, trees.arrays_to_objects,
               "Builds objects from arrays, position by position.",
               f"{name}('sku', explode('id1|id2', '\\|'), 'price', [22.5, 14.35])", null_first=False)
          for name in ("arrays_to_object", "arrays_to_objects")),
        _row(OBJECTS, "to_object", "key:any value:any more:any?...", Type.MAP, trees.to_object, "Builds an object from pairs.",
             'to_object("firstName", "North", "lastName", "Star")', null_first=False),
        _row(OBJECTS, "str_to_object", "s:text value_delimiter:text?~ field_delimiter:text?~", Type.MAP, trees.str_to_object,
             "Builds an object from a delimited text.", 'str_to_object("firstName=North,lastName=Star", "=", ",")'),
        *(_row(OBJECTS, name, "path:any", Type.BOOL, trees.contains_path, "Tells whether a path exists in the record.",
               f'{name}("evars.evar.field1")', null_first=False, needs=Needs.RECORD)
          for name in ("contains_key", "is_set")),
        _row(OBJECTS, "nullify", "", Type.ANY, _none, "Gives null: the attribute is not copied.", "nullify()", null_first=False),
        _row(OBJECTS, "get_keys", "object:map", Type.ARRAY, trees.get_keys, "Lists the keys of an object.",
             'get_keys({"book1": "Pride and Prejudice", "book2": "1984"})'),
        _row(OBJECTS, "get_values", "s:text key:text value_delimiter:text~ field_delimiter:text?~", Type.TEXT, trees.get_values,
             "Gives the value of one key of a delimited text.",
             'get_values("firstName - North , phone - 555 420 8692", "firstName", "-", ",")'),
        _row(OBJECTS, "map_get_values", "map:map keys:any", Type.MAP, trees.map_get_values, "Takes some entries of a map.",
             'map_get_values({"author": "author-01", "price": 17.99}, "author")'),
        _row(OBJECTS, "map_has_keys", "map:map~ keys:any", Type.BOOL, trees.map_has_keys, "Tells whether a map has a key.",
             'map_has_keys({"author": "author-01", "price": 17.99}, "author")', null_first=False),
        _row(OBJECTS, "add_to_map", "maps:map~...", Type.MAP, trees.add_to_map, "Joins maps; the first value of a key wins.",
             'add_to_map({"author": "author-01"}, {"price": 17.99})', null_first=False),
        _row(OBJECTS, "object_to_map", "value:any more:any?...", Type.MAP, trees.object_to_map,
             "Makes a map from pairs, an object, or an array and its key attribute; the first of equal keys stays.",
             'object_to_map("firstName", "North", "lastName", "Star")', null_first=False),
    ]  # fmt: skip


def _arrays() -> list[Function]:
    return [
        _row(ARRAYS, "coalesce", "values:any...", Type.ANY, trees.coalesce, "Gives the first value that is not null.",
             'coalesce(null, null, null, "first", null, "second")', null_first=False),
        _row(ARRAYS, "first", "values:any...", Type.ANY, trees.first, "Gives the first value.", 'first("1", "2", "3")',
             null_first=False),
        _row(ARRAYS, "last", "values:any...", Type.ANY, trees.last, "Gives the last value.", 'last("1", "2", "3")',
             null_first=False),
        _row(ARRAYS, "add_to_array", "array:array~ values:any?...", Type.ARRAY, trees.add_to_array, "Appends values to an array.",
             "add_to_array(['a', 'b'], 'c', 'd')", null_first=False),
        _row(ARRAYS, "join_arrays", "arrays:array~...", Type.ARRAY, trees.join_arrays, "Puts arrays one after the other.",
             "join_arrays(['a', 'b'], ['c'], ['d', 'e'])", null_first=False),
        _row(ARRAYS, "to_array", "include_nulls:any values:any?...", Type.ARRAY, trees.to_array, "Makes an array of values.",
             "to_array(false, 1, null, 2, 3)", null_first=False),
        _row(ARRAYS, "size_of", "value:any", Type.INT, trees.size_of, "Counts elements, keys or characters.",
             "size_of([1, 2, 3, 4])", null_first=False),
        _row(ARRAYS, "upsert_array_append", "array:any", Type.ARRAY, trees.upsert_array,
             "Appends the array to the stored one when the record is an update.", "upsert_array_append([123, 456])"),
        _row(ARRAYS, "upsert_array_replace", "array:any index:any?", Type.ARRAY, trees.upsert_array,
             "Replaces the stored array when the record is an update.", "upsert_array_replace([123, 456], 1)"),
        _row(MAP, "array_to_map", "array:array key:text", Type.MAP, trees.array_to_map,
             "Keys the elements of an array by an attribute.", 'array_to_map([{"sku": "a"}, {"sku": "b"}], "sku")'),
        _row(MAP, "to_map", "key:any value:any?...", Type.MAP, trees.to_map,
             "Makes a map from pairs; the first of equal keys stays.",
             'to_map("firstName", "North", "lastName", "Star")', null_first=False),
        _row(LOGICAL, "decode", "key:any k1:any v1:any more:any?...", Type.ANY, trees.decode,
             "Gives the value that belongs to a key, or the default.",
             'decode("ca", "ca", "California", "pa", "Pennsylvania", "N/A")', null_first=False),
        _row(LOGICAL, "iif", "condition:any if_true:any if_false:any", Type.ANY, _none,
             "Gives the second or the third argument; only that one is evaluated.",
             'iif("s".equalsIgnoreCase("S"), "True", "False")', null_first=False),
        _row(AGGREGATION, "min", "values:any...", Type.ANY, trees.minimum, "Gives the smallest value.", "min(3, 1, 4)",
             null_first=False),
        _row(AGGREGATION, "max", "values:any...", Type.ANY, trees.maximum, "Gives the largest value.", "max(3, 1, 4)",
             null_first=False),
    ]  # fmt: skip


def _conversions() -> list[Function]:
    return [
        _row(CONVERSION, "to_bigint", "value:any", Type.DECIMAL, trees.to_bigint, "Reads a number of any size.",
             'to_bigint("1000000.34")'),
        _row(CONVERSION, "to_decimal", "value:any", Type.NUMBER, trees.to_decimal, "Reads a double.", 'to_decimal("20.5")'),
        _row(CONVERSION, "to_float", "value:any", Type.FLOAT, trees.to_float, "Reads a number in single precision.",
             'to_float("12.3456")'),
        _row(CONVERSION, "to_integer", "value:any", Type.INT, trees.to_integer, "Reads an integer.", 'to_integer("12")'),
        _row(JSON, "json_to_object", "value:any", Type.ANY, trees.json_to_object, "Parses JSON.",
             'json_to_object("{\\"info\\":{\\"level\\":\\"gold\\"}}")'),
        *(_row(SPECIAL, name, "", Type.TEXT, _none, "Makes a random UUID.", f"{name}()", null_first=False, needs=Needs.UUID,
               result="7c0267d2-bb74-4e1a-9275-3bf4fccda5f4") for name in ("uuid", "guid")),
        _row(SPECIAL, "fpid_to_ecid", "fpid:text", Type.TEXT, web.fpid_to_ecid, "Gives the ECID of a first-party device id.",
             'fpid_to_ecid("4ed70bee-b654-420a-a3fd-b58b6b65e991")'),
    ]  # fmt: skip


def _agents() -> list[Function]:
    rows: list[tuple[str, Callable[[str], str], str]] = [
        ("ua_os_name", web.ua_os_name, "Gives the operating system"),
        ("ua_os_version", web.ua_os_version, "Gives the version of the operating system"),
        ("ua_os_version_major", web.ua_os_version_major, "Gives the operating system with its major version"),
        ("ua_os_name_version", web.ua_os_name_version, "Gives the operating system with its version"),
        ("ua_agent_name", web.ua_agent_name, "Gives the browser"),
        ("ua_agent_version", web.ua_agent_version, "Gives the version of the browser"),
        ("ua_agent_version_major", web.ua_agent_version_major, "Gives the browser with its major version"),
        ("ua_device_class", web.ua_device_class, "Gives the class of the device"),
    ]
    return [
        _row(AGENT, name, "user_agent:text", Type.TEXT, call, f"{does} of a user-agent text.", f'{name}("{_AGENT_TEXT}")')
        for name, call, does in rows
    ]


def _analytics() -> list[Function]:
    products: list[tuple[str, Callable[[str], list[str | None]], str]] = [
        ("aa_get_product_categories", web.aa_get_product_categories, "category"),
        ("aa_get_product_names", web.aa_get_product_names, "name"),
        ("aa_get_product_quantities", web.aa_get_product_quantities, "quantity"),
        ("aa_get_product_prices", web.aa_get_product_prices, "price"),
    ]
    return [
        _row(ANALYTICS, "aa_get_event_id", "events:text event:text", Type.TEXT, web.aa_get_event_id, "Gives the id of an event.",
             'aa_get_event_id("event101=5:123456,scOpen", "event101")'),
        _row(ANALYTICS, "aa_get_event_value", "events:text event:text", Type.TEXT, web.aa_get_event_value,
             "Gives the value of an event.", 'aa_get_event_value("event101=5:123456,scOpen", "event101")'),
        *(_row(ANALYTICS, name, "products:text", Type.ARRAY, call, f"Gives the {part} of every product.",
               f'{name}("{_PRODUCTS}")') for name, call, part in products),
        _row(ANALYTICS, "aa_get_product_event_values", "products:text event:text", Type.ARRAY, web.aa_get_product_event_values,
             "Gives the value of one event of every product.", f'aa_get_product_event_values("{_PRODUCTS}", "event1")'),
        _row(ANALYTICS, "aa_get_product_evars", "products:text evar:text", Type.ARRAY, web.aa_get_product_evars,
             "Gives the value of one eVar of every product.", f'aa_get_product_evars("{_PRODUCTS}", "eVar1")'),
        _row(DESTINATIONS, "array_to_string", "separator:text array:array~", Type.TEXT, texts.array_to_string,
             "Joins the elements of an array with a separator.", 'array_to_string(", ", ["a", "b"])', null_first=False),
        _row(DESTINATIONS, "filterArray", "array:array keep:lambda", Type.ARRAY, trees.filter_array,
             "Keeps the elements for which the lambda holds.", "filterArray([5, -6, 0, 7], x -> x > 0)",
             needs=Needs.BUDGET, costly=True),
        _row(DESTINATIONS, "transformArray", "array:array change:lambda", Type.ARRAY, trees.transform_array,
             "Changes every element by the lambda.", "transformArray([5, 6, 7], x -> x + 1)", needs=Needs.BUDGET, costly=True),
        _row(DESTINATIONS, "flattenArray", "array:array", Type.ARRAY, trees.flatten_array, "Flattens nested arrays.",
             'flattenArray([[["a", "b"], ["c"]], [["d"]]])'),
    ]  # fmt: skip


FUNCTIONS = MappingProxyType(
    {
        function.name: function
        for rows in (
            _strings(), _regex_hash_url(), _dates(), _objects(), _arrays(), _conversions(), _agents(), _analytics()
        )
        for function in rows
    }
)  # fmt: skip
"""Every callable name. Aliases are rows of their own."""
