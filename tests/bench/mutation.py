"""One safeguard removed: a patch of the real code, made at run time and taken back.

The mutations live beside the tests and not in ``paxosd.sim``: the shipped package has no code
that can switch its own safeguards off, not even by mistake.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any
from unittest.mock import patch

Owner = type | ModuleType


class Patches:
    """Collects the patches of one mutation; :meth:`Mutation.applied` takes them back."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack

    def replace(self, owner: Owner, name: str, make: Callable[[Any], Any]) -> None:
        """``owner.name`` becomes ``make(what it was)``; AttributeError if there is no such name,
        so that a mutation of code that has moved is noticed."""
        original = getattr(owner, name)
        self._stack.enter_context(patch.object(owner, name, make(original)))


@dataclass(frozen=True, slots=True)
class Mutation:
    """``removes``: which safeguard, in words. ``where``: the code that keeps it. ``profiles``:
    names of the kinds of runs that press on it (``mutation_runs.py``), tried in turn."""

    name: str
    removes: str
    where: str
    make: Callable[[Patches], None]
    profiles: tuple[str, ...] = ("storm",)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The safeguard is gone, in this process, until the end of the block."""
        with ExitStack() as stack:
            self.make(Patches(stack))
            yield


REGISTRY: dict[str, Mutation] = {}
"""Filled by the ``mutations_*`` modules."""


def mutation(
    name: str, removes: str, where: str, *, profiles: tuple[str, ...] = ("storm",)
) -> Callable[[Callable[[Patches], None]], Callable[[Patches], None]]:
    """Registers a function that makes the patches."""

    def register(make: Callable[[Patches], None]) -> Callable[[Patches], None]:
        assert name not in REGISTRY, name
        REGISTRY[name] = Mutation(name, removes, where, make, profiles)
        return make

    return register


def nothing(*_: object, **__: object) -> None:
    """In place of a method that acts."""
