"""The generated function of a mapping set whose shape allows straight-line code.

The source holds no user text (see `lang.emit`). Names: `r` record, `s` the general engine, `m` errors, `q` failures of copied
attributes, `n` now, `b` lambda budget, `u` source of ids, `x` a caught error; with numbers: `p` values read, `d` objects,
`a` arrays, `e` source elements, `w` values to broadcast, `t` temporaries, `k` constants, `c` classes, `f` functions.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from capstream.aep.data_prep.conversion import Conversions, Failures, concrete
from capstream.aep.data_prep.displays import DisplayWriter
from capstream.aep.data_prep.general import problem_of
from capstream.aep.data_prep.reads import Code, Read, write_reads
from capstream.aep.data_prep.record_types import flat_keys, record_type
from capstream.aep.data_prep.row_writer import Scope, Store
from capstream.aep.data_prep.rowplan import RowPlan
from capstream.aep.data_prep.rows import Problem
from capstream.aep.data_prep.shape import Branch, Leaf, Loop, NoShape, shape_of
from capstream.kernel.json import Json
from capstream.lang.emit import Environment
from capstream.lang.paths import flat_key
from capstream.lang.signatures import Needs


class _Emission(DisplayWriter):
    """Writes rows at their places, arrays in loops."""

    # ---- places -------------------------------------------------------------------------------------------------------

    def branch(self, branch: Branch, holder: str, key: str, scope: Scope, *, copied: bool) -> None:
        """Append everything at and below one place; `copied`: a row above may already have put a value here."""
        env = self.code.env
        name = env.constant(key)

        def store(value: str) -> str:
            return f"{holder}[{name}] = {value}"

        remove = f"{holder}.pop({name}, None)" if copied else ""
        for leaf in branch.leaves:
            self.leaf(leaf, store, scope, remove=remove)
        if not copied and not branch.leaves:
            display = self.display(branch, scope)
            if display is not None and self.pays(display):
                self.either(display, store, scope, lambda: self.below_branch(branch, (holder, name), store, scope, copied=False))
                return
        self.below_branch(branch, (holder, name), store, scope, copied=copied or bool(branch.leaves))

    def below_branch(self, branch: Branch, place: tuple[str, str], store: Store, scope: Scope, *, copied: bool) -> None:
        """Append everything below one place, step by step."""
        if branch.loop is not None:
            self.loop(branch.loop, store)
        elif branch.positions:
            self.positions(branch, store, scope)
        elif branch.members:
            self.members(branch, place, scope, copied=copied)

    def members(self, branch: Branch, place: tuple[str, str], scope: Scope, *, copied: bool) -> None:
        code = self.code
        holder, name = place
        below = code.env.fresh("d")
        if copied:
            code.add(f"{below} = {holder}.get({name})")
            code.block(f"if {below} is None:", lambda: code.add(f"{below} = {{}}"))
            code.block(f"elif {below}.__class__ is not {code.env.bind('c', dict)}:", code.bail)
            for key, member in branch.members.items():
                self.branch(member, below, key, scope, copied=True)
        else:
            self.object(below, branch.members, scope)
        code.block(f"if {below}:", lambda: code.add(f"{holder}[{name}] = {below}"))

    def positions(self, branch: Branch, store: Store, scope: Scope) -> None:
        code = self.code
        array = code.env.fresh("a")
        code.add(f"{array} = []")
        for _, position in sorted(branch.positions.items()):
            for leaf in position.leaves:
                self.leaf(leaf, lambda value: f"{array}.append({value})", scope)
            if position.members:
                below = code.env.fresh("d")
                self.object(below, position.members, scope)
                code.add(f"if {below}: {array}.append({below})")
        code.block(f"if {array}:", lambda: code.add(store(array)))

    # ---- loops --------------------------------------------------------------------------------------------------------

    def loop(self, loop: Loop, store: Store) -> None:
        code = self.code
        top = Scope(self.top)
        if loop.source is None:
            self.single(loop, store, top)
            return
        array = code.env.fresh("a")
        read_once = self.top.reach(code.env, loop.source)
        read_once.items = read_once.items or Read()
        constants = self.loop_constants(loop)
        spread_rows = [one for one in loop.broadcasts if constants.get(one[0][0], (None,))[0] is not one[1]]
        values = [self.broadcast_value(leaf, top) for _, leaf in spread_rows]
        source = code.env.fresh("e")
        code.add(f"{source} = {read_once.variable}")
        self.iterated(loop, source)
        code.add(f"{array} = []")
        element = code.env.fresh("e")
        code.block(
            f"for {element} in {source}:",
            lambda: self.element(loop, read_once, array, element, {key: source for key, (_, source) in constants.items()}),
        )

        def spread() -> None:
            self.spread(spread_rows, array, values, top)
            code.add(store(array))

        code.block(f"if {array}:", spread)
        creators = [value for value, (_, leaf) in zip(values, spread_rows, strict=True) if leaf.plan.carries_data]
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
                    code.block(f"if {code.in_record(flat)}:", code.bail)
            code.add(f"{source} = ()")

        code.block(f"if {source}.__class__ is not {code.env.bind('c', list)}:", no_array)

    def element(self, loop: Loop, node: Read, array: str, element: str, constants: dict[str, str]) -> None:
        code = self.code
        assert node.items is not None  # noqa: S101 - a loop reads its elements
        if not (code.typed and node.typed):
            code.block(f"if {element}.__class__ is not {code.env.bind('c', dict)}:", code.bail)
        scope = Scope(node.items, element, loop.source or (), bails=True)
        body = code.beside()
        self.code = body
        self.item(loop, array, scope, constants)
        self.code = code
        write_reads(code, scope.reads, element, record=False)
        code.lines.extend(body.lines)

    def broadcast_value(self, leaf: Leaf, scope: Scope) -> str:
        """Append what computes a value for every element, and return its source; arrays are not broadcast but laid out."""
        code, plan = self.code, leaf.plan
        is_constant, _ = self.constant(plan)
        if is_constant:
            return ""
        if leaf.path is not None:
            node = scope.reads.declare(code.env, leaf.path, flat_key(plan.path or ()))
            node.converted = True
            value = node.variable
        else:
            value = code.env.fresh("t")
            code.add(f"{value} = None")
            self.guard(plan, lambda: code.add(f"{value} = {self.expression(plan, scope)}"), "")
        code.block(f"if {code.is_class(value, list)}:", code.bail)
        return value

    def spread(self, rows: Sequence[tuple[tuple[str, ...], Leaf]], array: str, values: list[str], scope: Scope) -> None:
        """Append what writes the broadcasts to every element."""
        code = self.code
        inner = Scope(scope.reads, bails=True)
        for (names, leaf), value in zip(rows, values, strict=True):
            kept = code.env.fresh("w")
            code.add(f"{kept} = None")

            def keep(source: str, kept: str = kept) -> str:
                return f"{kept} = {source}"

            self.converted(leaf, value, keep, inner)

            def write(kept: str = kept, names: tuple[str, ...] = names) -> None:
                one = code.env.fresh("d")
                code.block(f"for {one} in {array}:", lambda: code.add(self.below(one, names)(kept)))

            code.block(f"if {kept} is not None:", write)

    def converted(self, leaf: Leaf, value: str, store: Store, scope: Scope) -> None:
        is_constant, constant = self.constant(leaf.plan)
        if is_constant:
            self.static(leaf.plan, constant, store, "")
            return
        computed = leaf.path is None
        source = store(self.conversion(leaf.plan, value, scope, computed=computed))
        self.code.block(f"if {value} is not None:", lambda: self.guarded(leaf.plan, source, scope, ""))

    def single(self, loop: Loop, store: Store, scope: Scope) -> None:
        """Append rows that make one element together, because none of them iterates (rule A7)."""
        code = self.code
        values = [self.broadcast_value(leaf, scope) for _, leaf in loop.broadcasts]
        built = code.env.fresh("d")
        code.add(f"{built} = {{}}")
        rows = list(zip(loop.broadcasts, values, strict=True))
        inner = Scope(scope.reads, bails=True)
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


def _reporter(plans: Sequence[RowPlan]) -> Callable[..., None]:
    """Return what notes errors of a row: the row's own, or those of copied attributes waiting in `failures`."""

    def report(problems: dict[object, Problem], at: int, error: Exception | str | None, failures: Failures | None) -> None:
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


