"""member update: where a member is reached, changed by a command in the log."""

import click

from paxosctl.cli.app import Settings
from paxosctl.commands.member_join import endpoints
from paxosctl.member import plan as member_plan
from paxosctl.member.plan import KINDS, Contact, Findings, Move
from paxosctl.member.probe import Newcomer
from paxosctl.member.session import ChangeOptions, change, open_session


@change("update")
@click.argument("name")
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
