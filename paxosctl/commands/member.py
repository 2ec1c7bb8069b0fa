"""member: who belongs to the cluster and who votes; changed while it runs."""

import click

from paxosctl.cli.app import Group, Settings, Whole, global_options, negative, verb
from paxosctl.cli.render import View
from paxosctl.cli.survey import leader_of
from paxosctl.commands.member_join import (
    add_verb,
    config_verb,
    promote_verb,
    rejoin_verb,
    replace_verb,
)
from paxosctl.commands.member_update import update_verb
from paxosctl.member import plan as member_plan
from paxosctl.member.plan import PlanError, known
from paxosctl.member.probe import look
from paxosctl.member.session import How, change, since
from paxosctl.member.session import desk as desk_of
from paxosctl.member.view import list_view


@click.group("member", cls=Group)
def _member() -> None:
    """The members of the cluster: voters, and learners that follow without a vote.

    A change is a command in the log: no configuration file needs an edit, and the cluster goes on
    meanwhile. Each is looked at first: it is stopped, with exit code 1, if it would leave a quorum
    that is not up. --dry-run looks only.
    """


member_verb = global_options(_member)


@verb("list")
def list_verb(settings: Settings) -> None:
    """Every member and how it is. Works without a quorum, from one node."""
    with settings.client() as client:
        present = look(client)
    settings.show(list_view(present))


@change("demote")
@click.argument("name")
def demote_verb(settings: Settings, how: How, name: str) -> None:
    """Take the vote of NAME, which goes on as a learner."""
    with desk_of(settings, how) as desk:
        made = desk.judge(member_plan.demote(desk.membership, name))
        if desk.allow(made):
            desk.show(made, f"{name} is a learner: {since(desk.carry_out(made))}")


@change("remove")
@click.argument("name")
def remove_verb(settings: Settings, how: How, name: str) -> None:
    """Let NAME be a member no more; running or not, leader or not.

    A leader hands over first. A node that is removed ends, and does not start again with its data
    directory.
    """
    with desk_of(settings, how) as desk:
        made = desk.judge(member_plan.remove(desk.membership, name))
        if desk.allow(made):
            desk.show(made, f"{name} is no member any more: {since(desk.carry_out(made))}")


@change("quorum")
@click.option("--phase1", type=Whole(1), help="Voters that it takes to take over.")
@click.option("--phase2", type=Whole(1), help="Voters that it takes to write.")
@click.option("--majority", is_flag=True, help="A majority for both, also when voters change.")
def quorum_verb(
    settings: Settings, how: How, phase1: int | None, phase2: int | None, majority: bool
) -> None:
    """Set the quorum sizes. Any two quorums of different phases have to share a voter:
    PHASE1 + PHASE2 is more than the number of voters."""
    both = phase1 is not None and phase2 is not None
    if majority == both or (phase1 is None) != (phase2 is None):
        raise click.UsageError("give either --phase1 and --phase2, or --majority")
    with desk_of(settings, how) as desk:
        after = member_plan.set_quorum(desk.membership, phase1 or 0, phase2 or 0)
        made = desk.judge(after)
        if not member_plan.differences(made.before, made.after):
            desk.show(made, "it is so already; nothing was changed")
        elif desk.allow(made):
            desk.show(made, f"{made.what}: {since(desk.carry_out(made))}")


@change("transfer-leader", force=False)
@click.argument("name", default="")
def transfer_verb(settings: Settings, how: How, name: str) -> None:
    """Have the leader hand over to the voter NAME, or to the one that is furthest."""
    with desk_of(settings, how) as desk:
        leader, endpoint = leader_of(desk.present.views)
        if name and not known(desk.membership, name).voter:
            raise PlanError(f"{name} has no vote, so it cannot lead")
        if not leader:
            negative("no leader is known; `paxosctl status --cluster` shows who is missing")
        done = f"{leader} leads already"
        if name != leader:
            done = f"{leader} hands over to {name or 'the best of the other voters'}"
            if how.dry_run:
                done += "; nothing was changed (--dry-run)"
            else:
                desk.transfer(name, endpoint)
                if how.wait:
                    done = f"{desk.steps.wait_leader(leader, name)} leads"
    data = {"leader_before": leader, "leader_wanted": name or None, "dry_run": how.dry_run}
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
