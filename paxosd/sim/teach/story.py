"""The parts of which the story of a lesson is made, besides the steps of the narrator."""

from dataclasses import dataclass

from paxosd.sim.teach.narrator import Step


@dataclass(frozen=True, slots=True)
class Act:
    """A heading."""

    title: str


@dataclass(frozen=True, slots=True)
class Remark:
    """What the script does to the world, or a word to the reader."""

    text: str


@dataclass(frozen=True, slots=True)
class Check:
    """A claim that was put to the test, and held."""

    text: str


@dataclass(frozen=True, slots=True)
class Table:
    """A look at the state."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


Part = Act | Remark | Step | Check | Table
