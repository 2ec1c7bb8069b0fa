"""member add, promote, replace, rejoin: the verbs that give a node its vote."""

from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import click

from paxosctl.cli import complete
from paxosctl.cli.app import Settings, verb
from paxosctl.cli.render import View
from paxosctl.member import plan as member_plan
from paxosctl.member.change import StepError
from paxosctl.member.plan import Contact, Findings, Plan, PlanError, known
from paxosctl.member.probe import Newcomer, Present, look
from paxosctl.member.session import ChangeOptions, ChangeSession, change, open_session, since
from paxosctl.member.view import configuration, start_words
from paxosd.core.membership import Membership
from paxosd.core.status import NodeStatus


def endpoints(
    name: str = "NAME", *, required: bool
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """--peer, --events, --client of a member, which help texts call ``name``."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        for kind, what in (
            ("client", "paxosctl and clients"),
            ("events", "votes, and changes for watchers"),
            ("peer", "the other daemons"),
        ):
            words = f"Where {name} is reached by {what}: tcp://HOST:PORT."
            if kind == "events":
                words = words.replace("is reached by", "publishes")
            function = click.option(f"--{kind}", required=required, help=words)(function)
        return function

    return decorate


@change("add")
@click.argument("name")
@endpoints(required=True)
@click.option(
    "--learner", is_flag=True, help="Keep NAME a learner, which serves reads and has no vote."
)
def add_verb(
    settings: Settings,
    options: ChangeOptions,
    name: str,
    peer: str,
    client: str,
    events: str,
    learner: bool,
) -> None:
    """Make NAME a member: a learner first, and a voter once it has caught up.

    If it does not run yet, it becomes a learner, and the configuration that it needs is printed.
    Start it, and give the same command again to continue; or give it its vote with `member promote
    NAME`. With `-o plain` the configuration is all that is printed, each time: `> NAME.toml`.
    `member config NAME` prints it, too.
    """
    with open_session(settings, options) as session:
        contact = Contact(peer, client, events)
        fresh = session.membership.members.get(name, (None,))[:3] != contact
        joins = member_plan.add(session.membership, name, contact) if fresh else session.membership
        newcomer = session.meet(name, contact)
        findings = newcomer.findings(session.present.cluster, fresh=fresh)
        if fresh and name in session.membership.departed:
            findings.warnings.append(
                f"{name} was a member before: a data directory that knows of its removal does not "
                "start again, so give it an empty one"
            )
        is_voter = not fresh and joins.members[name].voter
        votes = not learner and options.wait and newcomer.running and not is_voter
        last = member_plan.promote(joins, name, newcomer.directory_id) if votes else joins
        made = session.judge(last, findings, joined_up=[name] if newcomer.running else [])
        snippet = configuration(session.present.cluster, joins, name)
        extra: dict[str, Any] = {"probe": newcomer.data(), "configuration": snippet}
        needs = [] if newcomer.running else start_words(name, snippet)
        if not session.allow(made, *needs, **extra):
            return
        after = session.carry_out(session.judge(joins, findings)) if fresh else joins
        if votes:
            advice = (
                f"it is a learner (epoch {after.epoch}); to go on: paxosctl member promote {name}"
            )
            last = session.give_vote(name, member_plan.promote, advice)
            session.show(made, f"{name} is a voter: {since(last)}", **extra)
            return
        if is_voter:
            session.show(made, f"{name} is a voter already; nothing was changed", *needs, **extra)
            return
        since_when = since(after) if fresh else "it was one already"
        words = [f"{name} is a learner: {since_when}", *needs]
        if not learner:
            then = "and then, " if needs else ""
            words.append(f"{then}to give it a vote: paxosctl member promote {name}")
        session.show(made, *words, **extra)


@change("promote")
@click.argument("name", shell_complete=complete.nodes)
def promote_verb(settings: Settings, options: ChangeOptions, name: str) -> None:
    """Give the learner NAME a vote. Stopped unless it has caught up.

    From then on only the data directory that it has now may vote in its name.
    """
    with open_session(settings, options) as session:
        newcomer = session.meet(name)
        after = member_plan.promote(session.membership, name, newcomer.directory_id)
        findings = _ready_to_vote(session.present, newcomer)
        made = session.judge(after, findings, joined_up=[name] if newcomer.running else [])
        session.finish(made, f"{name} is a voter", probe=newcomer.data())


def _ready_to_vote(present: Present, newcomer: Newcomer) -> Findings:
    """What speaks against a vote for a learner."""
    findings = newcomer.findings(present.cluster, fresh=False)
    status = newcomer.status
    if status is None:
        findings.stops += [*findings.warnings, "start it first: as a voter it would be waited for"]
        findings.warnings = []
    elif not present.caught_up(status):
        behind = present.behind(status)
        lag = f"{behind} slots behind the leader" if behind else "not yet at the present membership"
        findings.stops.append(
            f"{newcomer.name} has not caught up: it is {lag} (slot {status.applied}), and as a "
            "voter it would be waited for"
        )
    if status is not None and not newcomer.directory_id:
        findings.stops.append(f"{newcomer.name} does not report the identity of its data directory")
    return findings


@change("replace")
@click.argument("old", shell_complete=complete.nodes)
@click.argument("new")
@endpoints("NEW", required=False)
def replace_verb(
    settings: Settings,
    options: ChangeOptions,
    old: str,
    new: str,
    peer: str | None,
    client: str | None,
    events: str | None,
) -> None:
    """Put NEW in the place of the voter OLD, which may be dead.

    NEW becomes a learner, if it is no member yet, and catches up. Then one change gives it the vote
    and removes OLD, so that the number of voters stays the same. If NEW does not run yet, the
    configuration that it needs is printed: start it, and give the same command again to continue.
    With `-o plain` the configuration is all that is printed, each time: `> NEW.toml`.
    """
    with open_session(settings, options) as session:
        if _is_replaced(session.membership, old, new, (peer, client, events)):
            made = session.judge(session.membership)
            snippet = configuration(session.present.cluster, session.membership, new)
            words = f"{new} votes in the place of {old} already; nothing was changed"
            session.show(made, words, configuration=snippet)
            return
        joins = _joining(session, old, new, (peer, client, events))
        newcomer = session.meet(new, Contact(*joins.members[new][:3]))
        fresh = joins is not session.membership
        findings = newcomer.findings(session.present.cluster, fresh=fresh)
        last = member_plan.replace(joins, old, new, newcomer.directory_id)
        made = session.judge(last, findings, joined_up=[new])
        snippet = configuration(session.present.cluster, joins, new)
        extra: dict[str, Any] = {"probe": newcomer.data(), "configuration": snippet}
        needs = [] if newcomer.running else start_words(new, snippet)
        if not session.allow(made, *needs, **extra):
            return
        if fresh:
            session.carry_out(session.judge(joins, findings))
        status = newcomer.status
        ready = status is not None and (
            options.wait or (not fresh and session.present.caught_up(status))
        )
        if not ready:
            _not_replaced_yet(session, made, old, newcomer, extra)
        after = session.give_vote(
            new,
            lambda membership, name, directory_id: member_plan.replace(
                membership, old, name, directory_id
            ),
            f"{old} is not replaced yet; to go on: paxosctl member replace {old} {new}",
        )
        session.show(made, f"{new} votes in the place of {old}: {since(after)}", **extra)


def _is_replaced(
    membership: Membership, old: str, new: str, endpoints: Sequence[str | None]
) -> bool:
    """Whether the same command has done it before."""
    gone = old not in membership.members and old in membership.departed
    member = membership.members.get(new)
    return gone and member is not None and member.voter and _same(member, endpoints)


def _same(member: Sequence[Any], endpoints: Sequence[str | None]) -> bool:
    """Whether the endpoints that were given are those that the membership has."""
    pairs = zip(endpoints, member, strict=False)
    return all(given is None or given == held for given, held in pairs)


def _joining(
    session: ChangeSession, old: str, new: str, endpoints: Sequence[str | None]
) -> Membership:
    """The membership with NEW in it: the present one, if it is a member."""
    before = session.membership
    known(before, old)
    given = [each for each in endpoints if each is not None]
    if new in before.members:
        if not _same(before.members[new], endpoints):
            raise PlanError(
                f"{new} is a member already, and reached elsewhere; to change that: paxosctl "
                f"member update {new}"
            )
        return before
    if old == new:
        return before
    if len(given) < len(endpoints):
        raise PlanError(f"{new} is no member yet: --peer, --events and --client are needed")
    peer, client, events = given
    return member_plan.add(before, new, Contact(peer, client, events))


def _not_replaced_yet(
    session: ChangeSession, made: Plan, old: str, newcomer: Newcomer, extra: dict[str, Any]
) -> NoReturn:
    new = newcomer.name
    go_on = f"paxosctl member replace {old} {new}"
    if newcomer.running:
        words = f"{old} is not replaced yet: {new} is a learner and has to catch up; then: {go_on}"
        session.refuse_later(made, words, **extra)
    words = f"{old} is not replaced yet: {new} does not run. Start it, and then: {go_on}"
    session.refuse_later(made, words, *start_words(new, extra["configuration"]), **extra)


@verb("config")
@click.argument("name", shell_complete=complete.nodes)
def config_verb(settings: Settings, name: str) -> None:
    """Print the configuration that the member NAME needs to join the present cluster.

    The text is TOML, ready for a file. Add what a node chooses for itself ([node], [wal], [log] and
    so on). A node that runs needs no new file: the replicated log says who is a member.
    """
    with settings.client() as client:
        present = look(client)
    try:
        known(present.membership, name)
    except PlanError as error:
        raise click.UsageError(str(error)) from None
    snippet = configuration(present.cluster, present.membership, name)
    data = {"node": name, "configuration": snippet}
    settings.show(View(data=data, plain=snippet.encode(), text=snippet.rstrip()))


@change("rejoin")
@click.argument("name", shell_complete=complete.nodes)
def rejoin_verb(settings: Settings, options: ChangeOptions, name: str) -> None:
    """Let NAME vote again after its data was lost.

    It has to run, with an empty data directory or with an old copy of its data. It catches up
    first; from a slot on, the data directory that it has now votes in its name. The promises that
    it forgot can do no harm: they were made under ballots of earlier epochs, which decide nothing
    from that slot on.
    """
    with open_session(settings, options) as session:
        newcomer = session.meet(name)
        after = member_plan.rejoin(session.membership, name, newcomer.directory_id)
        findings = _ready_to_rejoin(newcomer, session.present)
        made = session.judge(after, findings, joined_up=[name])
        if not session.allow(made, probe=newcomer.data()):
            return
        after = session.carry_out(made)
        words = [
            f"the data directory that {name} has now votes in its name: {since(after)}",
            f"what it forgot was promised under epochs before {after.epoch}, whose ballots decide "
            "nothing any more",
        ]
        if options.wait:
            session.steps.wait_for(
                name,
                lambda _, status: _is_back(status, newcomer.directory_id, after.epoch),
                "catches up",
                "it votes once it has caught up",
            )
            words.append(f"{name} has caught up, and votes")
        session.show(made, *words, probe=newcomer.data())


def _is_back(status: NodeStatus, directory: int, epoch: int) -> bool:
    if status.memory == "lost" and status.directory_id != directory:
        name = status.node
        raise StepError(
            f"{name} does not vote yet, for its data directory got a new identity meanwhile; "
            f"again: paxosctl member rejoin {name}"
        )
    return status.memory == "whole" and status.epoch >= epoch


def _ready_to_rejoin(newcomer: Newcomer, present: Present) -> Findings:
    findings = newcomer.findings(present.cluster, fresh=False)
    name, status = newcomer.name, newcomer.status
    if status is None:
        findings.blockers.append(
            f"{name} does not answer at {newcomer.member.client} ({newcomer.why}): start it, for "
            "only it knows the identity of its data directory"
        )
    elif status.role == "diverged":
        findings.blockers.append(
            f"the state of {name} is not the one that was decided: restart it first, so that it "
            "sets its data aside and learns all anew; then let it rejoin"
        )
    elif status.memory == "whole":
        findings.blockers.append(f"the memory of {name} is whole: it may vote as it is")
    elif not status.membership.members:
        present_ones = ", ".join(each for each in present.membership.members if each != name)
        findings.blockers.append(
            f"{name} has heard of no member yet. If it does not within seconds, those that its "
            f"configuration names have gone: let it name those of now ({present_ones}; `paxosctl "
            "member list -o json` has their endpoints), and start it again"
        )
    elif status.memory == "new":
        waits = ", ".join(status.unconfirmed_by) or "nobody"
        findings.stops.append(
            f"{name} does not know of any loss: it is new, and votes by itself once all others "
            f"have confirmed it (it waits for {waits})"
        )
    elif not newcomer.directory_id:
        findings.blockers.append(f"{name} does not report the identity of its data directory")
    return findings
