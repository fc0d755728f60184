"""From method and path to an operation: a tree with one node per path segment."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote

from capstream.aep.call import Operation


@dataclass(slots=True)
class _Route:
    operation: Operation
    names: tuple[str, ...]


@dataclass(slots=True)
class _Node:
    fixed: "dict[str, _Node]" = field(default_factory=dict)
    folded: "dict[str, _Node]" = field(default_factory=dict)  # the same nodes by lower-case name, where case is ignored
    one: "_Node | None" = None  # any one segment
    rest: dict[str, _Route] = field(default_factory=dict)  # all remaining segments, by method
    routes: dict[str, _Route] = field(default_factory=dict)  # by method
    services: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Match:
    """What a path leads to. Without an operation, `allowed` has the methods the path knows: empty for an unknown path."""

    operation: Operation | None
    params: Mapping[str, str]
    path: str  #: decoded, without trailing or doubled slashes
    service: str  #: whose error shape fits; empty when no service owns the path
    allowed: frozenset[str] = frozenset()


class Router:
    """Finds operations by path. Trailing and doubled slashes do not matter. Source: gateway.md 1."""

    def __init__(self, operations: Iterable[Operation], *, folded: Iterable[str] = ()) -> None:
        """`folded` names the services whose fixed segments are compared without case."""
        self._root = _Node()
        without_case = frozenset(folded)
        for operation in operations:
            self._add(operation, operation.service in without_case)

    def _add(self, operation: Operation, fold: bool) -> None:
        node, names = self._root, []
        for segment in operation.path.strip("/").split("/"):
            if segment.endswith("...}"):
                names.append(segment[1:-4])
                node.rest[operation.method] = _Route(operation, tuple(names))
                return
            if segment.startswith("{"):
                names.append(segment[1:-1])
                node.one = node.one or _Node()
                node = node.one
            else:
                below = node.fixed.setdefault(segment, _Node())
                if fold:
                    node.folded[segment.lower()] = below
                node = below
            node.services.add(operation.service)
        if operation.method in node.routes:
            raise ValueError(f"{operation.method} {operation.path}: two operations share this path")
        node.routes[operation.method] = _Route(operation, tuple(names))

    def alias(self, path: str, target: str) -> None:
        """Let everything under `target` be reached under `path` too; what `path` has of its own stays."""
        found = self._node(target, make=False)
        node = self._node(path, make=True)
        for name, below in found.fixed.items():
            node.fixed.setdefault(name, below)
        node.folded = found.folded | node.folded
        node.one = node.one or found.one
        node.rest = found.rest | node.rest
        node.routes = found.routes | node.routes
        node.services |= found.services

    def _node(self, path: str, *, make: bool) -> _Node:
        node = self._root
        for segment in path.strip("/").split("/"):
            node = node.fixed.setdefault(segment, _Node()) if make else node.fixed[segment]
        return node

    def owns(self, path: str) -> bool:
        """Return whether any operation starts with the first segment of `path`."""
        return path.strip("/").split("/", 1)[0] in self._root.fixed

    def match(self, method: str, raw_path: str) -> Match:
        """Return what `raw_path` (percent-encoded) leads to. Each segment is decoded once."""
        segments = [unquote(part) if "%" in part else part for part in raw_path.split("/") if part]
        path = "/" + "/".join(segments)
        allowed: set[str] = set()
        found = _find(self._root, segments, 0, (method, allowed))
        if found is None and method == "HEAD":
            found = _find(self._root, segments, 0, ("GET", allowed))
        if found is None:
            return Match(None, {}, path, self._owner(segments), frozenset(allowed))
        route, values = found
        return Match(route.operation, dict(zip(route.names, values, strict=True)), path, route.operation.service)

    def _owner(self, segments: list[str]) -> str:
        """Return the service the longest known part of the path belongs to; empty while several could be meant."""
        node, owner = self._root, ""
        for depth, segment in enumerate(segments):
            below = node.fixed.get(segment) or node.folded.get(segment.lower()) or node.one
            if below is None:
                break
            node = below
            # Profile and Segmentation share `/data/core/ups`: from the third segment on the first of them answers.
            if len(node.services) == 1 or (depth >= 2 and node.services):
                owner = min(node.services)
        return owner


def _find(node: _Node, segments: list[str], at: int, wanted: tuple[str, set[str]]) -> tuple[_Route, list[str]] | None:
    """Return the route and the values of its parameters; fixed segments win over parameters, those over a rest."""
    method, allowed = wanted
    if at == len(segments):
        allowed.update(node.routes)
        route = node.routes.get(method)
        return (route, []) if route else None
    segment = segments[at]
    below = node.fixed.get(segment)
    if below is None and node.folded:
        below = node.folded.get(segment.lower())
    found = _find(below, segments, at + 1, wanted) if below else None
    if found is None and node.one:
        found = _find(node.one, segments, at + 1, wanted)
        if found:
            found[1].insert(0, segment)
    if found is None and node.rest:
        allowed.update(node.rest)
        if method in node.rest:
            return node.rest[method], ["/".join(segments[at:])]
    return found
