"""One change of the membership at the command line, from the first look to the last line.

@change("remove") ─► open_session ── look ──► judge ──► allow ──► carry_out ──► show
                                                │         └─ --dry-run, or stopped: exit code 1
                                                └─ no such member: exit code 2
"""

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, NoReturn

import click

from paxosctl.cli.app import Settings, negative, verb
from paxosctl.cli.render import View
from paxosctl.cli.tables import explain
from paxosctl.client.client import Client
from paxosctl.client.errors import ClientError, for_the_leader
from paxosctl.member.change import Progress, StepError, Steps
from paxosctl.member.plan import Contact, Findings, Plan, PlanError, differences, known, plan
from paxosctl.member.probe import Newcomer, interview, look, try_links
from paxosctl.member.view import plan_view
from paxosd.core.membership import Member, Membership


@dataclass(frozen=True, slots=True)
class ChangeOptions:
    """The options that all changes share."""

    dry_run: bool
    force: bool
    wait: bool


_OPTIONS = (
    click.option("--dry-run", is_flag=True,
                 help="Show what would be done and what speaks against it; change nothing."),
    click.option("--force", is_flag=True, help="Go on where a check would stop the change."),
    click.option("--wait/--no-wait", default=True,
                 help="Whether to wait until the change has taken effect.  [default: wait]"),
)  # fmt: skip


def change(name: str, *, force: bool = True) -> Callable[[Callable[..., Any]], click.Command]:
    """A verb that changes something: it gets Settings, ChangeOptions, and its own arguments."""

    def decorate(function: Callable[..., Any]) -> click.Command:
        @functools.wraps(function)
        def run(settings: Settings, dry_run: bool, wait: bool, **more: Any) -> None:
            options = ChangeOptions(dry_run, more.pop("force", False), wait)
            function(settings, options, **more)

        decorated: Callable[..., Any] = run
        for option in reversed(_OPTIONS if force else _OPTIONS[::2]):
            decorated = option(decorated)
        return verb(name)(decorated)

    return decorate


class ChangeSession:
    """A connection to the cluster, and what the cluster looks like now (``present``)."""

    def __init__(self, settings: Settings, options: ChangeOptions, client: Client) -> None:
        self._settings = settings
        self.options = options
        self._client = client
        self._table = settings.output == "table"
        self.steps = Steps(client, Progress(self._table))
        self.present = look(client)
        if not self.present.membership.members:
            negative(
                "the nodes that were asked do not know who is a member yet; ask a member of the "
                "running cluster with --endpoints"
            )

    @property
    def membership(self) -> Membership:
        return self.present.membership

    def meet(self, name: str, contact: Contact | None = None) -> Newcomer:
        """Ask a node about itself, and try which members reach it. ``contact``: where it is asked;
        None: where the membership says."""
        member = known(self.membership, name) if contact is None else Member(*contact)
        timeout_s = self._settings.timeout_s
        credentials = self._client.credentials
        if credentials is not None:
            with suppress(ClientError):  # an older node has no such table
                self._client.rights()  # by which the key of a node is known that is no member yet
        newcomer = interview(
            self.present, name, member, timeout_s=timeout_s, credentials=credentials
        )
        try_links(self._client, self.present, newcomer)
        return newcomer

    def judge(
        self,
        after: Membership,
        findings: Findings | None = None,
        *,
        joined_up: Sequence[str] = (),
        lost_up: Sequence[str] = (),
    ) -> Plan:
        """The plan for a change of the membership in force now. Ends the command if a finding
        blocks it."""
        findings = findings or Findings()
        made = plan(
            self.membership,
            after,
            self.present.up,
            joined_up=joined_up,
            lost_up=lost_up,
            findings=findings,
        )
        if findings.blockers:
            self._refuse(made, findings.blockers, "")
        return made

    def allow(self, made: Plan, *words: str, **extra: Any) -> bool:
        """Whether the plan is to be carried out; prints its warnings. A dry run ends with the view
        of the plan and ``words``; a change that is stopped ends with exit code 1."""
        self._warn(made.warnings)
        if made.stops and not self.options.force:
            self._refuse(made, made.stops, "--force goes on all the same", **extra)
        self._warn(made.stops)
        if self.options.dry_run:
            done = f"{made.what}; nothing was changed (--dry-run)"
            self.show(made, done, *words, dry_run=True, **extra)
        return not self.options.dry_run

    def carry_out(self, made: Plan) -> Membership:
        """Submit it and, unless ``--no-wait`` is given, wait until it is in force."""
        after = self.steps.submit(self.membership, made.after)
        if self.options.wait:
            self.present = self.steps.wait_in_force(after)
        return after

    def finish(self, made: Plan, words: str = "", **extra: Any) -> None:
        """Carry it out unless something speaks against it, and show it with ``words`` for what is
        so then ("": what was changed)."""
        if not differences(made.before, made.after):
            self.show(made, "it is so already; nothing was changed")
        elif self.allow(made, **extra):
            self.show(made, f"{words or made.what}: {since(self.carry_out(made))}", **extra)

    def give_vote(
        self, name: str, vote: Callable[[Membership, str, int], Membership], advice: str
    ) -> Membership:
        """Wait until a learner has caught up, and then carry out ``vote(membership, name, directory
        id)``. Raises StepError with ``advice`` if it does not catch up."""
        self.present = self.steps.wait_for(
            name, lambda present, status: present.caught_up(status), "catches up", advice
        )
        status = self.present.status(name)
        directory_id = status.directory_id if status is not None else 0
        made = self.judge(vote(self.membership, name, directory_id), joined_up=[name])
        self.allow(made)
        return self.carry_out(made)

    def transfer(self, name: str, endpoint: str) -> None:
        """Have the leader, at ``endpoint``, hand over."""
        with for_the_leader(endpoint, "it alone can hand over"):
            self._client.transfer_leader(name, endpoint)

    def show(self, made: Plan, *words: str, **extra: Any) -> None:
        self._settings.show(plan_view(made, words, **extra))

    def refuse_later(self, made: Plan, why: str, *words: str, **extra: Any) -> NoReturn:
        """End with exit code 1 because a part of the change is still to come; ``words`` for people
        say how to go on."""
        if words and self._table:
            self.show(made, *words)
        negative(why, plan_view(made, [], **extra))

    def _refuse(self, made: Plan, reasons: Sequence[str], advice: str, **extra: Any) -> NoReturn:
        if self._table:
            self.show(made)
        words = "\n  ".join([f"not done ({made.what}):", *reasons, *([advice] if advice else [])])
        data = {"dry_run": self.options.dry_run, "not_done": list(reasons)} | extra
        negative(words, plan_view(made, [], **data))

    def _warn(self, lines: Sequence[str]) -> None:
        if self._settings.output != "json":
            for line in lines:
                explain(f"paxosctl: warning: {line}")


@contextmanager
def open_session(settings: Settings, options: ChangeOptions) -> Iterator[ChangeSession]:
    """For one verb. A change that no cluster can make ends as wrong usage (exit code 2), one that
    did not come about with exit code 1."""
    with settings.client() as client:
        try:
            yield ChangeSession(settings, options, client)
        except PlanError as error:
            raise click.UsageError(str(error)) from None
        except StepError as error:
            negative(str(error), View(data={"not_done": [str(error)]}, plain=b""))


def since(after: Membership) -> str:
    """From when on a membership is in force."""
    return f"epoch {after.epoch}, in force from slot {after.slot} on"
