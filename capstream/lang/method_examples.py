"""One example of each method on values, for the reference. Each is run when the page is made, and by a test."""

from collections.abc import Mapping
from types import MappingProxyType

METHOD_EXAMPLES: Mapping[str, str] = MappingProxyType(
    {
        "equals": '"a".equals("A")',
        "equalsIgnoreCase": '"a".equalsIgnoreCase("A")',
        "contains": '"abc".contains("b")',
        "startsWith": '"abc".startsWith("a")',
        "endsWith": '"abc".endsWith("a")',
        "length": '"abc".length()',
        "isEmpty": '"".isEmpty()',
        "toLowerCase": '"ABC".toLowerCase()',
        "toUpperCase": '"abc".toUpperCase()',
        "trim": '" abc ".trim()',
        "indexOf": '"abcb".indexOf("b")',
        "lastIndexOf": '"abcb".lastIndexOf("b")',
        "substring": '"abcdef".substring(1, 3)',
        "replace": '"a.b.c".replace(".", "-")',
        "replaceAll": '"a1b22".replaceAll("[0-9]+", "#")',
        "replaceFirst": '"a1b22".replaceFirst("[0-9]+", "#")',
        "matches": '"abc".matches("[a-c]+")',
        "concat": '"ab".concat("c")',
        "charAt": '"abc".charAt(1)',
        "split": '"a,b".split(",")',
        "toString": "(12).toString()",
        "size": "[1, 2, 3].size()",
        "get": '{"a": 1}.get("a")',
        "containsKey": '{"a": 1}.containsKey("b")',
        "keySet": '{"a": 1, "b": 2}.keySet()',
        "values": '{"a": 1, "b": 2}.values()',
    }
)
"""By method name."""
