"""How long requests took at this node, and where a write spent its time: for ``/metrics``.

    SlowRequests.answered ──► note(): by verb and outcome, each request
                          └─► note_stages(): queue, persist, quorum, apply, of some slots

The simulator runs the same code (``tests/sim/test_budget.py`` counts what it costs).
"""

from typing import Any

from paxosd.core.effects import ReadReady, Refusal, WriteReply
from paxosd.host.histogram import Histogram
from paxosd.replica.tokens import WriteToken

STAGED_EVERY = 7
"""The stages of one slot in so many are noted. No power of two, for what a node does every so many
slots (checksums) it does at powers of two."""
STAGES = ("queue", "persist", "quorum", "apply")
OK = "ok"


class RequestTimes:
    """Of one node, since its start. ``writes``, ``reads``: outcome → how long such requests took,
    from when they came to the core's answer; the outcome is ``ok`` or the code of the refusal.
    ``stages``: as :mod:`paxosd.replica.slow_requests` defines them. ``votes_repeated``: messages
    that peers sent because this node missed votes that they had published."""

    __slots__ = ("_read", "_written", "reads", "stages", "votes_repeated", "writes")

    def __init__(self) -> None:
        self._written, self._read = Histogram(), Histogram()
        self.writes = {OK: self._written}
        self.reads = {OK: self._read}
        self.stages = {stage: Histogram() for stage in STAGES}
        self.votes_repeated = 0

    def note(self, token: Any, answer: WriteReply | ReadReady | Refusal, took_ms: float) -> None:
        """A request has its answer."""
        kind = type(answer)
        if kind is WriteReply:
            times = self._written
        elif kind is ReadReady:
            times = self._read
        else:
            assert isinstance(answer, Refusal)
            table = self.writes if type(token) is WriteToken else self.reads
            if answer.code not in table:
                table[answer.code] = Histogram()
            times = table[answer.code]
        # As Histogram.note, without another call: every request comes here.
        took_us = int(took_ms * 1000.0)
        times.counts[took_us.bit_length()] += 1
        times.sum_us += took_us

    def note_stages(self, took_ms: tuple[float, ...]) -> None:
        """So long one slot's first write spent in each of STAGES."""
        for stage, each_ms in zip(STAGES, took_ms, strict=True):
            self.stages[stage].note(int(each_ms * 1000.0))
