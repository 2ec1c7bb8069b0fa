"""One judgement of a history: every checker is asked, and the worst verdict counts.

    judge(history, final, alone=True)  →  Judgement(linearizable, exactly_once, ages)

Simulated runs, campaigns on real processes and ``paxosctl fault run`` are all judged here.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from paxosd.check.ages import StatedAge, check_ages
from paxosd.check.exactly_once import FinalRow, check_exactly_once
from paxosd.check.history import Operation
from paxosd.check.linearizability import check_linearizable
from paxosd.check.shared_keys import split_shared
from paxosd.check.verdict import Verdict, worst


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """The verdicts on one history; None where what a checker needs is not known.

    ``exactly_once`` needs the final state, ``ages`` what nodes stated about the age of their state.
    """

    linearizable: Verdict
    """Of every key by itself, of the keys that transactions share (``transactions.py``), and of
    the whole store by its revisions (``total_order.py``)."""
    exactly_once: Verdict | None = None
    ages: Verdict | None = None

    @property
    def verdict(self) -> Verdict:
        """The worst verdict; among equals: exactly once, linearizable, ages."""
        verdicts = (self.exactly_once, self.linearizable, self.ages)
        return worst(each for each in verdicts if each is not None)

    @property
    def ok(self) -> bool:
        """Whether every checker that was asked could check everything and found no violation."""
        return self.verdict.ok

    def lines(self) -> list[str]:
        """For people: a line for each checker that was asked."""
        named = {
            "linearizable": self.linearizable,
            "exactly once": self.exactly_once,
            "ages": self.ages,
        }
        return [
            f"{name}: {verdict.status}: {verdict.explanation}"
            for name, verdict in named.items()
            if verdict is not None
        ]


def judge(
    operations: Iterable[Operation],
    final: Mapping[bytes, FinalRow | None] | None,
    *,
    alone: bool = False,
    others: Collection[int] = (),
    ages: Iterable[StatedAge] | None = None,
) -> Judgement:
    """Ask all checkers about a history.

    ``final``: each key as it was at the end (None: there was no such key); None if the final state
    could not be read. ``alone``: the history holds every write that the store ever had, from an
    empty store on, except for those that made the revisions ``others``, on keys of their own.
    ``ages``: what nodes stated; None if they were not asked. Of keys that transactions share only
    the first verdict is given: read them once all is over, as a part of the history.
    """
    held = list(operations)
    plain, objects = split_shared(held)
    apart = {key for one in objects for key in one.keys}
    if final is not None:
        final = {key: row for key, row in final.items() if key not in apart}
    return Judgement(
        linearizable=check_linearizable(held, alone=alone, others=others),
        exactly_once=None if final is None else check_exactly_once(plain, final),
        ages=None if ages is None else check_ages(plain, ages),
    )
