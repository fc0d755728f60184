"""The generated function of a mapping set whose shape allows straight-line code.

The source holds no user text (see `lang.emit`). Names: `r` record, `s` the general engine, `m` errors, `q` failures of copied
attributes, `n` now, `b` lambda budget, `u` source of ids, `x` a caught error; with numbers: `p` values read, `g` getters,
`d` objects, `a` arrays, `e` source elements, `w` values to broadcast, `t` temporaries, `k` constants, `c` classes,
`f` functions.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from capstream.aep.data_prep.conversion import Conversions, Converter, Failures, concrete, convert, integer_range
from capstream.aep.data_prep.general import problem_of
from capstream.aep.data_prep.reads import Code, Read, write_reads
from capstream.aep.data_prep.rowplan import RowPlan
from capstream.aep.data_prep.rows import Problem
from capstream.aep.data_prep.shape import Branch, Leaf, Loop, is_simple, shape_of
from capstream.kernel.json import Json
from capstream.lang.check import static_type
from capstream.lang.dates import RFC3339
from capstream.lang.emit import Emitter, Environment, from_record
from capstream.lang.expression import FAILURES
from capstream.lang.nodes import Index, Literal, Name, Path, Star
from capstream.lang.paths import flat_key, path_text, read, run_steps
from capstream.lang.signatures import Needs, Type
from capstream.lang.values import settled

Store = Callable[[str], str]
_SETTLED = frozenset({Type.TEXT, Type.BOOL, Type.INT, Type.LONG})
"""Results that are JSON scalars of a bounded size already: text functions watch their own size, conversion the range."""


@dataclass(slots=True)
class _Scope:
    """Where a row's paths are read: the record, or one element of the array a loop goes over."""

    reads: Read
    element: str = ""
    source: tuple[Name, ...] = ()
    bails: bool = False  #: the place of a failing attribute is not known here: leave it to the general engine


