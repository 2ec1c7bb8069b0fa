"""lease: what goes away by itself once nobody renews it."""

from collections.abc import Sequence
from typing import Any

import click

from paxosctl.cli import complete
from paxosctl.cli.app import Duration, Group, Settings, Whole, global_options, negative, verb
from paxosctl.cli.render import View, as_cell
from paxosd.core.lease_bounds import FIRST_ID, TTL_MS_MAX, TTL_MS_MIN
from paxosd.core.requests import LeaseInfo
from paxosd.host.wording import counted


@click.group("lease", cls=Group)
def _lease() -> None:
    """Leases: keys that are put with one (`put --lease`) go when nobody has renewed it for its TTL.

    A lease never ends early, at a change of the leader least of all; it lives longer where no node
    leads.
    """


lease_verb = global_options(_lease)

_ID = Whole(1)


class _Ttl(Duration):
    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Milliseconds, within the bounds of a lease."""
        ttl_ms = super().convert(value, param, ctx)
        if not TTL_MS_MIN <= ttl_ms <= TTL_MS_MAX:
            self.fail("a lease has a TTL from 1s to 365d", param, ctx)
        return ttl_ms


@verb("grant")
@click.argument("ttl", type=_Ttl())
@click.option("--id", "wanted", type=Whole(1, FIRST_ID - 1), default=None,
              help="The id that it is to have.  [default: the next free one]")  # fmt: skip
def grant_verb(settings: Settings, ttl: int, wanted: int | None) -> None:
    """Make a lease of TTL, such as 10s, and print its id."""
    with settings.client() as client:
        lease = client.grant(ttl / 1000, wanted=wanted or 0)
    settings.show(
        View(
            data={"lease": lease, "ttl_ms": ttl},
            plain=b"%d\n" % lease,
            text=f"lease {lease}, {_seconds(ttl)}",
        )
    )


@verb("keepalive")
@click.argument("leases", metavar="ID...", type=_ID, nargs=-1, required=True,
                shell_complete=complete.leases)  # fmt: skip
def keepalive_verb(settings: Settings, leases: Sequence[int]) -> None:
    """Renew leases, all in one step: each has its whole TTL again. Exit code 1 if one of them is
    not there any more."""
    with settings.client() as client:
        found = client.keepalive(leases)
    rows = [(lease, _seconds(ttl_ms) if ttl_ms else "gone") for lease, ttl_ms in found.items()]
    view = View(
        data={"leases": [{"lease": n, "ttl_ms": ttl_ms or None} for n, ttl_ms in found.items()]},
        plain=b"".join([b"%d\t%d\n" % each for each in found.items()]),
        columns=("lease", "ttl"),
        rows=rows,
    )
    gone = [lease for lease, ttl_ms in found.items() if not ttl_ms]
    if gone:
        negative(f"not there any more: {', '.join(map(str, gone))}", view)
    settings.show(view)


@verb("revoke")
@click.argument("lease", metavar="ID", type=_ID, shell_complete=complete.leases)
def revoke_verb(settings: Settings, lease: int) -> None:
    """End a lease now; its keys go, in one step. Exit code 1 if there is no such lease."""
    with settings.client() as client:
        removed = client.revoke(lease)
    if removed is None:
        gone = {"lease": lease, "deleted": 0, "revision": None}
        negative(f"there is no lease {lease}", View(data=gone, plain=b""))
    data = {"lease": lease, "deleted": removed.keys, "revision": removed.revision}
    words = f"lease {lease} has ended; {counted(removed.keys, 'key')} deleted"
    settings.show(View(data=data, plain=b"%d\n" % removed.keys, text=words))


@verb("ttl")
@click.argument("lease", metavar="ID", type=_ID, shell_complete=complete.leases)
@click.option("--keys", is_flag=True, help="Show the keys that are attached to it, too.")
def ttl_verb(settings: Settings, lease: int, keys: bool) -> None:
    """Show what is left of a lease, as of the last entry of the log. Exit code 1 if there is no
    such lease."""
    with settings.client() as client:
        found = client.lease(lease, keys=keys)
    if found is None:
        gone = View(data={"lease": lease, "ttl_ms": None, "remaining_ms": None}, plain=b"")
        negative(f"there is no lease {lease}", gone)
    data = _data(found) | ({"keys": found.keys} if keys else {})
    settings.show(
        View(
            data=data,
            plain=b"%d\n" % found.remaining_ms,
            columns=_COLUMNS,
            rows=[_row(found)],
            text="\n".join(map(as_cell, found.keys)),
        )
    )


@verb("list")
def list_verb(settings: Settings) -> None:
    """Show all leases."""
    with settings.client() as client:
        found = list(client.leases())
    settings.show(
        View(
            data={"leases": [_data(each) for each in found]},
            plain=b"".join([b"%d\t%d\t%d\n" % each[:3] for each in found]),
            columns=_COLUMNS if found else (),
            rows=[_row(each) for each in found],
            text="" if found else "there are no leases",
        )
    )


for _each in (grant_verb, keepalive_verb, revoke_verb, ttl_verb, list_verb):
    lease_verb.add_command(_each)

_COLUMNS = ("lease", "ttl", "remaining", "session", "client", "owner")


def _row(lease: LeaseInfo) -> tuple[Any, ...]:
    times = _seconds(lease.ttl_ms), _seconds(lease.remaining_ms)
    return (lease.id, *times, lease.session, lease.name, lease.owner or "-")


def _data(lease: LeaseInfo) -> dict[str, Any]:
    return {
        "lease": lease.id,
        "ttl_ms": lease.ttl_ms,
        "remaining_ms": lease.remaining_ms,
        "session": lease.session,
        "client": lease.name or None,
        "owner": lease.owner or None,
    }


def _seconds(ms: int) -> str:
    return f"{ms / 1000:g} s"
