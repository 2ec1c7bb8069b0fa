"""member update: where a member is reached, changed by a command in the log."""

import click

from paxosctl.cli.app import Settings
from paxosctl.commands.member_join import endpoints
from paxosctl.member import plan as member_plan
from paxosctl.member.plan import KINDS, Contact, Move
from paxosctl.member.probe import Findings, Newcomer
from paxosctl.member.session import How, change, since
from paxosctl.member.session import desk as desk_of


@change("update")
@click.argument("name")
@endpoints(required=False)
def update_verb(
    settings: Settings,
    how: How,
    name: str,
    peer: str | None,
    client: str | None,
    events: str | None,
) -> None:
    """Say where the member NAME is reached from now on; what is not given stays as it is.

    The other daemons connect to the new endpoints as soon as the change is in force; their files
    need no edit. Where NAME itself listens stands in its own file: let it listen at the new
    endpoints first (cluster.members.NAME or node.bind_host there, and a restart), then say so here.
    """
    move = Move(peer, client, events)
    if not any(move):
        raise click.UsageError("give at least one of --peer, --client and --events")
    with desk_of(settings, how) as desk:
        after = member_plan.update(desk.membership, name, move)
        if not member_plan.differences(desk.membership, after):
            made = desk.judge(after)
            desk.show(made, "it is so already; nothing was changed")
            return
        there = desk.meet(name, Contact(*after.members[name][:3]))
        findings = _moved(there, desk.present.cluster)
        reached = there.running and not findings.blockers and not findings.stops
        known_up = [name] if reached else []
        made = desk.judge(after, findings, joined_up=known_up, lost_up=[] if reached else [name])
        if desk.allow(made, probe=there.data()):
            done = f"{made.what}: {since(desk.carry_out(made))}"
            desk.show(made, done, probe=there.data())


def _moved(there: Newcomer, cluster: str) -> Findings:
    """What speaks against the new endpoints: that the node is not found there, above all."""
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
