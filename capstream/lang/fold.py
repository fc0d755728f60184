"""Constant folding: a call whose arguments are literals is replaced by its value, when that is a scalar and cheap to get."""

from datetime import datetime

from capstream.lang.chains import chain
from capstream.lang.diagnostics import Fail
from capstream.lang.emit import bound
from capstream.lang.functions import FUNCTIONS
from capstream.lang.methods import COSTLY_METHODS, call_method
from capstream.lang.nodes import Call, Computed, Index, Lambda, ListOf, Literal, MapOf, Method, Node, Path, Step
from capstream.lang.operators import BINARY, MATCHING, UNARY
from capstream.lang.signatures import Needs
from capstream.lang.values import truth


def fold(node: Node) -> Node:
    """Return the tree with constant parts computed; a part that fails stays, and fails when it runs."""
    match node:
        case Call(operator=True, args=(_, _)):
            return _fold_chain(node)
        case Call(name, args, span, operator):
            return _fold_call(Call(name, tuple(map(fold, args)), span, operator))
        case Method(receiver, name, args, span):
            return _fold_method(Method(fold(receiver), name, tuple(map(fold, args)), span))
        case Lambda(params, body, span):
            return Lambda(params, fold(body), span)
        case ListOf(items, span):
            return ListOf(tuple(map(fold, items)), span)
        case MapOf(entries, span):
            return MapOf(tuple((fold(key), fold(value)) for key, value in entries), span)
        case Path(base, steps, span):
            return Path(None if base is None else fold(base), tuple(map(_fold_step, steps)), span)
        case _:
            return node


def _fold_step(step: Step) -> Step:
    if not isinstance(step, Computed):
        return step
    node = fold(step.node)
    if isinstance(node, Literal) and node.value.__class__ in {int, str}:
        return Index(node.value)
    return Computed(node)


def _fold_chain(node: Call) -> Node:
    first, links = chain(node)
    left = fold(first)
    for link in links:
        left = _fold_call(Call(link.name, (left, fold(link.args[1])), link.span, operator=True))
    return left


def _fold_call(node: Call) -> Node:
    args = node.args
    if node.name in {"?", "iif"} and len(args) == 3 and isinstance(args[0], Literal):
        return args[1] if truth(args[0].value) else args[2]
    values = [arg.value for arg in args if isinstance(arg, Literal)]
    if len(values) < len(args) or node.name in MATCHING | {".."}:
        return node
    if node.operator:
        function = BINARY.get(node.name) or UNARY.get(node.name)
    else:
        row = FUNCTIONS[node.name]
        usable = row.needs is Needs.NOTHING and not row.costly and row.name not in {"iif", "fpid_to_ecid"}
        function = bound(row) if usable else None
    if function is None:
        return node
    try:
        return _literal(function(*values), node)
    except Fail:
        return node


def _fold_method(node: Method) -> Node:
    values = [arg.value for arg in (node.receiver, *node.args) if isinstance(arg, Literal)]
    if len(values) <= len(node.args) or node.name in COSTLY_METHODS:
        return node
    try:
        return _literal(call_method(values[0], node.name, *values[1:]), node)
    except Fail:
        return node


def _literal(value: object, node: Node) -> Node:
    if value is None or isinstance(value, bool | int | float | str | datetime):
        return Literal(value, node.span)
    return node
