"""Chains such as `a + b - c`. Their trees lean to the left as far as the text is long, and no chain is nesting: what walks a tree
takes a chain in a loop.
"""

from capstream.lang.nodes import Call, Computed, Node, Path, children
from capstream.lang.operators import BINARY

_SHORT_CIRCUIT = frozenset({"&&", "||"})


def is_chain(node: Node) -> bool:
    """Say whether a node is an operator of which the left operand is one of the same chain."""
    return isinstance(node, Call) and node.operator and len(node.args) == 2 and _continues(node, node.args[0])


def chain(node: Call) -> tuple[Node, list[Call]]:
    """Return the first operand of a chain and its operators, innermost first; an operator alone is a chain of one."""
    links = [node]
    first = node.args[0]
    while _continues(links[-1], first):
        assert isinstance(first, Call)  # noqa: S101 - _continues says so
        links.append(first)
        first = first.args[0]
    return first, links[::-1]


def _continues(node: Call, left: Node) -> bool:
    if not isinstance(left, Call) or not left.operator or len(left.args) != 2:
        return False
    return left.name == node.name if node.name in _SHORT_CIRCUIT else node.name in BINARY and left.name in BINARY


def height(root: Node) -> int:
    """Return how deep a tree is nested; a chain counts as two levels, however long it is, and so does a computed index.

    It bounds the brackets of the generated source, of which Python takes 200 in each other.
    """
    tallest, waiting = 0, [(root, 1)]
    while waiting:
        node, level = waiting.pop()
        below: tuple[Node, ...] = children(node)
        if isinstance(node, Call) and is_chain(node):
            first, links = chain(node)
            below, level = (first, *(link.args[1] for link in links)), level + 1
        elif isinstance(node, Path) and any(isinstance(step, Computed) for step in node.steps):
            level += 1
        tallest = max(tallest, level)
        waiting.extend((child, level + 1) for child in below)
    return tallest


def longest_branch(root: Node) -> int:
    """Return the height of the tree as it is, every operator of a chain a level: what walks it by recursion goes that deep."""
    found, level = 0, [root]
    while level:
        found += 1
        level = [child for node in level for child in children(node)]
    return found