@dataclass(slots=True)
class _Emission:
    code: Code
    conversions: Conversions
    top: Read = field(default_factory=Read)
    needs: set[Needs] = field(default_factory=set)
    copies: bool = False
    fail: str = ""

    # ---- values -------------------------------------------------------------------------------------------------------

    def conversion(self, plan: RowPlan, value: str, scope: _Scope, *, computed: bool) -> str:
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
        match target.kind if target is not None else "":
            case "string":
                return f"{value} if {self.code.is_class(value, str)} else {call}"
            case "number":
                is_int = "" if computed else f" or {self.code.is_class(value, int)}"
                return f"{value} if {self.code.is_class(value, float)}{is_int} else {call}"
            case "boolean":
                return f"{value} if {value} is True or {value} is False else {call}"
            case "date-time":
                shape = env.bind("f", RFC3339.fullmatch)
                return f"{value} if {self.code.is_class(value, str)} and {shape}({value}) is not None else {call}"
            case "date":
                return call
            case _:
                low, high = (env.constant(bound) for bound in integer_range(target))  # type: ignore[arg-type]
                return f"{value} if {self.code.is_class(value, int)} and {low} <= {value} <= {high} else {call}"

    def expression(self, plan: RowPlan, scope: _Scope) -> str:
        """Return the source of an expression's value."""

        def source(path: Path, emitter: Emitter) -> str:
            star = next((at for at, step in enumerate(path.steps) if isinstance(step, Star)), None)
            if star is not None and scope.element and plan.per_element:
                rest = Path(None, path.steps[star + 1 :], path.span)
                if not rest.steps:
                    return scope.element
                if is_simple(rest):
                    return scope.reads.declare(emitter.env, rest.steps).variable  # type: ignore[arg-type]
                return f"{emitter.env.bind('f', read)}({scope.element}, {emitter.env.bind('k', run_steps(rest.steps))})"
            if is_simple(path) and isinstance(path.steps[0], Name):
                return self.top.declare(emitter.env, path.steps, flat_key(path.steps)).variable  # type: ignore[arg-type]
            return from_record(path, emitter)

        emitter = Emitter(self.code.env, source)
        assert plan.node is not None  # noqa: S101 - expression rows have one
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

    def leaf(self, leaf: Leaf, store: Store, scope: _Scope, *, remove: str = "") -> None:
        """Append a row that writes by `store`; `remove` is the statement that takes a copied value away."""
        plan, code = leaf.plan, self.code
        remove = "" if plan.shares else remove
        is_constant, value = self.constant(plan)
        if is_constant:
            self.static(plan, value, store, remove)
            return
        if leaf.path is not None:
            node = scope.reads.declare(code.env, leaf.path, None if scope.element else flat_key(plan.path or ()))
            if remove:
                node.null_flag = node.null_flag or code.env.fresh("z")
            self.reading(node, plan, store, scope, remove)
            return
        self.computing(plan, store, scope, remove)

    def reading(self, node: Read, plan: RowPlan, store: Store, scope: _Scope, remove: str) -> None:
        code = self.code
        converted = self.conversion(plan, node.variable, scope, computed=False)
        code.block(f"if {node.variable} is not None:", lambda: self.guarded(plan, [store(converted)], scope, remove))
        if remove:
            code.block(f"elif {node.null_flag}:", lambda: code.add(remove))

    def computing(self, plan: RowPlan, store: Store, scope: _Scope, remove: str) -> None:
        code = self.code
        kept = code.env.fresh("t")
        converted = self.conversion(plan, kept, scope, computed=True)

        def body() -> None:
            code.add(f"{kept} = {self.expression(plan, scope)}")
            code.block(f"if {kept} is not None:", lambda: self.stored(plan, store(converted), scope))
            if remove:
                code.block("else:", lambda: code.add(remove))

        self.guard(plan, body, remove)

    def stored(self, plan: RowPlan, statement: str, scope: _Scope) -> None:
        """Append the statement that stores, and the report of attributes that failed inside it."""
        self.code.add(statement)
        if self.conversions.of(plan.target.field).composite is not None:
            if scope.bails:
                self.code.block("if q:", self.code.bail)
            else:
                self.code.block("if q:", lambda: self.code.add(f"{self.fail}(m, {self.known(plan)}, None, q)"))

    def guarded(self, plan: RowPlan, statements: list[str], scope: _Scope, remove: str) -> None:
        self.guard(plan, lambda: [self.stored(plan, one, scope) for one in statements] and None, remove)  # type: ignore[func-returns-value]

    def guard(self, plan: RowPlan, body: Callable[[], None], remove: str) -> None:
        """Append a block whose failure is an error of one row."""
        code = self.code

        def caught() -> None:
            queue = "q" if self.conversions.of(plan.target.field).composite is not None else "None"
            code.add(f"{self.fail}(m, {self.known(plan)}, x, {queue})")
            if remove:
                code.add(remove)

        code.block("try:", body)
        code.block(f"except {code.env.bind('c', FAILURES)} as x:", caught)

    def known(self, plan: RowPlan) -> str:
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
            code.add(f"{self.fail}(m, {self.known(plan)}, {code.env.bind('k', str(error))}, None)")
            if remove:
                code.add(remove)
            return
        if converted.__class__ in {list, dict}:
            copier = code.env.bind("f", _fresh(converted))
            code.add(store(f"{copier}()"))
        else:
            code.add(store(code.env.constant(converted)))

    # ---- places -------------------------------------------------------------------------------------------------------

    def branch(self, branch: Branch, holder: str, key: str, scope: _Scope, *, copied: bool) -> None:
        """Append everything at and below one place; `copied`: a row above may already have put a value here."""
        env = self.code.env
        name = env.constant(key)

        def store(value: str) -> str:
            return f"{holder}[{name}] = {value}"

        remove = f"{holder}.pop({name}, None)" if copied else ""
        for leaf in branch.leaves:
            self.leaf(leaf, store, scope, remove=remove)
        if branch.loop is not None:
            self.loop(branch.loop, store)
        elif branch.positions:
            self.positions(branch, store, scope)
        elif branch.members:
            self.members(branch, (holder, name), scope, copied=copied or bool(branch.leaves))

    def members(self, branch: Branch, place: tuple[str, str], scope: _Scope, *, copied: bool) -> None:
        code = self.code
        holder, name = place
        below = code.env.fresh("d")
        if copied:
            code.add(f"{below} = {holder}.get({name})")
            code.block(f"if {below} is None:", lambda: code.add(f"{below} = {{}}"))
            code.block(f"elif {below}.__class__ is not {code.env.bind('c', dict)}:", code.bail)
        else:
            code.add(f"{below} = {{}}")
        for key, member in branch.members.items():
            self.branch(member, below, key, scope, copied=copied)
        code.block(f"if {below}:", lambda: code.add(f"{holder}[{name}] = {below}"))

    def positions(self, branch: Branch, store: Store, scope: _Scope) -> None:
        code = self.code
        array = code.env.fresh("a")
        code.add(f"{array} = []")
        for _, position in sorted(branch.positions.items()):
            for leaf in position.leaves:
                self.leaf(leaf, lambda value: f"{array}.append({value})", scope)
            if position.members:
                below = code.env.fresh("d")
                code.add(f"{below} = {{}}")
                for key, member in position.members.items():
                    self.branch(member, below, key, scope, copied=False)
                code.add(f"if {below}: {array}.append({below})")
        code.block(f"if {array}:", lambda: code.add(store(array)))

    # ---- loops --------------------------------------------------------------------------------------------------------

    def loop(self, loop: Loop, store: Store) -> None:
        code = self.code
        top = _Scope(self.top)
        if loop.source is None:
            self.single(loop, store, top)
            return
        array = code.env.fresh("a")
        read_once = self.top.declare(code.env, loop.source).variable
        values = [self.broadcast_value(leaf, top) for _, leaf in loop.broadcasts]
        source = code.env.fresh("e")
        code.add(f"{source} = {read_once}")
        self.iterated(loop, source)
        code.add(f"{array} = []")
        element = code.env.fresh("e")
        code.block(f"for {element} in {source}:", lambda: self.element(loop, array, element))

        def spread() -> None:
            self.spread(loop, array, values, top)
            code.add(store(array))

        code.block(f"if {array}:", spread)
        creators = [value for value, (_, leaf) in zip(values, loop.broadcasts, strict=True) if leaf.plan.carries_data]
        if creators and not loop.explicit:
            code.block(f"elif {' or '.join(f'{value} is not None' for value in creators)}:", code.bail)

    def iterated(self, loop: Loop, source: str) -> None:
        """Append what makes `source` something to loop over."""
        code = self.code

        def no_array() -> None:
            guesses = [leaf for leaf in loop.element.all_leaves() if leaf.plan.explicit_stars == 0]
            if not guesses:
                code.add(f"{source} = () if {source} is None else ({source},)")
                return
            code.block(f"if {source} is not None:", code.bail)
            for leaf in guesses:
                flat = flat_key(leaf.plan.path or ())
                if flat is not None:
                    code.block(f"if {code.env.constant(flat)} in r:", code.bail)
            code.add(f"{source} = ()")

        code.block(f"if {source}.__class__ is not {code.env.bind('c', list)}:", no_array)

    def element(self, loop: Loop, array: str, element: str) -> None:
        code = self.code
        code.block(f"if {element}.__class__ is not {code.env.bind('c', dict)}:", code.bail)
        scope = _Scope(Read(), element, loop.source or (), bails=True)
        built = code.env.fresh("d")
        body = Code(code.env, depth=code.depth)
        self.code = body
        for key, member in loop.element.members.items():
            self.branch(member, built, key, scope, copied=False)
        self.code = code
        write_reads(code, scope.reads, element, record=False)
        code.add(f"{built} = {{}}")
        code.lines.extend(body.lines)
        code.block(f"if {built}:", lambda: code.add(f"{array}.append({built})"))

    def broadcast_value(self, leaf: Leaf, scope: _Scope) -> str:
        """Append what computes a value for every element, and return its source; arrays are not broadcast but laid out."""
        code, plan = self.code, leaf.plan
        is_constant, _ = self.constant(plan)
        if is_constant:
            return ""
        if leaf.path is not None:
            value = scope.reads.declare(code.env, leaf.path, flat_key(plan.path or ())).variable
        else:
            value = code.env.fresh("t")
            code.add(f"{value} = None")
            self.guard(plan, lambda: code.add(f"{value} = {self.expression(plan, scope)}"), "")
        code.block(f"if {code.is_class(value, list)}:", code.bail)
        return value

    def spread(self, loop: Loop, array: str, values: list[str], scope: _Scope) -> None:
        """Append what writes the broadcasts to every element."""
        code = self.code
        inner = _Scope(scope.reads, bails=True)
        for (names, leaf), value in zip(loop.broadcasts, values, strict=True):
            kept = code.env.fresh("w")
            code.add(f"{kept} = None")

            def keep(source: str, kept: str = kept) -> str:
                return f"{kept} = {source}"

            self.converted(leaf, value, keep, inner)

            def write(kept: str = kept, names: tuple[str, ...] = names) -> None:
                one = code.env.fresh("d")
                code.block(f"for {one} in {array}:", lambda: code.add(self.below(one, names)(kept)))

            code.block(f"if {kept} is not None:", write)

    def converted(self, leaf: Leaf, value: str, store: Store, scope: _Scope) -> None:
        is_constant, constant = self.constant(leaf.plan)
        if is_constant:
            self.static(leaf.plan, constant, store, "")
            return
        computed = leaf.path is None
        source = store(self.conversion(leaf.plan, value, scope, computed=computed))
        self.code.block(f"if {value} is not None:", lambda: self.guarded(leaf.plan, [source], scope, ""))

    def single(self, loop: Loop, store: Store, scope: _Scope) -> None:
        """Append rows that make one element together, because none of them iterates (rule A7)."""
        code = self.code
        values = [self.broadcast_value(leaf, scope) for _, leaf in loop.broadcasts]
        built = code.env.fresh("d")
        code.add(f"{built} = {{}}")
        rows = list(zip(loop.broadcasts, values, strict=True))
        inner = _Scope(scope.reads, bails=True)
        for (names, leaf), value in rows:
            if leaf.plan.carries_data:
                self.converted(leaf, value, self.below(built, names), inner)

        def constants() -> None:
            for (names, leaf), value in rows:
                if not leaf.plan.carries_data:
                    self.converted(leaf, value, self.below(built, names), inner)
            code.add(store(f"[{built}]"))

        code.block(f"if {built}:", constants)

    def below(self, holder: str, names: tuple[str, ...]) -> Store:
        """Return how to store below an object, making the objects between."""
        env = self.code.env
        if len(names) == 1:
            return lambda value: f"{holder}[{env.constant(names[0])}] = {value}"
        return lambda value: f"{env.bind('f', put)}({holder}, {env.bind('k', names)}, {value})"


