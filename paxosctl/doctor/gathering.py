"""The evidence: a configuration is read, its machine looked at, and every node asked.

    configuration ──► this machine ──► survey of all nodes ──► why some are silent
                                        └► links between them, names of fault rules

Nothing here ends with an error because something is broken: that is what is looked for.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from paxosctl.cli.diagnose import unreachable_words
from paxosctl.cli.survey import NodeView, survey
from paxosctl.client.client import Client
from paxosctl.client.errors import ClientError, HandshakeError, UnreachableError
from paxosctl.doctor.evidence import Evidence
from paxosctl.doctor.facts import machine_look, service
from paxosctl.faultrun.nodes import ask
from paxosctl.faultrun.view import names_of
from paxosctl.member.probe import Link, probe_all
from paxosd.config.schema import Config
from paxosd.config.settings import ConfigError
from paxosd.config.sources import load
from paxosd.core.client.endpoints import HANDSHAKE_REFUSED, UNREACHABLE, Trouble
from paxosd.core.membership import Member

KINDS = ("peer", "events", "client")
PROBED_MEMBERS_MAX = 10
"""A node takes 32 endpoints in one probe, and a member has three."""
LOOK_S = 0.5
LOOKS_AT_ONCE = 8

Stage = Callable[[str], object]


class Given(NamedTuple):
    """A configuration as far as it could be read. ``keys_unseen``: why it is not known whether the
    node is handed a key that the file does not name; "": it is known."""

    path: Path
    config: Config | None
    problems: tuple[str, ...]
    keys_unseen: str = ""


def read_configuration(path: Path, environ: Mapping[str, str] = os.environ) -> Given:
    """Load it as the daemon does: with what its service hands it, where this environment says
    nothing of keys."""
    given = _load(path, environ)
    named = given.config is not None and given.config.security.key_file
    if named or environ.get(service.DIRECTORY):
        return given
    # With a key, for what the file says of the rest: whose it is, and where it lives.
    keyed = _load(path, environ, ("security.key_file=unseen", "security.trust_file=unseen"))
    if keyed.config is None:
        return keyed
    handed = service.look_at(keyed.config)
    if not handed.unseen:
        return _load(path, {**handed.environ, **environ}, handed.settings)
    bare = replace(keyed.config.security, key_file="", trust_file="")
    unseen = ". ".join([*given.problems, handed.unseen])
    return Given(path, replace(keyed.config, security=bare), (), unseen)


def _load(path: Path, environ: Mapping[str, str], overrides: tuple[str, ...] = ()) -> Given:
    try:
        return Given(path, load(path, overrides, environ), ())
    except ConfigError as error:
        return Given(path, None, error.problems)
    except PermissionError as error:
        return Given(path, None, (str(error),))


def gather(
    given: Given | None,
    make_client: Callable[[], AbstractContextManager[Client]] | None,
    stage: Stage,
) -> Evidence:
    """All that the checks need. ``given``: None without a configuration. ``make_client``: makes a
    client of the endpoints to begin with; None: no node is asked. ``stage``: is called with what is
    looked at next."""
    evidence = Evidence()
    if given is not None:
        evidence = Evidence(
            config_path=str(given.path),
            config=given.config,
            config_problems=given.problems,
            keys_unseen=given.keys_unseen,
        )
        if given.config is not None:
            machine = machine_look.look(given.config, given.path, stage)
            evidence = replace(evidence, machine=machine)
    if make_client is None:
        return evidence
    with make_client() as client:
        stage("the nodes")
        views = _named(_views(client), evidence.config)
        evidence = replace(evidence, views=tuple(views), silent=_silent(views))
        stage("which nodes reach each other")
        links = tuple(_links(client, evidence))
        stage("their fault rules")
        return replace(evidence, links=links, rules=_rules(client, views))


def _views(client: Client) -> list[NodeView]:
    try:
        return survey(client)
    except ClientError as error:
        own = {each.endpoint: each for each in client.troubles()}
        return [NodeView(each, each, None, _own_error(own.get(each), error))
                for each in client.endpoints]  # fmt: skip


def _own_error(trouble: Trouble | None, error: ClientError) -> ClientError:
    """What is wrong with one endpoint, where ``error`` names the gravest thing of all."""
    if trouble is not None and trouble.code in HANDSHAKE_REFUSED:
        return HandshakeError(trouble.code, trouble.message)
    if trouble is not None and isinstance(error, HandshakeError):
        return UnreachableError(UNREACHABLE, trouble.message)
    return error


def _named(views: Sequence[NodeView], config: Config | None) -> list[NodeView]:
    """With the names that the configuration has for nodes that did not answer."""
    members = config.cluster.members if config is not None else {}
    names = {member.client: name for name, member in members.items()}
    found: dict[str, NodeView] = {}
    for view in views:
        name = names.get(view.endpoint, view.name) if view.name == view.endpoint else view.name
        if found.get(name) is None or found[name].status is None:
            found[name] = replace(view, name=name)
    return list(found.values())


def _silent(views: Sequence[NodeView]) -> dict[str, str]:
    """Why each node that did not answer did not: its port is tried once more, unless keys were the
    reason."""
    silent = [view for view in views if view.status is None]
    if not silent:
        return {}
    with ThreadPoolExecutor(LOOKS_AT_ONCE) as pool:
        words = pool.map(_why, silent)
        return {
            view.name: each
            if view.endpoint in f"{view.name} {each}"
            else f"{each} ({view.endpoint})"
            for view, each in zip(silent, words, strict=True)
        }


def _why(view: NodeView) -> str:
    if view.refused_a_key:
        return view.why  # it is there, and said what is wrong
    return unreachable_words(view.endpoint, view.why, LOOK_S)


def _links(client: Client, evidence: Evidence) -> Iterator[Link]:
    """Have every node that answers connect to the endpoints of every other member."""
    members = evidence.membership.members
    up = {each.name: each.endpoint for each in evidence.views if each.status is not None}
    chosen = sorted(members, key=lambda name: (name not in up, not members[name].voter, name))
    chosen = chosen[: PROBED_MEMBERS_MAX + 1]
    asked = {
        source: (up[source], list(_endpoints(members, source, chosen)))
        for source in chosen
        if source in up
    }
    whose = {getattr(members[name], kind): (name, kind) for name in chosen for kind in KINDS}
    asked = {name: at for name, at in asked.items() if at[1]}
    for source, results in (probe_all(client, dict(asked)) if asked else {}).items():
        for endpoint, result in results.items():
            target, kind = whose[endpoint]
            error = "" if result["ok"] else str(result["error"])
            yield Link(source, target, kind, endpoint, error)


def _endpoints(members: dict[str, Member], source: str, chosen: Sequence[str]) -> Iterator[str]:
    for name in chosen:
        if name != source:
            yield from filter(None, (getattr(members[name], kind) for kind in KINDS))


def _rules(client: Client, views: Sequence[NodeView]) -> dict[str, tuple[str, ...]]:
    """The names of the fault rules of nodes that say that they have some."""
    having = [view for view in views if view.status is not None and view.status.fault_count]
    answers = ask(client, having, "fault_list", {}) if having else {}
    return {name: tuple(names_of([each.body])) for name, each in answers.items()}
