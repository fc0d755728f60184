"""Writes the code of one row: read or compute a value, convert it, store it, note what fails. Names are those of `emitter`."""

from collections.abc import Callable
from dataclasses import dataclass, field

from capstream.aep.data_prep.conversion import Conversions, Failures, concrete, convert, integer_range
from capstream.aep.data_prep.reads import Code, Read
from capstream.aep.data_prep.rowplan import RowPlan
from capstream.aep.data_prep.shape import Leaf, is_simple
from capstream.kernel.json import Json
from capstream.lang.check import static_type
from capstream.lang.dates import RFC3339
from capstream.lang.emit import Emitter, from_record, is_long
from capstream.lang.expression import FAILURES
from capstream.lang.nodes import Literal, Name, Path
from capstream.lang.paths import first_star, flat_key, path_text, read, run_steps
from capstream.lang.signatures import Needs, Type
from capstream.lang.values import settled

Store = Callable[[str], str]
"""Returns the statement that stores the value of some source."""

_SETTLED = frozenset({Type.TEXT, Type.BOOL, Type.INT, Type.LONG})
"""Results that are JSON scalars of a bounded size already: text functions watch their own size, conversion the range."""


_KNOWN: dict[Type | None, str] = {Type.TEXT: "string", Type.BOOL: "boolean"}
"""Results whose every value, null apart, has the type of a kind of field."""


@dataclass(slots=True)
class Scope:
    """Where a row's paths are read: the record, or one element of the array a loop goes over."""

    reads: Read
    element: str = ""
    source: tuple[Name, ...] = ()
    bails: bool = False  #: the place of a failing attribute is not known here: leave it to the general engine


