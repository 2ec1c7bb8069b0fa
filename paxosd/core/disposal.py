"""Lets large things go little by little: a million objects freed at once stall the loop."""

from collections.abc import Iterable
from typing import Any


class Disposal:
    """Lists and dicts that are not needed any more, none of them large. The caller keeps no
    reference, so that each is freed when its turn comes."""

    __slots__ = ("rest",)

    def __init__(self) -> None:
        self.rest: list[Any] = []
        """What is left."""

    def add(self, containers: Iterable[Any]) -> None:
        """Free these some time."""
        self.rest += containers

    def advance(self, items_max: int) -> None:
        """Free about so many items, in whole containers."""
        rest = self.rest
        while rest and items_max > 0:
            items_max -= 1 + len(rest.pop())
