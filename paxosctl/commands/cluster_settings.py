"""cluster: what is equal on all nodes: the replicated settings and the feature level."""

from collections.abc import Sequence
from typing import Any

import click
from click.shell_completion import CompletionItem

from paxosctl.cli.app import Group, Settings, global_options, negative, verb
from paxosctl.cli.public_names import settings_table
from paxosctl.cli.render import View
from paxosctl.cli.survey import NodeView, leader_of, statuses_of, survey
from paxosctl.cli.versions import node_versions, waiting_lines
from paxosctl.client.client import Client
from paxosctl.client.errors import OutcomeUnknownError, RefusedError
from paxosd.config.settings import nearest
from paxosd.core.cluster_settings import (
    BOUNDS,
    LEVEL_LATEST,
    SINCE_LEVEL,
    ClusterSettings,
    SettingsError,
    UnknownLevelError,
)
from paxosd.core.commands import Status
from paxosd.host.durations import parse_duration_ms
from paxosd.host.numbers import parse_whole
from paxosd.host.sizes import parse_size_bytes


@click.group("cluster", cls=Group)
def _cluster() -> None:
    """The settings that are equal on all nodes, because the replicated log holds them.

    A change is a command in the log, in force from a slot on that is printed; no node stops for it.
    The configuration files only give the first values, and need no edit later.
    """


cluster_verb = global_options(_cluster)


class Assignment(click.ParamType[tuple[str, int]]):
    """``KEY=VALUE``, for a setting that a person may change."""

    name = "KEY=VALUE"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, int]:
        """Key and number; a time and a size may have a unit."""
        key, equals, text = value.partition("=")
        if not equals:
            self.fail(f'"{value}" must read KEY=VALUE', param, ctx)
        if key not in BOUNDS:
            self.fail(f'"{key}" is no setting of the cluster; {nearest(key, BOUNDS)}', param, ctx)
        has_unit = key.endswith("_ms") and not text.strip()[-1:].isdigit()
        number_of = parse_size_bytes if "_bytes" in key else parse_whole
        try:
            return key, parse_duration_ms(text) if has_unit else number_of(text)
        except ValueError as error:
            self.fail(f"{key}: {error}", param, ctx)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """The names of the settings; the value follows."""
        names = [f"{key}=" for key in BOUNDS if f"{key}=".startswith(incomplete)]
        return [CompletionItem(name, nospace=True) for name in names]


@verb("show")
def show_verb(settings: Settings) -> None:
    """Show the replicated settings, the feature level, what the next level waits for, and the
    version of each node. Works without a quorum."""
    with settings.client() as client:
        views = survey(client)
    present, _ = _latest(views)
    notes = _notes(present, views)
    data = {**settings_table(present._asdict()), "feature_level_lagging": _lagging(views)}
    data["differing_files"] = _differing(views)
    data["nodes"] = node_versions(views)
    settings.show(_view(present, data, notes))


@verb("set")
@click.option("--dry-run", is_flag=True, help="Show what would change; change nothing.")
@click.argument("assignments", type=Assignment(), nargs=-1, required=True)
def set_verb(settings: Settings, dry_run: bool, assignments: Sequence[tuple[str, int]]) -> None:
    """Set KEY=VALUE …, all in one change. A time or a size may have a unit, such as
    session_ttl_ms=2h or quota_bytes=10GiB."""
    with settings.client() as client:
        views = survey(client)
        before, epoch = _latest(views)
        if not before.level:
            raise RefusedError("level", _too_low(views))
        for key, _ in assignments:
            if before.level < SINCE_LEVEL.get(key, 0):
                raise RefusedError("level", _too_early(key, before, views))
        after = _follow(before, dict(assignments))
        _check_room(after, views)
        words = _differences(before, after)
        if not words:
            done = "it is so already; nothing was changed"
        elif dry_run:
            done = f"{'; '.join(words)}; nothing was changed (--dry-run)"
        else:
            slot = _submit(client, before, after, epoch)
            done = f"{'; '.join(words)}: version {after.version}" + (
                f", in force from slot {slot} on" if slot else ", in force"
            )
    shown = after if words else before
    data = {**settings_table(shown._asdict()), "changed": words, "dry_run": dry_run}
    settings.show(_view(shown, data, [done]))


cluster_verb.add_command(show_verb)
cluster_verb.add_command(set_verb)


# -- what is known


def _latest(views: Sequence[NodeView]) -> tuple[ClusterSettings, int]:
    """The settings of the latest version that a node reports, and the latest epoch. The defaults,
    if all nodes run a version that has no replicated settings."""
    known = statuses_of(views)
    epoch = max((status.epoch for status in known), default=0)
    settings = [status.settings for status in known if status.settings is not None]
    latest = max(settings, key=lambda each: each.version, default=ClusterSettings())
    return latest, epoch


