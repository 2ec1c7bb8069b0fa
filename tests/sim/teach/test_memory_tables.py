"""Every table of what the nodes hold is possible in Paxos, in every lesson."""

import pytest

from paxosd.core.types import Ballot
from paxosd.sim.teach.narrator import Step
from paxosd.sim.teach.story import Act, Table
from paxosd.sim.teach.teach import NAMES
from tests.sim.teach.plays import played

ALL_LESSONS = [(name, seed) for name in NAMES for seed in (1, 2)]


def tables_of(story):
    return [part for part in story.parts if isinstance(part, Table) and "promised" in part.columns]


def cell(row, columns, name):
    (at,) = [at for at, column in enumerate(columns) if column.startswith(name)]
    return row[at]


def voted(text):
    """ "2.n2: put x=1" → (ballot, value); None for "-"."""
    if text == "-":
        return None
    ballot, _, value = text.partition(": ")
    return Ballot.of_text(ballot), value


def check_table(table, *, disaster):
    """The invariants of "Paxos Made Simple" that one look at all nodes can check."""
    votes, learned, applied = {}, [], set()
    for row in table.rows:
        promised = Ballot.of_text(cell(row, table.columns, "promised"))
        accepted = voted(cell(row, table.columns, "accepted"))
        learned_there = voted(cell(row, table.columns, "learned"))
        value = cell(row, table.columns, "applied")
        if accepted is not None:
            assert accepted[0] <= promised, "P1a: nothing is accepted below or beyond a promise"
            votes.setdefault(accepted[0], []).append(accepted[1])
        if learned_there is not None:
            learned.append(learned_there)
        if value != "-":
            applied.add(value)
            assert learned_there is not None or accepted is not None, (
                "who applies has it from somewhere"
            )
            assert value in {each[1] for each in (learned_there, accepted) if each is not None}
    for values in votes.values():
        assert len(set(values)) == 1, "a ballot has one value"
    majority = len(table.rows) // 2 + 1
    chosen = {(ballot, values[0]) for ballot, values in votes.items() if len(values) >= majority}
    for ballot, value in chosen:
        later = {values[0] for other, values in votes.items() if other > ballot}
        assert later <= {value}, "P2: what was chosen is proposed for ever"
        assert disaster or applied <= {value}
        assert all(each == value for _, each in learned), "only what was chosen is learned"
    assert disaster or len(applied | {value for _, value in learned}) <= 1, "one value a slot"


@pytest.mark.parametrize(("name", "seed"), ALL_LESSONS)
def test_every_table_is_possible_in_paxos(name, seed):
    story = played(name, seed)
    assert story.failure == ""
    disaster = False
    for part in story.parts:
        if isinstance(part, Act):
            disaster = False
        elif isinstance(part, Step):
            disaster = disaster or part.text.startswith("DISASTER")
        elif isinstance(part, Table) and "promised" in part.columns:
            check_table(part, disaster=disaster)


def test_there_are_tables_to_check_and_the_check_bites():
    assert sum(len(tables_of(played(name))) for name in NAMES) >= 6
    columns = ("node", "is", "promised", "accepted in slot 2", "learned", "applied")
    for rows in (
        [("n1", "follower", "1.n1", "2.n2: put x=1", "-", "-")],  # what issue 10 saw
        [("n1", "follower", "2.n2", "2.n2: put x=1", "-", "-"),
         ("n2", "leader", "2.n2", "2.n2: put x=2", "-", "-")],
        [("n1", "follower", "2.n2", "-", "-", "put x=1")],
        [("n1", "follower", "1.n1", "1.n1: put x=1", "-", "-"),
         ("n2", "follower", "1.n1", "1.n1: put x=1", "-", "-"),
         ("n3", "leader", "2.n3", "2.n3: put x=2", "-", "-")],
    ):  # fmt: skip
        with pytest.raises(AssertionError):
            check_table(Table("", columns, tuple(rows)), disaster=False)
