"""What a proposer must keep: ballots are used once, phase 1 is won, and its outcome is heeded."""

from paxosctl.audit import kinds
from paxosctl.audit.facts import Facts
from paxosctl.audit.kinds import key
from paxosctl.audit.rule import Rule
from paxosctl.audit.run import Handler, Run


class BallotsOnce(Rule):
    """Each campaign of a node has a higher ballot than all before it."""

    name = "ballots"
    title = "a node's ballots rise, and none is used twice"
    source = "Lamport, Paxos Made Simple, 2.2 and 2.5: different proposals have different numbers"
    unit = "campaigns"

    def __init__(self, facts: Facts) -> None:
        super().__init__(facts)
        self._last: dict[int, tuple[int, int, int, int]] = {}
        """Rank → the last ballot, where, in which run, out of which directory."""
        self._used: dict[int, int] = {}

    def handlers(self) -> dict[int, Handler]:
        return {key(kinds.PREPARE, kinds.SENT): self._sent}

    def _sent(
        self, run: Run, at_us: int, peer: int, ballot: int, slot: int, x: int, y: int
    ) -> None:
        last, where, number, directory = self._last.get(run.rank, (0, 0, -1, 0))
        if ballot == last and number == run.number:
            return
        self.report.checked += 1
        used = self._used.setdefault(ballot, run.where)
        shown = self.facts.shown(ballot)
        if used != run.where:
            self.break_(f"{run.node} campaigns with {shown} a second time", used, run.where)
        elif ballot < last and directory == run.directory:
            higher = self.facts.shown(last)
            text = f"{run.node} campaigns with {shown} after {higher}"
            self.break_(text, where, run.where)
        self._last[run.rank] = max(last, ballot), run.where, run.number, run.directory


class _Campaign:
    """What the promises of one ballot said."""

    __slots__ = ("adopted", "bits", "floor", "floor_at", "places", "sure")

    def __init__(self, *, sure: bool) -> None:
        self.bits = 0
        self.floor = 0
        self.floor_at = 0
        self.adopted: dict[int, tuple[int, set[int]]] = {}
        """Slot → the highest ballot that was reported, and the digests at it."""
        self.places: dict[int, int] = {}
        self.sure = sure


