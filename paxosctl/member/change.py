"""A change of the membership carried out: submitted, and waited for until it has taken effect.

    submit ──► decided in a slot ──► wait_in_force: a leader of the new epoch
      └─ another was faster: reported, with what it changed
    wait_for ──► a node's status shows it: caught up, memory whole

Each wait ends by itself once there is no more progress. An interrupted wait undoes nothing: the
cluster goes on, and the same command, given again, continues from there.
"""

import math
import sys
from collections.abc import Callable, Iterator

from paxosctl.cli.streams import is_terminal, say
from paxosctl.cli.survey import leader_of, statuses_of
from paxosctl.client.client import Client
from paxosctl.client.errors import ClientError, OutcomeUnknownError, RefusedError
from paxosctl.member.plan import differences
from paxosctl.member.probe import Present, look
from paxosd.core.commands import Status
from paxosd.core.membership import Membership
from paxosd.core.status import NodeStatus
from paxosd.host.clock import clock_ms

POLL_MS = 100
SETTLE_MS = 20_000
"""A leader of the new epoch has to be there within this."""
STALL_MS = 30_000
"""A node that gets no further for so long is not waited for."""


class StepError(Exception):
    """The change was not made, or not all of it; the text says how far it got."""


class Progress:
    """One line on a terminal, written anew each time; nothing where there is no terminal."""

    def __init__(self, shown: bool) -> None:
        self._shown = shown and is_terminal(sys.stderr)
        self._width = 0

    def show(self, text: str) -> None:
        """Write the line, in the place of the one before."""
        if self._shown:
            say(f"\r{text.ljust(self._width)}", newline=False, keep="\r")
            self._width = len(text)

    def clear(self) -> None:
        """Remove the line."""
        if self._shown and self._width:
            say(f"\r{' ' * self._width}\r", newline=False, keep="\r")
            self._width = 0


class Steps:
    """The steps of a change of one cluster. ``progress``: where waiting is shown."""

    def __init__(self, client: Client, progress: Progress) -> None:
        self._client = client
        self._progress = progress

    def submit(self, before: Membership, after: Membership) -> Membership:
        """Have the log decide for ``after``; returns it as it is in force. Raises StepError if
        another change came first, ClientError."""
        try:
            found = self._client.change_members(before.epoch, after.to_command())
        except OutcomeUnknownError as error:
            return self._settle(before, after, error)
        if found.status == Status.OK:
            return Membership.from_command(after.to_command(), found.epoch, found.slot)
        if found.status == Status.CAS_MISS:
            return self._settle(before, after, None)
        raise RefusedError("malformed", "the cluster says that this is no membership")

    def _settle(
        self, before: Membership, after: Membership, error: OutcomeUnknownError | None
    ) -> Membership:
        """Find out whether the answer was lost on the way, or another change was faster."""
        now = look(self._client).membership
        if now.epoch == after.epoch and now.document() == after.document():
            return now
        if now.epoch > after.epoch and _includes(now, before, after):
            return now  # the daemons themselves may change something right behind it
        if error is not None and now.epoch <= before.epoch:
            raise OutcomeUnknownError(
                0, 0, f"{error}; `paxosctl member list` shows whether it was made", error.troubles
            ) from error
        made = "; ".join(differences(before, now))
        words = f": {made}" if made else ""
        if now.epoch > after.epoch:
            # This one was asked for again and again until it was answered: it may be among them.
            raise OutcomeUnknownError(
                0,
                0,
                "the outcome is unknown, for other changes were made as well (epoch "
                f"{now.epoch} instead of {before.epoch}){words}; look at `paxosctl member list`",
            )
        raise StepError(
            f"nothing was done, for another change was faster (epoch {now.epoch} instead of "
            f"{before.epoch}){words}. Look at `paxosctl member list`, and try again"
        )

    def wait_in_force(self, membership: Membership) -> Present:
        """Until a leader of its epoch is there. Raises StepError."""
        for present in self._looks():
            if present is not None and _leading_epoch(present) >= membership.epoch:
                self._progress.clear()
                return present
            self._progress.show("waiting for a leader under the new membership")
        self._progress.clear()
        raise StepError(
            f"the change is made (epoch {membership.epoch}, from slot {membership.slot} on), but "
            f"no leader under it was seen within {SETTLE_MS // 1000} s; `paxosctl status "
            "--cluster` shows which nodes are missing"
        )

    def wait_for(
        self,
        name: str,
        done: Callable[[Present, NodeStatus], bool],
        doing: str,
        advice: str,
    ) -> Present:
        """Until ``done(present, status of the node)``. Raises StepError with ``advice`` when the
        node comes no closer for STALL_MS. Its slot alone would not show that: under load the leader
        may move on as fast as the node does."""
        best: tuple[float, str] = (math.inf, "")
        until_ms = clock_ms() + STALL_MS
        status = None
        while clock_ms() < until_ms:
            present = self._look()
            status = present.status(name) if present is not None else None
            if present is None or status is None:
                self._progress.show(f"{name} {doing}: it does not answer")
            elif done(present, status):
                self._progress.clear()
                return present
            else:
                behind = present.behind(status)
                top = status.applied + behind
                self._progress.show(f"{name} {doing}: slot {status.applied} of {top}")
                fetching = status.snapshot.fetching if status.snapshot is not None else ""
                if behind < best[0] or fetching != best[1]:
                    best, until_ms = (min(behind, best[0]), fetching), clock_ms() + STALL_MS
            self._client.pause(POLL_MS)
        self._progress.clear()
        how = "does not answer" if status is None else "comes no closer"
        raise StepError(f"{name} {how}, and was not waited for any longer; {advice}")

    def wait_leader(self, old: str, name: str) -> str:
        """Until another node than ``old`` leads, and it is ``name`` unless that is ""; the name of
        the leader. Raises StepError."""
        leader = ""
        for present in self._looks():
            leader, _ = leader_of(present.views) if present is not None else ("", "")
            if leader and (leader == name if name else leader != old):
                return leader
        who = f"{leader} leads" if leader else "nobody leads"
        raise StepError(f"{name or 'another node'} did not take over: {who}")

    def _looks(self) -> Iterator[Present | None]:
        """One look after another, for SETTLE_MS."""
        until_ms = clock_ms() + SETTLE_MS
        while clock_ms() < until_ms:
            yield self._look()
            self._client.pause(POLL_MS)

    def _look(self) -> Present | None:
        try:
            return look(self._client)
        except ClientError:
            return None


def _includes(now: Membership, before: Membership, after: Membership) -> bool:
    """Whether all that ``after`` changes in ``before`` is so now, whatever else has changed."""
    sizes = (now.phase1, now.phase2) == (after.phase1, after.phase2)
    return sizes and all(
        now.members.get(name) == after.members.get(name)
        for name in before.members.keys() | after.members.keys()
        if before.members.get(name) != after.members.get(name)
    )


def _leading_epoch(present: Present) -> int:
    """The latest epoch of which a leader is known; -1: of none."""
    known = statuses_of(present.views)
    return max((status.ballot.epoch for status in known if status.leader), default=-1)
