"""auth: keys, and who may do what with them."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from paxosctl.auth import can, tables
from paxosctl.auth.asking import Known, Made, Make, make, read
from paxosctl.auth.finishing import finish_objection
from paxosctl.auth.key_writing import kept, servers_of
from paxosctl.auth.tables import ChangeError
from paxosctl.auth.view import made_view, principal_view, table_view
from paxosctl.cli.app import Duration, Group, Settings, global_options, negative, raw, verb
from paxosctl.cli.new_file import NotReplacedError
from paxosctl.cli.render import View
from paxosctl.cli.survey import NodeView, survey
from paxosctl.client.client import Client
from paxosctl.client.errors import RefusedError
from paxosd.core.rights import (
    ADMIN,
    CLIENT,
    OPERATOR,
    PEER,
    ROLES,
    Principal,
    RightsTable,
    admin_of,
    parse_prefix,
)
from paxosd.net.key_files import KeyFile, make_key, parse_key


@click.group("auth", cls=Group)
def _auth() -> None:
    """Keys, and who may do what with them.

    Everybody is known by a public key. The rights table, which is in the log, has a name for it, a
    role (admin, operator, client, or peer: a node), and the prefixes of keys that a client or an
    operator may read and write. A change is in force from one slot on, on all nodes.
    """


auth_verb = global_options(_auth)


class _Bytes(click.ParamType[bytes]):
    """Bytes in words: ``parse`` reads them, or raises ValueError with what is wrong with them."""

    def __init__(self, name: str, parse: Callable[[str], bytes]) -> None:
        self.name = name
        self._parse = parse

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> bytes:
        """The bytes."""
        if isinstance(value, bytes):
            return value
        try:
            return self._parse(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)  # not the value: it may be a secret key


PREFIX = _Bytes("prefix", parse_prefix)
"""A prefix of keys: text, or ``hex:`` and hex digits; "" stands for all."""
PUBLIC_KEY = _Bytes("key", parse_key)
"""A public key in Z85."""

_READ = click.option(
    "--read",
    "reads",
    type=PREFIX,
    multiple=True,
    help='A prefix of keys to be read; "" is all. May be given several times.',
)
_WRITE = click.option(
    "--write",
    "writes",
    type=PREFIX,
    multiple=True,
    help='A prefix of keys to be written; "" is all.',
)
_PUBLIC = click.option(
    "--public-key",
    type=PUBLIC_KEY,
    default=None,
    help="A key that exists already, as paxosd keygen shows it: no file is written.",
)
_FILE = click.option(
    "-o",
    "--output-file",
    "place",
    default=None,
    metavar="FILE",
    help="Where the key goes; - is standard output.  [default: NAME.key]",
)
_FORCE = click.option("--force", is_flag=True, help="Replace the file if there is one.")

_OPEN_STATES = ("", "ready")
"""States of ``security.rollout`` in which a node takes everybody; "": it has no key."""

F = TypeVar("F", bound=Callable[..., Any])


def _writes_key(command: F) -> F:
    for option in (_FORCE, _FILE, _PUBLIC):
        command = option(command)
    return command


def _own_verb(name: str) -> Callable[[Callable[..., Any]], click.Command]:
    """A verb whose own -o is a file."""

    def decorate(function: Callable[..., Any]) -> click.Command:
        takes_settings = click.make_pass_decorator(Settings, ensure=True)(function)
        command: click.Command = click.command(name)(
            global_options(takes_settings, with_output=False)
        )
        return command

    return decorate


@verb("init")
def init_verb(settings: Settings) -> None:
    """Write the first rights table: the admin whose key this is, the nodes, and rights are required
    from then on. The key must be under [admins] in the trust files of the nodes."""
    with settings.client() as client:
        key = _own_key(client)
        views = survey(client)
        _check_ports(views)
        latest = max((each.status for each in views if each.status), key=lambda each: each.epoch)
        peers = {
            name: tuple([parse_key(text) for text in member.keys])
            for name, member in latest.members.items()
        }
        made = _make(client, lambda now: tables.first_table(now, key.name, key.public_key, peers))
    settings.show(made_view(made, [f"{key.name} is an admin, and rights are required from now on"]))


@_own_verb("new")
@click.argument("name")
@click.option("--role", type=click.Choice(ROLES), default=CLIENT, show_default=True,
              help="What it may do to the cluster.")  # fmt: skip
@_READ
@_WRITE
@_writes_key
def new_verb(
    settings: Settings,
    name: str,
    role: str,
    reads: Sequence[bytes],
    writes: Sequence[bytes],
    public_key: bytes | None,
    place: str | None,
    force: bool,
) -> None:
    """Add NAME with a new key, which is written into a file that only its owner may read."""
    _check_prefixes(role, reads, writes)
    with settings.client() as client:

        def add(key: bytes) -> Make:
            return lambda now: tables.new(now, _principal(name, role, reads, writes, (key,)))

        _with_key(settings, client, name, role, add, public_key, place, force)


@verb("list")
def list_verb(settings: Settings) -> None:
    """List everybody who has a key, with the rights; clients see only themselves."""
    with settings.client() as client:
        known = read(client)
    settings.show(table_view(known))


@verb("show")
@click.argument("name")
def show_verb(settings: Settings, name: str) -> None:
    """Show the role, the prefixes and the public keys of NAME."""
    with settings.client() as client:
        known = read(client)
    settings.show(principal_view(_found(known, name)))


@_own_verb("rotate")
@click.argument("name")
@click.option("--finish", is_flag=True, help="Take all keys of NAME away but the newest.  "
              "[refused while NAME is seen to use another: --force]")  # fmt: skip
@_writes_key
def rotate_verb(
    settings: Settings,
    name: str,
    finish: bool,
    public_key: bytes | None,
    place: str | None,
    force: bool,
) -> None:
    """Give NAME a new key beside the old one, which stays good until --finish.

    Of a node: make the key there (paxosd keygen), name it here with --public-key, restart the node
    with it, then --finish.
    """
    with settings.client() as client:
        if finish:
            if public_key or place:
                raise click.UsageError("--finish makes no key: it goes with --force alone")
            _finish(settings, client, name, force=force)
            return
        known = read(client)
        who = _found(known, name)
        if who.role == PEER and public_key is None:
            raise click.UsageError(
                f"{name} is a node: make its key there with paxosd keygen, and name it here with "
                "--public-key, so that the secret one never leaves its machine"
            )

        def add(key: bytes) -> Make:
            return lambda now: tables.rotate(now, name, key)

        _with_key(settings, client, name, who.role, add, public_key, place, force)


@verb("revoke")
@click.argument("name")
@click.option(
    "--public-key",
    type=PUBLIC_KEY,
    default=None,
    help="Only this one of its keys.  [default: NAME goes, with all of its keys]",
)
def revoke_verb(settings: Settings, name: str, public_key: bytes | None) -> None:
    """Take NAME away: its keys are refused from then on, for ever, also where connections stand."""
    with settings.client() as client:
        made = _make(client, lambda now: tables.revoke(now, name, public_key))
    settings.show(made_view(made, [f"what {name} has under way ends with that slot"]))


@verb("set")
@click.argument("name")
@click.option("--role", type=click.Choice([ADMIN, OPERATOR, CLIENT]), default=None,
              help="What it may do to the cluster.")  # fmt: skip
@_READ
@_WRITE
@click.option("--no-read", is_flag=True, help="It may read nothing.")
@click.option("--no-write", is_flag=True, help="It may write nothing.")
def set_verb(
    settings: Settings,
    name: str,
    role: str | None,
    reads: Sequence[bytes],
    writes: Sequence[bytes],
    no_read: bool,
    no_write: bool,
) -> None:
    """Change what NAME may do. Prefixes that are given take the place of those that it has; what is
    not given stays as it is."""
    if (no_read and reads) or (no_write and writes):
        raise click.UsageError("prefixes are given or taken away, not both")
    if not (role or reads or writes or no_read or no_write):
        raise click.UsageError(
            "give at least one of --role, --read, --write, --no-read, --no-write"
        )

    def change(now: RightsTable) -> RightsTable:
        before = tables.named(now, name)
        wanted = role or before.role
        was_admin = before.role == ADMIN
        read_now = () if was_admin and wanted != ADMIN else before.read
        write_now = () if was_admin and wanted != ADMIN else before.write
        if wanted == ADMIN:
            _check_prefixes(wanted, reads, writes)
        changed = _principal(
            name,
            wanted,
            () if no_read else reads or read_now,
            () if no_write else writes or write_now,
            before.keys,
        )
        return tables.change(now, changed)

    with settings.client() as client:
        made = _make(client, change)
    settings.show(made_view(made, []))


@verb("require")
@click.argument("state", type=click.Choice(["on", "off"]), default="on")
@click.option("--unconfirmed", type=Duration(), default=None,
              help="For how long a node that is cut off from the others serves reads.  "
              "[default: as it is; 60s at first]")  # fmt: skip
def require_verb(settings: Settings, state: str, unconfirmed: int | None) -> None:
    """Require rights from now on; or, with `off`, stop: then everybody may do everything, with a
    key or without one. `auth list` says which it is."""
    on = state == "on"
    with settings.client() as client:
        if on:
            _check_ports(survey(client))
        made = _make(client, lambda now: tables.require(now, on=on, unconfirmed_ms_max=unconfirmed))
    words = "rights are required" if on else "rights are not required: everybody may do everything"
    settings.show(made_view(made, [words]))


@verb("can-i")
@click.argument("what", metavar="VERB", type=click.Choice(list(can.VERBS)))
@click.argument("key")
@click.option("--prefix", is_flag=True, help="KEY is a prefix: with all keys that begin so.")
@click.option("--as", "name", default=None, metavar="NAME",
              help="May NAME do it?  [default: who has this key]")  # fmt: skip
def can_i_verb(settings: Settings, what: str, key: str, prefix: bool, name: str | None) -> None:
    """Say whether VERB with KEY is allowed, without trying. Exit code 1 if it is not."""
    with settings.client() as client:
        known = read(client)
    why = ""
    if known.table.required:
        who = _found(known, name or known.asker)
        by_file = known.in_trust_file and (name is None or known.table.named(name) is None)
        why = can.may(who, what, raw(key), prefix=prefix, in_table=not by_file)
    elif name is not None:
        _found(known, name)
    view = View(
        data={"allowed": not why, "required": known.table.required, "message": why or None},
        plain=b"no\n" if why else b"yes\n",
        text="yes" if known.table.required else "yes: rights are not required here",
    )
    if why:
        negative(why, view, code="forbidden")
    settings.show(view)


for each in (init_verb, new_verb, list_verb, show_verb, rotate_verb, revoke_verb, set_verb,
             require_verb, can_i_verb):  # fmt: skip
    auth_verb.add_command(each)


# -- what they share


def _finish(settings: Settings, client: Client, name: str, *, force: bool) -> None:
    """The old keys go, unless their holder is seen to use one of them."""
    views = [] if force else survey(client)
    own_key = b"" if force or client.key is None else client.key.public_key

    def end(now: RightsTable) -> RightsTable:
        objection = finish_objection(tables.named(now, name), views, own_key)
        if objection:
            raise ChangeError(f"{objection}; or --force")
        return tables.finish(now, name)

    made = _make(client, end)
    settings.show(made_view(made, [f"the newest key of {name} is its only one"]))


def _own_key(client: Client) -> KeyFile:
    if client.key is None:
        raise RefusedError(
            "key_needed",
            "this needs the key of an admin: --key-file FILE, with its public key under [admins] "
            "in the trust file of each node",
        )
    return client.key


def _check_ports(views: Sequence[NodeView]) -> None:
    """Refuse to require rights where they would not hold: at the ports of a node that takes
    everybody. Of a node that does not answer nothing is known: it checks that when it starts."""
    wide = [
        each.name
        for each in views
        if each.status is not None
        and each.status.security is not None
        and each.status.security.rollout in _OPEN_STATES
    ]
    if wide:
        negative(
            f"nothing was done: {', '.join(sorted(wide))} would still take whoever reaches the "
            "ports, without a key. Give each node a key first, and security.rollout "
            '= "listening" or "done" (docs/SECURITY.md)'
        )


def _make(client: Client, how: Make) -> Made:
    try:
        return make(client, how)
    except ChangeError as error:
        return negative(f"nothing was done: {error}")


def _found(known: Known, name: str) -> Principal:
    who = known.table.named(name)
    if who is None and known.in_trust_file and name == known.asker:
        return admin_of(name)
    if who is None and not known.is_whole:
        negative(f"{known.asker} may only see itself: an admin or an operator sees {name}")
    if who is None:
        negative(f"there is no principal {name}: paxosctl auth list")
    return who


def _principal(
    name: str, role: str, reads: Sequence[bytes], writes: Sequence[bytes], keys: tuple[bytes, ...]
) -> Principal:
    if role == ADMIN:
        return admin_of(name, keys)
    return Principal(name, role, tuple(reads), tuple(writes), keys)


def _check_prefixes(role: str, reads: Sequence[bytes], writes: Sequence[bytes]) -> None:
    if role in (ADMIN, PEER) and (reads or writes):
        raise click.UsageError(
            f"an {ADMIN} may do everything, and a {PEER} nothing: neither has prefixes"
        )


def _with_key(
    settings: Settings,
    client: Client,
    name: str,
    role: str,
    add: Any,
    public_key: bytes | None,
    place: str | None,
    force: bool,
) -> None:
    """Make a new key known, and keep it in its file."""
    if public_key is not None:
        if place is not None:
            raise click.UsageError("with --public-key no file is written: leave -o out")
        settings.show(made_view(_make(client, add(public_key)), []))
        return
    if role == PEER:
        raise click.UsageError(
            "the key of a node is made there (paxosd keygen), and named here with --public-key"
        )
    servers = servers_of(survey(client))
    key = make_key(name, role, client.cluster, servers)
    place = place or f"{name}.key"
    try:
        with kept(key, place, force=force):
            made = _make(client, add(key.public_key))
    except NotReplacedError as error:
        negative(str(error), code="exists")
    if place != "-":
        settings.show(made_view(made, [f"the key is in {place}: whoever can read it is {name}"]))