class ProgramWriter:
    """Writes the function of a mapping set: for records of plain JSON first, then for records of a type of their own.

    Errors: NoShape when straight-line code does not cover the mapping set.
    """

    def __init__(self, plans: Sequence[RowPlan], conversions: Conversions, surroundings: dict[str, Json]) -> None:
        self._root = shape_of(plans)
        self._conversions = conversions
        self._surroundings = surroundings
        self._env = Environment()
        self._fail = self._env.bind("f", _reporter(plans))
        self._reads = Read()
        self._flats: dict[str, str] = {}
        self._reads_record = False

    def plain(self) -> Written:
        """Return the source of `program(r)`; the surroundings bind `s`, `u`, `y` (clock) and `o` (makes a lambda budget)."""
        return self._written(Code(self._env, flats=self._flats))

    def typed(self) -> tuple[type, Written]:
        """Return the type of records and the source of `program(r)` for it, which gives None for records it cannot judge.

        To be asked after `plain`, which finds all that is read. Errors: NoShape when some row needs the record whole.
        """
        if self._reads_record:
            raise NoShape("a row needs the record whole")
        for key in (*self._flats, *flat_keys(self._reads)):
            self._flats[key] = self._flats.get(key) or self._env.fresh("p")
        record = record_type(self._reads, self._flats, self._env)
        return record, self._written(Code(self._env, typed=True, flats=self._flats))

    def _written(self, body: Code) -> Written:
        env = self._env
        emission = _Emission(body, self._conversions, self._reads)
        emission.fail = self._fail
        emission.object("d", self._root.members, Scope(self._reads))
        self._reads_record = Needs.RECORD in emission.needs
        head = body.beside()
        for needed, line in (
            (True, "m = {}"),
            (emission.copies, "q = []"),
            (Needs.NOW in emission.needs, "n = y()"),
            (Needs.BUDGET in emission.needs, "b = o()"),
        ):
            if needed:
                head.add(line)
        write_reads(head, self._reads, "r", record=True)
        body.add(f"return d, ({env.bind('f', _listed)}(m) if m else [])")
        source = "\n".join(["def program(r):", *head.lines, *body.lines]) + "\n"
        return Written(source, env.names | self._surroundings)


def _listed(problems: dict[object, Problem]) -> list[Problem]:
    return list(problems.values())
