"""How much processor time hostile expressions take: compile, run, settle. Each must end within 100 ms.

Prints the slowest, in milliseconds of CPU time, and the growth of the process.
"""

import gc
import resource
import time
from typing import Any

from capstream.kernel.ids import new_uuid
from capstream.lang.expression import FAILURES, CheckError, compile_expression
from capstream.lang.hierarchy_functions import Budget
from capstream.lang.values import settled

LIMIT_MS = 100.0
_LONG = "a" * 900_000
RECORD: dict[str, Any] = {
    "s": _LONG,
    "l": list(range(100_000)),
    "o": [{"v": at} for at in range(50_000)],
    "m": {f"k{at}": at for at in range(60_000)},
    "csv": "a," * 450_000,
    "pct": "%41" * 300_000,
    "q": "http://a/?" + "a=1&" * 220_000,
    "digits": "1" * 190 + "x",
    "big": "9" * 3900,
}
EXPRESSIONS = (
    "1" + "+1" * 50_000, "(" * 1000 + "1" + ")" * 1000, "[" * 4000, "!" * 4000 + "1", "a?" * 1000 + "1" + ":1" * 1000,
    "a" + "[0]" * 1300, "[" + ",".join(f"lowre{at}(1)" for at in range(350)) + "]", "'" + "\\" * 4000 + "'", "/*" * 2000,
    "matches_regex(s, '(a+)+b')", "s =~ '(a*)*b'", "s.replaceAll('(a+)+b', 'x')", "explode(s, '')", "s.replaceAll('a', 'bb')",
    "matches_regex('x', '((a{100}){100}){100}')", "extract_regex(s, '(a+)(a+)(a+)b')", "replacestr(s, 'a', 'bbbb')",
    "1..999999999", "lpad('a', 999999999, 'x')", "split(csv, ',')", "get_url_decoded(pct)", "get_url_query_str(q, 'append')",
    "date(digits, '" + "yM" * 90 + "')", "to_bigint(big) * to_bigint(big)", "ua_os_name(s)", "json_to_object(s)", "[o, o, o]",
    "arrays_to_objects(" + ",".join(f"'a{at}', l" for at in range(300)) + ")", "join_arrays(" + ",".join(["l"] * 1000) + ")",
    "add_to_map(" + ",".join(["m"] * 1000) + ")", "transformArray(l, x -> transformArray(l, y -> 1))", "max(l)", "o == o",
    "transformArray(o, x -> date('2020-01-01'))", "transformArray(o, x -> ua_device_class(concat('x', x.v)))",
    "transformArray(o, x -> concat(x.v, 'aaaa') =~ concat('(a+)+b', x.v))", "transformArray(o, x -> s + x.v)",
)  # fmt: skip


def cost(expression: str) -> tuple[float, str]:
    """Return the CPU time in milliseconds, and what became of the expression."""
    start = time.process_time()
    try:
        value = settled(compile_expression(expression).run(RECORD, 0, Budget(), new_uuid))
        outcome = f"a {type(value).__name__}"
    except (CheckError, *FAILURES) as error:
        outcome = f"refused: {error}"
    return (time.process_time() - start) * 1000, outcome


def main() -> None:
    """Print the slowest expressions."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)  # as every process does
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = sorted(((*cost(expression), expression) for expression in EXPRESSIONS), reverse=True)
    for millis, outcome, expression in found[:12]:
        print(f"{millis:8.1f} ms{'  OVER' if millis > LIMIT_MS else ''}  {expression[:50]:50s} {outcome[:70]}")
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(f"{len(found)} expressions, slowest {found[0][0]:.1f} ms, the process grew by {grown:.0f} MiB")


if __name__ == "__main__":
    main()
