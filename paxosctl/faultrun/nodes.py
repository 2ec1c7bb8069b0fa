"""Which nodes a fault directive goes to, and the names that stand for the nodes with a role.

``@leader``, ``@follower`` (one of them: the last by name) and ``@followers`` may stand wherever
a node's name may; they mean the nodes that have the role when the fault is added.
"""

import re
from collections.abc import Sequence
from typing import Any

from paxosctl.cli.survey import Answer, NodeView, ask_all, leader_of
from paxosctl.client.client import Client
from paxosctl.client.errors import RefusedError
from paxosd.config.settings import nearest
from paxosd.core.effects import FORBIDDEN
from paxosd.faults.rules import CUTTING_KINDS, KINDS, FaultError, parse_rule
from paxosd.wire import PEER_KIND_NAMES

ROLES = ("@leader", "@follower", "@followers")


class NoSuchNodeError(Exception):
    """A name that no node has, or a role that none has now; the message says which there are."""


def resolve(names: str, views: Sequence[NodeView]) -> str:
    """The same list of names with the roles replaced. Raises NoSuchNodeError."""
    return ",".join(
        dict.fromkeys(each for name in names.split(",") for each in _named(name.strip(), views))
    )


def check_names(names: str, known: Sequence[str]) -> None:
    """Raises NoSuchNodeError unless each is a role, a known name, or ``*``."""
    for name in [each.strip() for each in names.split(",")]:
        if name not in ("*", *ROLES, *known):
            raise NoSuchNodeError(f'there is no node "{name}"; {nearest(name, [*known, *ROLES])}')


def _named(name: str, views: Sequence[NodeView]) -> list[str]:
    if not name.startswith("@"):
        return [name]
    check_names(name, [view.name for view in views])
    leader, _ = leader_of(views)
    followers = [view.name for view in views if view.name != leader]
    if not leader:
        raise NoSuchNodeError(f"{name}: no leader is known now")
    if name == "@leader":
        return [leader]
    if not followers:
        raise NoSuchNodeError(f"{name}: this cluster has one node only")
    return followers if name == "@followers" else followers[-1:]


def holders(args: dict[str, Any], views: Sequence[NodeView]) -> list[NodeView]:
    """The nodes at which a rule has to be added: those that it acts on, or else all, because a
    rule on messages works where they arrive."""
    kind = args.get("kind")
    spec = KINDS.get(str(kind))
    if spec is None or not spec.nodes or kind in CUTTING_KINDS or not args.get("on"):
        return list(views)
    names = [name.strip() for name in args["on"].split(",")]
    return [view for view in views if "*" in names or view.name in names]


def ask(
    client: Client, views: Sequence[NodeView], verb: str, args: dict[str, Any]
) -> dict[str, Answer]:
    """Node name → answer, of the nodes that can be reached."""
    names = {view.endpoint: view.name for view in views if view.status is not None}
    return {names[at]: answer for at, answer in ask_all(client, names, verb, args).items()}


def took(answer: Answer | None) -> bool:
    """Whether a node did what it was asked to."""
    return answer is not None and answer.error is None


def refusal(answers: dict[str, Answer]) -> RefusedError | None:
    """The first refusal among the answers, which names its node."""
    for name, answer in answers.items():
        error = answer.error
        if isinstance(error, RefusedError):
            return RefusedError(error.code, f"{name}: {error}", error.troubles)
    return None


def without_faults(answers: dict[str, Answer]) -> list[str]:
    """The nodes that take no fault directives: they cannot have any faults either."""
    return [
        name
        for name, answer in answers.items()
        if isinstance(answer.error, RefusedError) and answer.error.code == FORBIDDEN
    ]


def check_rule(args: dict[str, Any], nodes: Sequence[str]) -> None:
    """Whether daemons would take a rule. Raises FaultError, with the names of the command line."""
    try:
        parse_rule(args, nodes=nodes, message_kinds=PEER_KIND_NAMES.values())
    except FaultError as error:
        raise FaultError(_as_options(str(error))) from None


_OPTIONS = {
    "from": "--from", "to": "--to", "on": "--on", "message_kinds": "--message", "ms": "--ms",
    "every_ms": "--every", "every": "--every", "for_ms": "--for", "probability": "--probability",
    "seed": "--seed", "oneway": "--oneway", "persist": "--persist",
}  # fmt: skip
_NAMED = re.compile(
    r"^(?P<first>from|to|on|message_kinds|ms|every_ms|for_ms|probability|seed)(?=:| is | has )"
    r"|(?P<verb>takes no|needs) "
    r"(?P<one>message kinds|from or to|from|on|ms|every|oneway|probability)\b"
    r"|with (?P<how>on|from and to)\b|(?<=in )(?P<where>on)\b"
)


def _as_options(words: str) -> str:
    """The checks name the arguments of the wire protocol; a person types options."""

    def named(found: re.Match[str]) -> str:
        words = found[0].replace("message kinds", "message_kinds")
        return re.sub(r"[a-z_]+", lambda word: _OPTIONS.get(word[0], word[0]), words)

    return _NAMED.sub(named, words)


def add_everywhere(
    client: Client, views: Sequence[NodeView], args: dict[str, Any]
) -> dict[str, Answer]:
    """Add a rule where it belongs; if one node refuses, it is taken back from the others.
    Raises RefusedError."""
    answers = ask(client, views, "fault_add", args)
    refused = refusal(answers)
    if refused is not None:
        done = [view.endpoint for view in views if took(answers.get(view.name))]
        ask_all(client, done, "fault_rm", {"name": args["name"]})
        raise refused
    return answers
