"""One safeguard removed: patches of the real code, made at run time and taken back.

Each mutation is one row of a table (``mutations_*.py``); ``mutation_tables.py`` has all of them.
They stand beside the tests and not in ``paxosd.sim``: the shipped package has no code that can
switch off its own safeguards, not even by mistake.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from inspect import Parameter, Signature, getattr_static, signature
from types import ModuleType
from typing import Any
from unittest.mock import patch

Owner = type | ModuleType
_ANY = {Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD}


@dataclass(frozen=True, slots=True)
class Patch:
    """``owner.name`` becomes ``make(the original)``."""

    owner: Owner
    name: str
    make: Callable[[Any], Any]

    @property
    def where(self) -> str:
        """What it replaces, in short: ``Class.method``."""
        return f"{self.owner.__name__.rpartition('.')[2]}.{self.name}"

    def made(self) -> Any:
        """What is put in place of the original. Raises AttributeError if there is no such name, so
        that a mutation of code that was moved is noticed; TypeError if the replacement cannot be
        called like the original: every run would fail then, whatever the checks see."""
        original = getattr_static(self.owner, self.name)
        made = self.make(original)
        check_calls(self.owner, self.name, original, made)
        return made


def instead(owner: Owner, name: str, value: Any) -> Patch:
    """``value`` in place of ``owner.name``."""
    return Patch(owner, name, lambda original: value)


def around(owner: Owner, name: str, function: Callable[..., Any]) -> Patch:
    """``function(original, *arguments)`` is called in place of the function ``owner.name``."""

    def make(original: Any) -> Any:
        inner = original.__func__ if isinstance(original, classmethod) else original

        def replaced(*arguments: Any, **named: Any) -> Any:
            return function(inner, *arguments, **named)

        _, *rest = signature(function).parameters.values()
        replaced.__signature__ = Signature(rest)  # type: ignore[attr-defined]  # inspect reads it
        return classmethod(replaced) if isinstance(original, classmethod) else replaced

    return Patch(owner, name, make)


def nothing(*_: object, **__: object) -> None:
    """In place of a method that acts."""


def check_calls(owner: Owner, name: str, original: Any, made: Any) -> None:
    """Raises TypeError unless ``made`` takes what ``original`` takes: all of its parameters, by
    position where that is allowed, and only those without a default."""
    original, made = _bound(owner, original), _bound(owner, made)
    if not callable(original) or isinstance(original, type):
        return
    wanted, taken = signature(original), signature(made)
    full = [each for each in wanted.parameters.values() if each.kind not in _ANY]
    least = [each for each in full if each.default is Parameter.empty]
    for parameters in (full, least):
        places = [each for each in parameters if each.kind is not Parameter.KEYWORD_ONLY]
        named = {each.name: 0 for each in parameters if each.kind is Parameter.KEYWORD_ONLY}
        try:
            taken.bind(*places, **named)
        except TypeError as error:
            raise TypeError(f"what replaces {owner.__name__}.{name}: {error}") from None


def _bound(owner: Owner, found: Any) -> Any:
    return found.__get__(None, owner) if isinstance(found, classmethod | staticmethod) else found


@dataclass(frozen=True, slots=True)
class Mutation:
    """One safeguard, and how it is removed.

    ``removes``: the safeguard, in words. ``where``: the code that keeps it. ``profiles``: the kinds
    of runs that put pressure on it (``mutation_runs.py``), tried in this order. ``first_seed``:
    known to catch it under the first of these. ``in_suite``: whether the test suite tries it, too,
    and not the campaign alone.
    """

    name: str
    removes: str
    where: str
    patches: tuple[Patch, ...]
    profiles: tuple[str, ...] = ("storm",)
    first_seed: int = 1
    in_suite: bool = False

    def applied(self) -> AbstractContextManager[None]:
        """The safeguard is gone, in this process, until the end of the block."""
        return applied(*self.patches)


@contextmanager
def applied(*patches: Patch) -> Iterator[None]:
    """All of these patches are in place until the end of the block."""
    with ExitStack() as stack:
        for each in patches:
            stack.enter_context(patch.object(each.owner, each.name, each.made()))
        yield


def row(
    name: str,
    removes: str,
    *patches: Patch,
    where: str = "",
    profiles: str = "storm",
    seed: int = 1,
    in_suite: bool = False,
) -> Mutation:
    """One row of a table; ``profiles``: their names, separated by blanks; ``where``: if that is not
    what the first patch replaces."""
    where = where or patches[0].where
    return Mutation(name, removes, where, patches, tuple(profiles.split()), seed, in_suite)