@dataclass(slots=True)
class RowWriter:
    code: Code
    conversions: Conversions
    top: Read = field(default_factory=Read)
    needs: set[Needs] = field(default_factory=set)
    copies: bool = False
    fail: str = ""
    kept: dict[int, str] = field(default_factory=dict)  #: variables for the values of expressions, by row of the shape
    computed_rows: set[int] = field(default_factory=set)  #: the rows whose variable is set where the code is being written

    # ---- values -------------------------------------------------------------------------------------------------------

    def conversion(self, plan: RowPlan, value: str, scope: Scope, *, computed: bool) -> str:
        """Return the source of a value, not null, converted; values that have the type already cost one test."""
        env = self.code.env
        target = plan.target.field
        converter = self.conversions.of(target)
        if converter.composite is not None:
            self.copies = True
            place = env.constant(concrete(_place(plan)))
            call = f"{env.bind('f', converter.composite)}({value}, q, {place})"
            return call if target is not None else f"{value} if {self.code.is_class(value, str)} else {call}"
        call = f"{env.bind('f', converter.scalar)}({value})"
        test = self.has_type(plan, value, computed=computed)
        if test == f"{value} is not None":
            return value
        return call if test is None else f"{value} if {test} else {call}"

    def has_type(self, plan: RowPlan, value: str, *, computed: bool) -> str | None:
        """Return the test for a value that needs no conversion to the type of its field; None where one test cannot tell."""
        code, target = self.code, plan.target.field
        target_kind = target.kind if target is not None else ""
        if computed and plan.node is not None and _KNOWN.get(static_type(plan.node)) == target_kind:
            return f"{value} is not None"
        match target_kind:
            case "string":
                return code.is_class(value, str)
            case "number":
                return (
                    code.is_class(value, float) if computed else f"({code.is_class(value, float)} or {code.is_class(value, int)})"
                )
            case "boolean":
                return f"({value} is True or {value} is False)"
            case "date-time":
                shape = code.env.bind("f", RFC3339.fullmatch)
                return f"{code.is_class(value, str)} and {shape}({value}) is not None"
            case "" | "date" | "array" | "object" | "map":
                return None
            case _:
                low, high = (code.env.constant(bound) for bound in integer_range(target))  # type: ignore[arg-type]
                return f"{code.is_class(value, int)} and {low} <= {value} <= {high}"

    def expression(self, plan: RowPlan, scope: Scope) -> str:
        """Return the source of an expression's value."""

        def source(path: Path, emitter: Emitter) -> str:
            star = first_star(path.steps)
            if star is not None and scope.element and plan.per_element:
                rest = Path(None, path.steps[star + 1 :], path.span)
                if rest.steps and is_simple(rest):
                    node = scope.reads.declare(emitter.env, rest.steps)  # type: ignore[arg-type]
                    node.converted = True
                    return node.variable
                scope.reads.wanted = True
                if not rest.steps:
                    return scope.element
                return f"{emitter.env.bind('f', read)}({scope.element}, {emitter.env.bind('k', run_steps(rest.steps))})"
            if is_simple(path) and isinstance(path.steps[0], Name):
                node = self.top.reach(emitter.env, path.steps, flat_key(path.steps))  # type: ignore[arg-type]
                node.converted = True
                node.counted, node.wanted = node.counted or emitter.counting, node.wanted or not emitter.counting
                return node.variable
            return from_record(path, emitter)

        assert plan.node is not None  # noqa: S101 - expression rows have one
        binds_star = bool(scope.element) and plan.per_element
        emitter = Emitter(self.code.env, source, binds_star=binds_star, metered=is_long(plan.node))
        text = emitter.source(plan.node)
        self.needs |= emitter.needs
        return text if static_type(plan.node) in _SETTLED else f"{self.code.env.bind('f', settled)}({text})"

    def constant(self, plan: RowPlan) -> tuple[bool, Json]:
        """Return (is constant, the constant) of a row."""
        if plan.path is None and plan.node is None:
            return True, plan.row.source
        if isinstance(plan.node, Literal):
            return True, settled(plan.node.value)
        return False, None

    # ---- one row ------------------------------------------------------------------------------------------------------

    def leaf(self, leaf: Leaf, store: Store, scope: Scope, *, remove: str = "") -> None:
        """Append a row that writes by `store`; `remove` is the statement that takes a copied value away."""
        plan, code = leaf.plan, self.code
        remove = "" if plan.shares else remove
        if plan.broken:
            code.add(f"{self.fail}(m, {self.number(plan)}, {code.env.bind('k', plan.broken)}, None)")
            if remove:
                code.add(remove)
            return
        is_constant, value = self.constant(plan)
        if is_constant:
            self.static(plan, value, store, remove)
            return
        if leaf.path is not None:
            node = scope.reads.declare(code.env, leaf.path, None if scope.element else flat_key(plan.path or ()))
            if remove:
                node.null_flag = node.null_flag or code.env.fresh("z")
            self.note_use(node, plan)
            self.reading(node, plan, store, scope, remove)
            return
        if id(leaf) in self.computed_rows:
            self.converting(plan, self.kept[id(leaf)], store, scope)
        else:
            self.computing(plan, store, scope, remove)

    def compute(self, leaf: Leaf, scope: Scope) -> None:
        """Append the computing of a row's value; None where it fails."""
        code, plan, kept = self.code, leaf.plan, self.kept[id(leaf)]

        def caught() -> None:
            code.add(f"{self.fail}(m, {self.number(plan)}, x, None)")
            code.add(f"{kept} = None")

        code.block("try:", lambda: code.add(f"{kept} = {self.expression(plan, scope)}"))
        code.block(f"except {code.env.bind('c', FAILURES)} as x:", caught)
        self.computed_rows.add(id(leaf))

    def converting(self, plan: RowPlan, value: str, store: Store, scope: Scope) -> None:
        """Append the storing of a value that is known, if it is not null."""
        converted = self.conversion(plan, value, scope, computed=True)
        self.code.block(f"if {value} is not None:", lambda: self.guarded(plan, store(converted), scope, ""))

    def note_use(self, node: Read, plan: RowPlan) -> None:
        """Note how a row uses the value it reads."""
        target = plan.target.field
        if target is not None and self.conversions.of(target).composite is not None:
            node.copies[plan.at] = target
        else:
            node.converted = True

    def reading(self, node: Read, plan: RowPlan, store: Store, scope: Scope, remove: str) -> None:
        code = self.code
        if code.typed and node.exact:
            code.block(f"if {node.variable} is not None:", lambda: code.add(store(node.variable)))
            return
        converted = self.conversion(plan, node.variable, scope, computed=False)
        code.block(f"if {node.variable} is not None:", lambda: self.guarded(plan, store(converted), scope, remove))
        if remove:
            code.block(f"elif {node.null_flag}:", lambda: code.add(remove))

    def computing(self, plan: RowPlan, store: Store, scope: Scope, remove: str) -> None:
        code = self.code
        kept = code.env.fresh("t")
        converted = self.conversion(plan, kept, scope, computed=True)

        def body() -> None:
            code.add(f"{kept} = {self.expression(plan, scope)}")
            code.block(f"if {kept} is not None:", lambda: self.stored(plan, store(converted), scope))
            if remove:
                code.block("else:", lambda: code.add(remove))

        self.guard(plan, body, remove)

    def stored(self, plan: RowPlan, statement: str, scope: Scope) -> None:
        """Append the statement that stores, and the report of attributes that failed inside it."""
        self.code.add(statement)
        if self.conversions.of(plan.target.field).composite is not None:
            if scope.bails:
                self.code.block("if q:", self.code.bail)
            else:
                self.code.block("if q:", lambda: self.code.add(f"{self.fail}(m, {self.number(plan)}, None, q)"))

    def guarded(self, plan: RowPlan, statement: str, scope: Scope, remove: str) -> None:
        """Append a statement that stores, guarded."""
        self.guard(plan, lambda: self.stored(plan, statement, scope), remove)

    def guard(self, plan: RowPlan, body: Callable[[], None], remove: str) -> None:
        """Append a block whose failure is an error of one row."""
        code = self.code

        def caught() -> None:
            queue = "q" if self.conversions.of(plan.target.field).composite is not None else "None"
            code.add(f"{self.fail}(m, {self.number(plan)}, x, {queue})")
            if remove:
                code.add(remove)

        code.block("try:", body)
        code.block(f"except {code.env.bind('c', FAILURES)} as x:", caught)

    def number(self, plan: RowPlan) -> str:
        return self.code.env.bind("k", plan.at)

    def static(self, plan: RowPlan, value: Json, store: Store, remove: str) -> None:
        """Append a row whose value is known now, converted now."""
        code = self.code
        if value is None:
            if remove:
                code.add(remove)
            return
        failures: Failures = []
        try:
            converted = convert(self.conversions.of(plan.target.field), value, failures, "")
        except FAILURES as error:
            code.add(f"{self.fail}(m, {self.number(plan)}, {code.env.bind('k', str(error))}, None)")
            if remove:
                code.add(remove)
            return
        if converted.__class__ in {list, dict}:
            copier = code.env.bind("f", fresh_copy(converted))
            code.add(store(f"{copier}()"))
        else:
            code.add(store(code.env.constant(converted)))


def _place(plan: RowPlan) -> str:
    return path_text(plan.target.steps)


def fresh_copy(value: Json) -> Callable[[], Json]:
    """Return what makes a new copy of a constant each time it is called."""
    if value.__class__ is list:
        return lambda: [fresh_copy(one)() for one in value]
    if value.__class__ is dict:
        return lambda: {name: fresh_copy(one)() for name, one in value.items()}
    return lambda: value