def put(holder: dict[str, Json], names: tuple[str, ...], value: Json) -> None:
    """Write `value` below `holder`, making the objects between."""
    for name in names[:-1]:
        holder = holder.setdefault(name, {})
    holder[names[-1]] = value


def _place(plan: RowPlan) -> str:
    return path_text(plan.target.steps)


def _fresh(value: Json) -> Callable[[], Json]:
    if value.__class__ is list:
        return lambda: [_fresh(one)() for one in value]
    if value.__class__ is dict:
        return lambda: {name: _fresh(one)() for name, one in value.items()}
    return lambda: value


def _reporter(plans: Sequence[RowPlan]) -> Callable[..., None]:
    """Return what notes errors of a row: the row's own, or those of copied attributes waiting in `failures`."""

    def report(
        problems: dict[object, Problem], at: int, error: Exception | str | None, failures: Failures | None
    ) -> None:
        plan = plans[at]
        if error is not None:
            problems.setdefault((at, None), problem_of(plan, str(error)))
        elif failures:
            for where, text in failures:
                place = concrete(where)
                problems.setdefault((at, place), problem_of(plan, text, place))
        if failures:
            failures.clear()

    return report


@dataclass(frozen=True, slots=True)
class Written:
    """Generated source and the objects its names stand for."""

    source: str
    names: dict[str, Json]