def _lagging(views: Sequence[NodeView]) -> list[str]:
    """The members for which the next level waits: as the leader says, or else another node."""
    leader, _ = leader_of(views)
    known = sorted(statuses_of(views), key=lambda status: status.node != leader)
    return list(known[0].feature_level_lagging) if known else []


def _differing(views: Sequence[NodeView]) -> dict[str, dict[str, int]]:
    """Node → the settings in its own file that differ from the log."""
    present, _ = _latest(views)
    found: dict[str, dict[str, int]] = {}
    for view in views:
        own = view.status.file_settings if view.status is not None else {}
        differing = {k: v for k, v in own.items() if v != getattr(present, k, v)}
        if differing and present.level:
            found[view.name] = differing
    return found


def _too_low(views: Sequence[NodeView]) -> str:
    waiting = ", ".join(_lagging(views))
    return (
        "the settings are not replicated yet: the cluster is at feature level 0. Its leader raises "
        "it by itself once every member runs a version that knows level 1"
        + (f"; waiting for: {waiting}" if waiting else "")
    )


def _too_early(key: str, present: ClusterSettings, views: Sequence[NodeView]) -> str:
    waiting = ", ".join(_lagging(views))
    return (
        f"{key} is a setting from feature level {SINCE_LEVEL[key]} on; the cluster is at level "
        f"{present.level}, until every member runs a newer version"
        + (f"; waiting for: {waiting}" if waiting else "")
    )


def _version_words(each: dict[str, Any]) -> str:
    taken, version = each["feature_level_taken"], each["version"]
    level = "its feature level is not known" if taken is None else f"up to feature level {taken}"
    return f"version {version or 'not known'}, {level}"


def _notes(present: ClusterSettings, views: Sequence[NodeView]) -> list[str]:
    notes = []
    if not present.level:
        notes.append(_too_low(views))
    notes += [f"{name}: {_version_words(each)}" for name, each in node_versions(views).items()]
    notes += waiting_lines(views)
    for name, own in _differing(views).items():
        words = ", ".join(f"{key} = {value}" for key, value in own.items())
        notes.append(f"{name}: its file has {words}; it goes by the settings above")
    return notes


# -- a change


def _follow(before: ClusterSettings, changes: dict[str, int]) -> ClusterSettings:
    try:
        return before.follow(before._replace(**changes).to_command())  # type: ignore[arg-type]  # numbers all
    except SettingsError as error:
        raise click.UsageError(str(error)) from None
    except UnknownLevelError as error:
        words = (
            f"the cluster is at feature level {error.level}, and this paxosctl knows "
            f"{LEVEL_LATEST}: change its settings with a newer paxosctl"
        )
        raise RefusedError("level", words) from None


def _check_room(after: ClusterSettings, views: Sequence[NodeView]) -> None:
    """Ends the command with exit code 1 if a node could not take a message that these settings
    allow."""
    wrong = []
    for view in views:
        room = view.status.message_room if view.status is not None else None
        refusal = room.refusal(after) if room is not None else ""
        if refusal:
            wrong.append(f"{view.name}: {refusal}")
    if wrong:
        negative("\n  ".join(["not done:", *wrong]), View(data={"not_done": wrong}, plain=b""))


def _differences(before: ClusterSettings, after: ClusterSettings) -> list[str]:
    return [
        f"{name} {getattr(before, name)} → {getattr(after, name)}"
        for name in BOUNDS
        if getattr(before, name) != getattr(after, name)
    ]


def _submit(client: Client, before: ClusterSettings, after: ClusterSettings, epoch: int) -> int:
    """The slot from which on the change is in force; 0: it is in force, from an unknown slot on."""
    try:
        found = client.change_settings(before.version, epoch, after.to_command())
    except OutcomeUnknownError as error:
        if _latest(survey(client))[0] == after:
            return 0
        raise OutcomeUnknownError(
            0, 0, f"{error}; `paxosctl cluster show` shows whether it was made", error.troubles
        ) from error
    if found.status == Status.OK:
        return found.slot
    if found.status != Status.CAS_MISS:
        raise RefusedError("malformed", "the cluster says that these are no settings")
    now, _ = _latest(survey(client))
    if now == after:
        return 0  # an answer was lost on the way
    return negative(
        f"nothing was done, for another change was faster (version {found.version} instead of "
        f"{before.version}, epoch {found.epoch}). Look at `paxosctl cluster show`, and try again"
    )


def _view(shown: ClusterSettings, data: dict[str, Any], notes: Sequence[str]) -> View:
    named = settings_table(shown._asdict())
    table = {name: "" if value is None else value for name, value in named.items()}
    rows = [(name, str(value)) for name, value in table.items() if value != ""]
    return View(
        data=data,
        plain="".join([f"{name}\t{value}\n" for name, value in table.items()]).encode(),
        columns=("setting", "value"),
        rows=rows,
        notes=notes,
    )
