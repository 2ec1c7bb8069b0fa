"""The rule of the quota, checked at every slot on every node: a store never grows beyond it.

quota    what a node counts is what its entries come to, however it got its state; a slot
         leaves the visible keys within the quota that is in force, or with no more than before
"""

from paxosd.core.state.kv import Store
from paxosd.core.state.machine import Machine
from paxosd.core.state.quota import bytes_of
from paxosd.core.types import NodeId, Slot
from paxosd.sim.cluster.violation import Violation


def visible_bytes(store: Store) -> int:
    """What the keys that live count, key by key."""
    held = [(key, store.data.packed(key)) for key in store.data if store.get(key) is not None]
    return sum([bytes_of(key, packed) for key, packed in held if packed is not None])


def check_quota(name: NodeId, slot: Slot, machine: Machine, limit: int, before: int) -> None:
    """After a slot: ``limit`` was in force when it was applied to keys that counted ``before``."""
    check_count(name, slot, machine)
    after = visible_bytes(machine.store)
    if after > max(limit, before):
        raise Violation(
            "quota",
            f"slot {slot} brought {name} from {before} to {after} bytes; the quota is {limit}",
        )


def check_count(name: NodeId, slot: Slot, machine: Machine) -> None:
    """What the node counts is what is there, with what is hidden until it is taken out."""
    store = machine.store
    packed = [(key, store.data.packed(key)) for key in store.data]
    there = sum([bytes_of(key, entry) for key, entry in packed if entry is not None])
    if store.quota.held_bytes != there:
        raise Violation(
            "quota",
            f"after slot {slot} {name} counts {store.quota.held_bytes} bytes, and has {there}",
        )
