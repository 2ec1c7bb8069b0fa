"""One change of the membership at the command line, from the look to the last word.

@change("remove") ─► desk ── look ──► judge ──► allow ──► carry_out ──► show
                                        │         └─ --dry-run, or stopped: exit code 1
                                        └─ no such member: exit code 2
"""

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NoReturn

import click

from paxosctl.cli.app import Settings, negative, verb
from paxosctl.cli.render import View
from paxosctl.cli.tables import explain
from paxosctl.client.client import Client
from paxosctl.client.errors import for_the_leader
from paxosctl.member.change import Progress, StepError, Steps
from paxosctl.member.plan import Contact, Plan, PlanError, known, plan
from paxosctl.member.probe import Findings, Newcomer, interview, look, try_links
from paxosctl.member.view import plan_view
from paxosd.core.membership import Member, Membership


@dataclass(frozen=True, slots=True)
class How:
    """The options that all changes share."""

    dry_run: bool
    force: bool
    wait: bool


_OPTIONS = (
    click.option("--dry-run", is_flag=True, help="Look and tell; change nothing."),
    click.option("--force", is_flag=True, help="Go on in spite of what would stop it."),
    click.option("--wait/--no-wait", default=True,
                 help="Whether to wait until it has taken effect.  [default: wait]"),
)  # fmt: skip


def change(name: str, *, force: bool = True) -> Callable[[Callable[..., Any]], click.Command]:
    """A verb that changes something: it gets Settings, How, and its own arguments."""

    def decorate(function: Callable[..., Any]) -> click.Command:
        @functools.wraps(function)
        def run(settings: Settings, dry_run: bool, wait: bool, **more: Any) -> None:
            function(settings, How(dry_run, more.pop("force", False), wait), **more)

        decorated: Callable[..., Any] = run
        for option in reversed(_OPTIONS if force else _OPTIONS[::2]):
            decorated = option(decorated)
        return verb(name)(decorated)

    return decorate


class Desk:
    """A connection to the cluster and what it looks like now."""

    def __init__(self, settings: Settings, how: How, client: Client) -> None:
        self._settings = settings
        self.how = how
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
        """Ask a node how it is, and who reaches it. ``contact``: None for a member's own."""
        member = known(self.membership, name) if contact is None else Member(*contact)
        timeout_s = self._settings.timeout_s
        newcomer = interview(self.present, name, member, timeout_s=timeout_s)
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
        """The plan for a change of what is in force now; ends here if it cannot be."""
        findings = findings or Findings()
        made = plan(
            self.membership,
            after,
            self.present.up,
            joined_up=joined_up,
            lost_up=lost_up,
            warnings=findings.warnings,
            stops=findings.stops,
        )
        if findings.blockers:
            self._refuse(made, findings.blockers, "")
        return made

    def allow(self, made: Plan, *words: str, **extra: Any) -> bool:
        """Whether the plan is to be carried out. A dry run ends with its view and ``words``, and
        what is stopped with exit code 1. Warnings are told."""
        self._warn(made.warnings)
        if made.stops and not self.how.force:
            self._refuse(made, made.stops, "--force goes on all the same", **extra)
        self._warn(made.stops)
        if self.how.dry_run:
            done = f"{made.what}; nothing was changed (--dry-run)"
            self.show(made, done, *words, dry_run=True, **extra)
        return not self.how.dry_run

    def carry_out(self, made: Plan) -> Membership:
        """Submit it and, unless that is not wanted, wait until it is in force."""
        after = self.steps.submit(self.membership, made.after)
        if self.how.wait:
            self.present = self.steps.wait_in_force(after)
        return after

    def transfer(self, name: str, endpoint: str) -> None:
        """Have the leader, at ``endpoint``, hand over."""
        with for_the_leader(endpoint, "it alone can hand over"):
            self._client.transfer_leader(name, endpoint)

    def show(self, made: Plan, *words: str, **extra: Any) -> None:
        self._settings.show(plan_view(made, words, **extra))

    def show_table(self, made: Plan, *words: str) -> None:
        """For people, before a "no" that says why; programs get both at once."""
        if self._table:
            self.show(made, *words)

    def _refuse(self, made: Plan, reasons: Sequence[str], advice: str, **extra: Any) -> NoReturn:
        if self._table:
            self.show(made)
        words = "\n  ".join([f"not done ({made.what}):", *reasons, *([advice] if advice else [])])
        data = {"dry_run": self.how.dry_run, "not_done": list(reasons)} | extra
        negative(words, plan_view(made, [], **data))

    def _warn(self, lines: Sequence[str]) -> None:
        if self._settings.output != "json":
            for line in lines:
                explain(f"paxosctl: warning: {line}")


@contextmanager
def desk(settings: Settings, how: How) -> Iterator[Desk]:
    """For one verb: what cannot be ends as wrong usage, what did not come about with a "no"."""
    with settings.client() as client:
        try:
            yield Desk(settings, how, client)
        except PlanError as error:
            raise click.UsageError(str(error)) from None
        except StepError as error:
            negative(str(error), View(data={"not_done": [str(error)]}, plain=b""))


def since(after: Membership) -> str:
    """From when on a membership counts."""
    return f"epoch {after.epoch}, in force from slot {after.slot} on"
