"""Log time: how long the cluster has been running, according to the log. Sessions expire by it.

Since feature level 1 it is a *stopwatch*: a batch carries the ballot that its leader led with and
how long it had led, by a monotonic clock; applying it adds what has passed since the batch before
it of that reign.

    slot      40       41       42       43       44
    reign     3.n1     3.n1     5.n2     3.n1     5.n2
    elapsed   7000     7200     10       9900     260
    adds      …        200      0        0        250

Rules:

- The first batch of a reign adds nothing: how long no node led is not known. So log time may stand
  still for the length of an outage, and a session lives longer by that time; it never ends early.
- A batch of an earlier reign than the latest in the log adds nothing, and does not stop the watch
  of the latest. An old leader that resumes from a pause may have batches that a new leader adopts,
  far apart on its clock and behind the new reign's own: what passed between them has been counted
  by the new reign. (To compare with the slot before alone, as ``shared/NEXT.md`` has it, counts it
  twice when two of them stand side by side.)
- So log time runs no faster than true time, except for the drift of one oscillator, whatever a
  wall clock shows. Nor is anything counted twice between two reigns: a leader stamps 0 until it has
  applied the first batch of its own (``Replication``). What an old leader measured in slots below
  that was proposed before this moment; in slots above it adds nothing.
- At level 0 the older rule holds: log time is the highest wall clock of a batch so far. The switch
  keeps what was reached and counts on from there: only differences matter. A batch
  without a reign (proposed before its leader had applied the raise) adds nothing at level 1.
"""

from paxosd.core.commands import Batch, Reign

NUMBER_MAX = (1 << 63) - 1
NO_REIGN = Reign(0, "", 0)


class LogClock:
    """``now_ms``: log time; it never goes backward. ``reign``: the latest in the log so far, as
    its last batch had it."""

    __slots__ = ("now_ms", "reign")

    def __init__(self, now_ms: int = 0, reign: Reign = NO_REIGN) -> None:
        self.now_ms = now_ms
        self.reign = reign

    def advance(self, batch: Batch, level: int) -> None:
        """Take the time of the next batch in the log. ``level``: the one in force for it."""
        reign = batch.reign
        if reign is not None:
            self._count(reign)
        elif level == 0 and type(batch.stamp_ms) is int:
            self.now_ms = max(self.now_ms, batch.stamp_ms)

    def is_past(self, batch: Batch) -> bool:
        """Whether this batch, whose time was taken, is of an earlier reign than the latest in the
        log, or of none: when it was proposed is not known then."""
        return batch.reign is None or batch.reign[:2] != self.reign[:2]

    def _count(self, reign: Reign) -> None:
        latest = self.reign
        ballot, latest_ballot = reign[:2], latest[:2]
        if ballot > latest_ballot:
            self.reign = reign
        elif ballot == latest_ballot and reign.elapsed_ms > latest.elapsed_ms:
            self.now_ms = min(NUMBER_MAX, self.now_ms + reign.elapsed_ms - latest.elapsed_ms)
            self.reign = reign
