"""One safeguard removed: a patch of the real code, made at run time and taken back.

The mutations live beside the tests and not in ``paxosd.sim``: the shipped package has no code
that can switch its own safeguards off, not even by mistake.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from inspect import Parameter, signature
from types import ModuleType
from typing import Any
from unittest.mock import patch

Owner = type | ModuleType
_ANY = {Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD}


class Patches:
    """Collects the patches of one mutation; :meth:`Mutation.applied` takes them back."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack

    def replace(self, owner: Owner, name: str, make: Callable[[Any], Any]) -> None:
        """``owner.name`` becomes ``make(what it was)``; AttributeError if there is no such name,
        so that a mutation of code that has moved is noticed; TypeError if what comes in its place
        cannot be called as it was, for that run would fail, whatever the checks see."""
        original = getattr(owner, name)
        made = make(original)
        check_calls(owner, name, original, made)
        self._stack.enter_context(patch.object(owner, name, made))


def check_calls(owner: Owner, name: str, original: Any, made: Any) -> None:
    """Raises TypeError unless ``made`` takes what ``original`` takes: all of its parameters, given
    by place where that may be, and as few as may be."""
    if not callable(original) or isinstance(original, type):
        return
    bound = made.__get__(None, owner) if isinstance(made, classmethod | staticmethod) else made
    wanted, taken = signature(original), signature(bound)
    full = [each for each in wanted.parameters.values() if each.kind not in _ANY]
    least = [each for each in full if each.default is Parameter.empty]
    for parameters in (full, least):
        places = [each for each in parameters if each.kind is not Parameter.KEYWORD_ONLY]
        named = {each.name: 0 for each in parameters if each.kind is Parameter.KEYWORD_ONLY}
        try:
            taken.bind(*places, **named)
        except TypeError as error:
            raise TypeError(f"what replaces {owner.__name__}.{name}: {error}") from None


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
