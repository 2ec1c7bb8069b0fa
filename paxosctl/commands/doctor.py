"""doctor: what is wrong with this machine and this cluster, and what to do about it."""

from pathlib import Path

import click

from paxosctl.cli.app import Settings, negative, verb
from paxosctl.cli.progress_line import stages
from paxosctl.cli.streams import say
from paxosd.host.file_path import FilePath


@verb("doctor")
@click.option(
    "--config",
    "config_path",
    type=FilePath(path_type=Path, readable=False),
    metavar="FILE",
    help="The configuration of a node of this machine; its members are asked, unless there are "
    "--endpoints.",
)
@click.option("--strict", is_flag=True, help="Exit with 1 for warnings, too.")
def doctor_verb(settings: Settings, config_path: Path | None, strict: bool) -> None:
    """Find what is wrong here and in the cluster, and the remedies.

    With --config it looks at the machine of that node: before its first start, while it runs, or
    when it does not start any more. The nodes are asked with your key, if you give one, else with
    that of the node. Without --config it looks at the cluster from anywhere. Nothing is
    changed, but for a second of small writes in the data directory of a node that does not run.
    Exit code 1 if anything is found that matters, an error; 0 for warnings alone.
    """
    # Here alone, for the other verbs' sake.
    from paxosctl.doctor.examination import examine  # noqa: PLC0415 -- not for --help
    from paxosctl.doctor.facts.key_files import key_of_node  # noqa: PLC0415 -- as below
    from paxosctl.doctor.gathering import gather, read_configuration  # noqa: PLC0415 -- as above
    from paxosctl.doctor.report import report, summary  # noqa: PLC0415 -- as above

    given = read_configuration(config_path) if config_path is not None else None
    asks = given is None or given.config is not None or settings.named
    if not asks:
        say(f"paxosctl: no node was asked: {config_path} does not say where they are; --endpoints")
    elif given is not None and given.config is not None and not settings.named:
        members = given.config.cluster.members.values()
        settings.ask_for("endpoints", ",".join(member.client for member in members))
        settings.own_key = key_of_node(given.config)
    with stages("looking") as stage:
        found = examine(gather(given, settings.client if asks else None, stage))
    view = report(found, strict=strict)
    if found.is_well(strict=strict):
        settings.show(view)
        return
    if settings.output == "table":
        settings.show(view)
    negative(f"not well: {summary(found)}", view)
