"""Orders to delete what a sandbox holds: given by the gateway, carried out by the one writer of the data plane.

The gateway closes the sandbox, deletes what it wrote itself and leaves an order; the pipeline deletes the rest and marks the
order done. A sandbox that is being reset becomes active again when its order is done. Source: sandboxes-access.md 1.1.
"""

from collections.abc import Mapping, Sequence

import msgspec

from capstream.storage.ports import Reading, Transaction

ORDERS = "sandbox_erasures"  #: control plane: {order} -> Order
DONE = "sandbox_erasures_done"  #: data plane: {order} -> empty


class Order(msgspec.Struct, frozen=True):
    """An order to delete the data of a sandbox."""

    id: str
    sandbox_id: str
    tables: tuple[str, ...]  #: of the lake


def give(change: Transaction, order: Order) -> None:
    """Store an order."""
    change.put(ORDERS, [(order.id, msgspec.json.encode(order))])


def is_given(control: Reading, order_id: str) -> bool:
    """Return whether the order was stored."""
    return control.get(ORDERS, order_id) is not None


def is_done(state: Reading, order_id: str) -> bool:
    """Return whether the order is carried out."""
    return state.get(DONE, order_id) is not None


def mark_done(change: Transaction, order: Order) -> None:
    """Note that the order is carried out."""
    change.put(DONE, [(order.id, b"")])


def pending(control: Reading, state: Reading) -> Sequence[Order]:
    """Return the orders that are not carried out yet, oldest first."""
    orders = control.scan(ORDERS)
    done: Mapping[str, bytes] = state.get_many(DONE, [key for key, _ in orders]) if orders else {}
    return [msgspec.json.decode(body, type=Order) for key, body in orders if key not in done]