def write_program(plans: Sequence[RowPlan], conversions: Conversions, surroundings: dict[str, Json]) -> Written:
    """Return the source of `program(r)`; `surroundings` binds `s`, `u`, `y` (clock) and `o` (makes a lambda budget).

    Errors: NoShape when straight-line code does not cover the mapping set.
    """
    root = shape_of(plans)
    env = Environment()
    body = Code(env)
    emission = _Emission(body, conversions)
    emission.fail = env.bind("f", _reporter(plans))
    scope = _Scope(emission.top)
    for key, member in root.members.items():
        emission.branch(member, "d", key, scope, copied=False)
    head = Code(env)
    for needed, line in (
        (True, "m = {}"),
        (True, "d = {}"),
        (emission.copies, "q = []"),
        (Needs.NOW in emission.needs, "n = y()"),
        (Needs.BUDGET in emission.needs, "b = o()"),
    ):
        if needed:
            head.add(line)
    write_reads(head, emission.top, "r", record=True)
    listed = env.bind("f", _listed)
    body.add(f"return d, ({listed}(m) if m else [])")
    source = "\n".join(["def program(r):", *head.lines, *body.lines]) + "\n"
    return Written(source, env.names | surroundings)


def _listed(problems: dict[object, Problem]) -> list[Problem]:
    return list(problems.values())


__all__ = ["Converter", "Index", "Written", "write_program"]
