"""audit: were the rules of Paxos kept? An independent check of recordings, logs, running nodes."""

from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from paxosctl.cli.app import Duration, Settings, negative, verb
from paxosctl.cli.progress_line import work_progress
from paxosctl.cli.render import View
from paxosctl.cli.streams import StreamError
from paxosctl.client.errors import RefusedError
from paxosctl.evidence.located import AUDITED, Wanted, located
from paxosd.host.file_path import FilePath


@verb("audit")
@click.argument("sources", nargs=-1,
                type=FilePath(exists=True, readable=False, path_type=Path))  # fmt: skip
@click.option("--cluster", default="", help="Of several clusters among the sources, this one.")
@click.option("--voters", default="", metavar="N1,N2,…",
              help="Who votes in epoch 0, where no source says so.")  # fmt: skip
@click.option("--live", is_flag=True, help="Audit what the running nodes of --endpoints publish, "
              "until Ctrl-C or the end of --for.")  # fmt: skip
@click.option("--for", "for_ms", type=Duration(), help="With --live: for so long, such as 30s.")
@click.option("--every", "every_ms", type=Duration(), default="10s", show_default=True,
              help="With --live: how often a line says how far it is.")  # fmt: skip
def audit_verb(
    settings: Settings,
    sources: tuple[Path, ...],
    cluster: str,
    voters: str,
    live: bool,
    for_ms: int | None,
    every_ms: int,
) -> None:
    """Check the rules of Paxos on what nodes recorded and on their logs.

    SOURCES are data directories, parents of several, recorder files and segments of logs, of any
    of the nodes, and bundles (debug bundle --wal, to have their logs). Without SOURCES the running
    nodes of --endpoints are asked for their files. The auditor shares no code with the daemon: it
    reads the files by the pages that describe them, and checks that one value was chosen per slot,
    that no promise was broken, that ballots were used once, that a quorum stood behind what was
    applied, that what was acknowledged was chosen, and so on. Each rule says how much was checked,
    what broke it, with the evidence, and what was not checked, and why.

    With --live the members of a running cluster are listened to instead: their votes, the slots
    that they apply, the changes that these make, and their status. It ends at the first violation;
    Ctrl-C ends it with the verdict.

    Exit code 1 if a rule was broken. The sources are only read; copies of running nodes will do.
    """
    if live:
        if sources or cluster or voters:
            words = "--live listens to --endpoints: it takes no sources, --cluster and --voters"
            raise click.UsageError(words)
        from paxosctl.commands.audit_live import audit_live  # noqa: PLC0415 -- not for --help

        end(settings, audit_live(settings, for_ms, every_ms))
        return
    given = click.get_current_context().get_parameter_source
    if for_ms is not None or given("every_ms") is ParameterSource.COMMANDLINE:
        raise click.UsageError("--for and --every go with --live")
    end(settings, _audit_files(settings, sources, cluster, voters))


def _audit_files(
    settings: Settings, sources: tuple[Path, ...], cluster: str, voters: str
) -> dict[str, Any]:
    """Raises StreamError, RefusedError, UsageError."""
    from paxosctl.audit.audit import (  # noqa: PLC0415 -- not for --help
        NothingToReadError,
        SeveralClustersError,
        audit,
    )

    named = tuple(name.strip() for name in voters.split(",") if name.strip())
    try:
        with located([str(each) for each in sources], settings, Wanted(AUDITED)) as found:
            paths = [Path(each) for each in found.names]
            try:
                with work_progress(lambda count: f"{count:,}") as progress:
                    report = audit(paths, cluster=cluster, voters=named, progress=progress)
                data: dict[str, Any] = report.data()
            except NothingToReadError as error:
                raise StreamError(str(error)) from error
            named_data: dict[str, Any] = found.named_all(data)
            return named_data
    except SeveralClustersError as error:
        raise click.UsageError(f"{error}: name one with --cluster") from error
    except PermissionError as error:
        raise RefusedError("permission", f"{error.filename}: this user may not read it") from error


def end(settings: Settings, data: dict[str, Any]) -> None:
    """Show what came out; exit code 1 if a rule was broken."""
    view = _view(data)
    broken = sum(each["broken"] for each in data["rules"])
    if broken:
        if settings.output == "table":
            settings.show(view)
        words = "a rule of Paxos was broken" if broken == 1 else "rules of Paxos were broken"
        negative(f"{words}: {broken} violations", view, code="violation")
    settings.show(view)


def _view(data: dict[str, Any]) -> View:
    rows = [
        (each["rule"], each["verdict"], f"{each['checked']:,} {each['unit']}", each["broken"])
        for each in data["rules"]
    ]
    return View(
        data=data,
        plain=_plain(data).encode(),
        columns=("rule", "verdict", "checked", "broken"),
        rows=rows,
        text="\n".join(_words(data)),
    )


def _plain(data: dict[str, Any]) -> str:
    """One line for each rule, violation, reason and note, in columns with tabs between."""
    lines = []
    for rule in data["rules"]:
        name = rule["rule"]
        lines.append(f"rule\t{name}\t{rule['verdict']}\t{rule['checked']}\t{rule['broken']}")
        for each in rule["violations"]:
            places = " ".join(place["event"] or place["file"] for place in each["evidence"])
            lines.append(f"violation\t{name}\t{each['text']}\t{places}")
        lines += [
            f"not-checked\t{name}\t{each['count']}\t{each['reason']}"
            for each in rule["not_checked"]
        ]
    lines += [f"note\t{each}" for each in data["notes"]]
    return "".join(f"{line}\n" for line in lines)


def _words(data: dict[str, Any]) -> list[str]:
    lines = []
    for rule in data["rules"]:
        if rule["broken"]:
            lines += ["", f"VIOLATED  {rule['rule']}: {rule['title']}", f"  {rule['source']}"]
        for each in rule["violations"]:
            lines.append(f"  - {each['text']}")
            lines += [f"      {_place(place)}" for place in each["evidence"]]
        if rule["broken"] > len(rule["violations"]):
            lines.append(f"  and {rule['broken'] - len(rule['violations'])} more")
    skipped = [
        f"  {rule['rule']}, {each['count']:,} {rule['unit']}: {each['reason']}"
        for rule in data["rules"]
        for each in rule["not_checked"]
    ]
    if skipped:
        lines += ["", "Not checked, because", *skipped]
    if data["notes"]:
        lines += ["", "What was there", *(f"  {each}" for each in data["notes"])]
    return lines


def _place(place: dict[str, Any]) -> str:
    where = f"{place['file']} at {place['offset']}"
    return f"{place['event']}  {where}" if place["event"] else where
