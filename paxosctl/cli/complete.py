"""What a TAB proposes: names and keys, asked of the cluster that the command line would go to.

Each of these is a ``shell_complete`` of click: what stands so far in, proposals out. They are for
a person who waits with a finger on a key: the cluster has half a second, what cannot be asked is
not proposed, and nothing is ever said about it.
"""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

if TYPE_CHECKING:
    from paxosd.core.status import NodeStatus

PROPOSALS_MAX = 100
"""Keys: as many as people look through."""

Proposals = list[CompletionItem[str]]
Complete = Callable[[click.Context, click.Parameter, str], Proposals]


def contexts(ctx: click.Context, param: click.Parameter, incomplete: str) -> Proposals:
    """Names of contexts, each with its endpoints."""
    from paxosctl.cli.contexts import Contexts  # noqa: PLC0415 -- the rest of this does not need it

    named = Contexts.load().named.items()
    return _items({name: ", ".join(each.endpoints) for name, each in named}, incomplete)


def keys(ctx: click.Context, param: click.Parameter, incomplete: str) -> Proposals:
    """Keys that begin so, as some node has them; those that people can type."""
    import os  # noqa: PLC0415 -- with the rest

    from paxosd.core.commands import prefix_end  # noqa: PLC0415 -- only once keys are asked for

    start = os.fsencode(incomplete)
    with _client(ctx) as (client, timeout_s):
        pages = client.pages(
            start, prefix_end(start), limit=PROPOSALS_MAX, stale=True, keys_only=True,
            timeout_s=timeout_s,
        )  # fmt: skip
        rows = [row for page in pages for row in page.results[0].rows]
    found = [row.key.decode("utf-8", "replace") for row in rows]
    return _items((key for key in found if key.isprintable() and "\ufffd" not in key), incomplete)


def nodes(ctx: click.Context, param: click.Parameter, incomplete: str) -> Proposals:
    """Names of members, each with its role."""
    return _items(_members(ctx), incomplete)


def senders(ctx: click.Context, param: click.Parameter, incomplete: str) -> Proposals:
    """Names of members, and the words for the roles that faults go by."""
    words = {"@leader": "whichever leads", "@follower": "whichever follows"}
    return _items(_members(ctx) | words, incomplete)


def endpoints(ctx: click.Context, param: click.Parameter, incomplete: str) -> Proposals:
    """Client endpoints of members, each with the member's name."""
    with _client(ctx) as (client, timeout_s):
        status = _status(client, timeout_s)
    return _items({each.client: name for name, each in status.members.items()}, incomplete)


def fault_names(ctx: click.Context, param: click.Parameter, incomplete: str) -> Proposals:
    """Names of the fault rules of some node."""
    with _client(ctx) as (client, timeout_s):
        rules = client.admin("fault_list", timeout_s=timeout_s)["rules"]
    return _items([each["name"] for each in rules], incomplete)


def leases(ctx: click.Context, param: click.Parameter, incomplete: str) -> Proposals:
    """Ids of leases."""
    with _client(ctx) as (client, timeout_s):
        found = client.leases(timeout_s=timeout_s)
    return _items([str(each.id) for each in found], incomplete)


def one_of(names: Callable[[], Iterable[str]]) -> Complete:
    """Proposes those of ``names()`` that begin so."""

    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> Proposals:
        return _items(names(), incomplete)

    return complete


def files(ctx: click.Context, param: click.Parameter, incomplete: str) -> Proposals:
    """Files and directories, which the shell itself looks for."""
    return [CompletionItem(incomplete, type="file")]


def _members(ctx: click.Context) -> dict[str, str]:
    with _client(ctx) as (client, timeout_s):
        status = _status(client, timeout_s)
    return {name: "leads" if name == status.leader else "" for name in status.members}


def _status(client: Any, timeout_s: float) -> "NodeStatus":
    from paxosd.wire.status import decode_status  # noqa: PLC0415 -- only once a node is asked

    return decode_status(client.admin("status", timeout_s=timeout_s))


def _client(ctx: click.Context) -> Any:
    """A client for one short question, and how long that may take, in seconds."""
    return ctx.find_root().obj.quick_client()


def _items(found: Iterable[str], incomplete: str) -> Proposals:
    helps = found if isinstance(found, dict) else {}
    return [
        CompletionItem(name, help=helps.get(name) or None)
        for name in found
        if name.startswith(incomplete) and not (name.startswith("-") and not incomplete)
    ]