class LeadsByPromises(Rule):
    """Shared by the two rules about phase 1: it gathers what a candidate heard."""

    name = "leads-by-quorum"
    title = "a leader leads only after a quorum has promised"
    source = "Lamport, Paxos Made Simple, 2.2: phase 2a; Howard et al., Flexible Paxos, 3"
    unit = "reigns"

    def __init__(self, facts: Facts) -> None:
        super().__init__(facts)
        self.campaigns: dict[int, _Campaign] = {}
        self._reporting: tuple[int, _Campaign] | None = None
        self._begun: set[int] = set()

    def handlers(self) -> dict[int, Handler]:
        return {
            key(kinds.PREPARE, kinds.SENT): self._campaign,
            key(kinds.PROMISE, kinds.RECEIVED): self._promise,
            key(kinds.ADOPTED, kinds.RECEIVED): self._row,
            key(kinds.ACCEPT, kinds.SENT): self._propose,
            key(kinds.HEARTBEAT, kinds.SENT): self._lead,
        }

    def begin(self, run: Run) -> None:
        self.campaigns.clear()
        self._begun.clear()
        self._reporting = None

    def gap(self, run: Run) -> None:
        self._reporting = None
        for campaign in self.campaigns.values():
            campaign.sure = False

    def _campaign(
        self, run: Run, at_us: int, peer: int, ballot: int, slot: int, x: int, y: int
    ) -> None:
        if ballot not in self.campaigns:
            if len(self.campaigns) > 64:
                del self.campaigns[min(self.campaigns)]
            self.campaigns[ballot] = _Campaign(sure=run.started)

    def _promise(
        self, run: Run, at_us: int, peer: int, ballot: int, slot: int, x: int, y: int
    ) -> None:
        campaign = self.campaigns.get(ballot)
        self._reporting = None
        if campaign is None or ballot in self._begun:
            return
        if not y >> kinds.PARTIAL_BIT:
            campaign.bits |= 1 << peer
        if x > campaign.floor:
            campaign.floor, campaign.floor_at = x, run.where
        self._reporting = ballot, campaign

    def _row(self, run: Run, at_us: int, peer: int, ballot: int, slot: int, x: int, y: int) -> None:
        if self._reporting is None:
            return
        campaign = self._reporting[1]
        held = campaign.adopted.get(slot)
        if held is None or held[0] < ballot:
            campaign.adopted[slot] = ballot, {y + 1}
            campaign.places[slot] = run.where
        elif held[0] == ballot:
            held[1].add(y + 1)

    def _lead(
        self, run: Run, at_us: int, peer: int, ballot: int, slot: int, x: int, y: int
    ) -> None:
        """Its first heartbeat with a ballot of its own says that it leads."""
        if ballot & 0xFF == run.rank and ballot not in self._begun:
            self._propose(run, at_us, peer, ballot, slot, x, y)

    def _propose(
        self, run: Run, at_us: int, peer: int, ballot: int, slot: int, x: int, y: int
    ) -> None:
        if ballot in self._begun:
            return
        self._begun.add(ballot)
        campaign = self.campaigns.get(ballot)
        quorum = self.facts.quorum(ballot)
        shown = self.facts.shown(ballot)
        if campaign is None:
            if quorum is not None and quorum[1] == 1 and quorum[0] & run.bit:
                self.report.checked += 1  # its own promise is a quorum: it asks nobody
            elif run.whole and run.started and quorum is not None:
                self.report.checked += 1
                text = f"{run.node} leads at {shown}, for which it never campaigned"
                self.break_(text, run.where)
            else:
                self.report.skip(f"the campaigns of {run.node} are not in its recording")
        elif not campaign.sure:
            self.report.skip(f"events of {run.node} are missing in a campaign")
        elif quorum is None:
            epoch = (ballot >> 8) // 1_000_000_000
            self.report.skip(f"the members of epoch {epoch} are not known")
        else:
            self.report.checked += 1
            voters, phase1, _ = quorum
            own = run.bit if ballot in run.promised_at else 0
            heard = (campaign.bits | own) & voters
            if heard.bit_count() < phase1:
                self.break_(
                    f"{run.node} leads at {shown} with the promises of "
                    f"{self.facts.named(heard)} alone; {phase1} of "
                    f"{self.facts.named(voters)} are needed",
                    run.where,
                )


class AdoptsHighest(Rule):
    """A leader proposes what phase 1 reported, and nothing where it reported a choice."""

    name = "adopts-highest"
    title = "a leader proposes the reported value of the highest ballot"
    source = "Lamport, Paxos Made Simple, 2.2: P2c"
    unit = "proposals"

    def __init__(self, facts: Facts, phase1: LeadsByPromises) -> None:
        super().__init__(facts)
        self._phase1 = phase1

    def handlers(self) -> dict[int, Handler]:
        return {key(kinds.ACCEPT, kinds.SENT): self._propose}

    def _propose(
        self, run: Run, at_us: int, peer: int, ballot: int, slot: int, x: int, y: int
    ) -> None:
        campaign = self._phase1.campaigns.get(ballot)
        if campaign is None or not campaign.sure:
            self.report.skip(f"the campaigns of {run.node} are not in its recording")
            return
        self.report.checked += 1
        adopted = campaign.adopted.get(slot)
        if adopted is not None:
            if y + 1 not in adopted[1] and not self._own(run, ballot, slot, y + 1, adopted[0]):
                self.break_(
                    f"{run.node} proposes another value in slot {slot} at "
                    f"{self.facts.shown(ballot)} than the one that was reported to it at "
                    f"{self.facts.shown(adopted[0])}",
                    campaign.places[slot],
                    run.where,
                )
            return
        if slot <= campaign.floor:
            self.break_(
                f"{run.node} proposes in slot {slot} at {self.facts.shown(ballot)}, though a "
                f"promise said that all slots up to {campaign.floor} are chosen",
                campaign.floor_at,
                run.where,
            )

    def _own(self, run: Run, ballot: int, slot: int, digest: int, above: int) -> bool:
        """Whether the leader's own vote, at a higher ballot than all reported ones, was for it, or
        may have been."""
        for other, votes in self.facts.ballots.items():
            if above < other < ballot and votes.values.get(slot) == digest:
                return True
        return not self.facts.covers(run.rank, slot) and not (run.first and run.whole)
