"""member: who belongs to the cluster and who votes; changed while it runs."""

import click

from paxosctl.cli import complete
from paxosctl.cli.app import Group, Settings, Whole, global_options, negative, verb
from paxosctl.cli.render import View
from paxosctl.cli.survey import leader_of
from paxosctl.commands.member_join import (
    add_verb,
    config_verb,
    endpoints,
    promote_verb,
    rejoin_verb,
    replace_verb,
)
from paxosctl.member import plan as member_plan
from paxosctl.member.plan import KINDS, Contact, Findings, Move, PlanError, known
from paxosctl.member.probe import Newcomer, look
from paxosctl.member.session import ChangeOptions, change, open_session
from paxosctl.member.view import list_view


@click.group("member", cls=Group)
def _member() -> None:
    """The members of the cluster: voters, and learners, which follow without a vote.

    A change is a command in the replicated log: no configuration file needs an edit, and the
    cluster goes on meanwhile. Each change is checked first, and stopped with exit code 1 if it
    would leave too few voters that are up. --dry-run only checks.
    """


member_verb = global_options(_member)


@verb("list")
def list_verb(settings: Settings) -> None:
    """Every member and its state. Works without a quorum, from one node."""
    with settings.client() as client:
        present = look(client)
    settings.show(list_view(present))


@change("demote")
@click.argument("name", shell_complete=complete.nodes)
def demote_verb(settings: Settings, options: ChangeOptions, name: str) -> None:
    """Take the vote from NAME, which goes on as a learner."""
    with open_session(settings, options) as session:
        made = session.judge(member_plan.demote(session.membership, name))
        session.finish(made, f"{name} is a learner")


@change("remove")
@click.argument("name", shell_complete=complete.nodes)
def remove_verb(settings: Settings, options: ChangeOptions, name: str) -> None:
    """Remove NAME from the cluster, whether it runs or not, and even if it leads.

    A leader hands over first. The process of a removed node ends, and does not start again with its
    data directory.
    """
    with open_session(settings, options) as session:
        made = session.judge(member_plan.remove(session.membership, name))
        session.finish(made, f"{name} is no member any more")


@change("update")
@click.argument("name", shell_complete=complete.nodes)
@endpoints(required=False)
def update_verb(
    settings: Settings,
    options: ChangeOptions,
    name: str,
    peer: str | None,
    client: str | None,
    events: str | None,
) -> None:
    """Change where the member NAME is reached. Endpoints that are not given stay as they are.

    The other daemons connect to the new endpoints as soon as the change is in force; their files
    need no edit. Where NAME listens is set in its own file: change it there first
    (cluster.members.NAME or node.bind_host) and restart NAME, then use this command.
    """
    move = Move(peer, client, events)
    if not any(move):
        raise click.UsageError("give at least one of --peer, --client and --events")
    with open_session(settings, options) as session:
        after = member_plan.update(session.membership, name, move)
        if not member_plan.differences(session.membership, after):
            session.finish(session.judge(after))
            return
        there = session.meet(name, Contact(*after.members[name][:3]))
        findings = _moved(there, session.present.cluster)
        reached = there.running and not findings.blockers and not findings.stops
        up, down = ([name], []) if reached else ([], [name])
        made = session.judge(after, findings, joined_up=up, lost_up=down)
        session.finish(made, probe=there.data())


def _moved(there: Newcomer, cluster: str) -> Findings:
    """What speaks against the new endpoints: above all, that the node does not answer there."""
    findings = there.findings(cluster, fresh=False)
    if there.status is None:
        findings.warnings = []
        findings.stops.append(
            f"{there.name} does not answer at {there.member.client} ({there.why}): nobody would "
            f"find it until it listens there. {_LISTEN.replace('NAME', there.name)}"
        )
        return findings
    in_file = there.status.file_members.get(there.name, there.member)
    for kind, held, text in zip(KINDS, in_file[:3], there.member[:3], strict=True):
        if held != text:
            findings.warnings.append(
                f"the file of {there.name} still has {kind} {held}, and the node listens as its "
                "file says"
            )
    if any(link.error and link.target == there.name for link in there.links):
        findings.stops.append(_LISTEN.replace("NAME", there.name))
    return findings


_LISTEN = (
    "If it still listens at its old endpoints, change them in its file (cluster.members.NAME, or "
    "node.bind_host), and start it again"
)


@change("quorum")
@click.option("--phase1", type=Whole(1), help="How many voters a new leader needs.")
@click.option("--phase2", type=Whole(1), help="How many voters a write needs.")
@click.option(
    "--majority", is_flag=True, help="A majority for both, whatever the number of voters."
)
def quorum_verb(
    settings: Settings,
    options: ChangeOptions,
    phase1: int | None,
    phase2: int | None,
    majority: bool,
) -> None:
    """Set the quorum sizes. Any quorum of phase 1 must share a voter with any of phase 2:
    PHASE1 + PHASE2 has to be more than the number of voters."""
    both = phase1 is not None and phase2 is not None
    if majority == both or (phase1 is None) != (phase2 is None):
        raise click.UsageError("give either --phase1 and --phase2, or --majority")
    with open_session(settings, options) as session:
        after = member_plan.set_quorum(session.membership, phase1 or 0, phase2 or 0)
        session.finish(session.judge(after))


@change("transfer-leader", force=False)
@click.argument("name", default="", shell_complete=complete.nodes)
def transfer_verb(settings: Settings, options: ChangeOptions, name: str) -> None:
    """Have the leader hand over to the voter NAME, or to the one that has most of the log."""
    with open_session(settings, options) as session:
        leader, endpoint = leader_of(session.present.views)
        if name and not known(session.membership, name).voter:
            raise PlanError(f"{name} has no vote, so it cannot lead")
        if not leader:
            negative("no leader is known; `paxosctl status --cluster` shows who is missing")
        done = f"{leader} leads already"
        if name != leader:
            done = f"{leader} hands over to {name or 'the best of the other voters'}"
            if options.dry_run:
                done += "; nothing was changed (--dry-run)"
            else:
                session.transfer(name, endpoint)
                if options.wait:
                    done = f"{session.steps.wait_leader(leader, name)} leads"
    data = {"leader_before": leader, "leader_wanted": name or None, "dry_run": options.dry_run}
    settings.show(View(data=data, plain=f"{done}\n".encode(), text=done))


for _verb in (
    list_verb,
    add_verb,
    config_verb,
    promote_verb,
    demote_verb,
    remove_verb,
    replace_verb,
    rejoin_verb,
    update_verb,
    quorum_verb,
    transfer_verb,
):
    member_verb.add_command(_verb)
