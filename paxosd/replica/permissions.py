"""Who may ask this node for what: admission, before anything is proposed, read or handed out.

    Authority: whose key is it? ─┐
    rights table in force here ──┴──► Permissions ──► a Refusal in words, or None

    class of a request      who may, once rights are required
    observe                 any principal
    operate                 operator, admin
    snapshot                operator, admin, who may read every key
    faults                  operator, admin (and ``[faults] enabled`` on the node)
    data                    who may read every key
    session                 any principal but a peer; a fence: the key that opened the session
    members                 operator, admin
    settings, rights        admin
    a read, a write         whose prefixes cover all that is read or written

- A change of the rights always needs an admin, also before rights are required: or else the first
  to ask would be it.
- A key that is nobody's (it was revoked while its connection lasts) is refused in any case.
- An admin that only the trust file knows may look, and change members, settings and rights; for the
  log the node vouches for it. It has no session: what is applied knows the rights table alone.
- A session is used by the key that opened it, and by no other. This does not depend on the table,
  so it holds on a node that has applied little of the log as well; there a request with a session
  that was not opened yet, as far as the node knows, waits until it knows (:data:`UNOPENED`).
- A write by prefixes is judged here only for the words: what counts is decided where it is applied
  (``core/state/rights_check.py``).
- A node that has heard of no quorum for longer than ``unconfirmed_ms_max`` does not know who lost
  his rights meanwhile. It gives no stale reads, no history and no data until it has.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from paxosd.core.admin_verbs import COMMAND_PERMISSIONS, AdminVerb, Permission
from paxosd.core.cluster_settings import LEVEL_KEYS
from paxosd.core.commands import (
    CLUSTER,
    FENCE,
    MEMBERS,
    RIGHTS,
    Entry,
    prefix_end,
    with_requester,
)
from paxosd.core.effects import BUSY, FORBIDDEN, REFUSALS, UNCONFIRMED, Refusal
from paxosd.core.requests import COUNT, GET, LEASE, LEASES, NEWEST, RANGE
from paxosd.core.rights import PEER, Principal, RightsTable, covers, prefix_text
from paxosd.core.state.machine import Machine
from paxosd.core.state.rights_check import may_do
from paxosd.replica.authority import Authority, Holders
from paxosd.wire import encode_entry

SHOWN_KEY_BYTES = 60
SHOWN_PREFIXES = 5
_MAY: Mapping[Permission, tuple[Callable[[Principal], bool], str]] = MappingProxyType(
    {
        Permission.OBSERVE: (lambda _: True, "anybody with a key"),
        Permission.OPERATE: (lambda who: who.is_operator, "an operator or an admin"),
        Permission.FAULTS: (lambda who: who.is_operator, "an operator or an admin"),
        Permission.SNAPSHOT: (
            lambda who: who.is_operator or who.reads_all,
            "an operator, an admin, or who may read every key",
        ),
        Permission.DATA: (lambda who: who.reads_all, "who may read every key"),
        Permission.SESSION: (lambda who: who.role != PEER, "anybody but a node"),
        Permission.MEMBERS: (lambda who: who.is_operator, "an operator or an admin"),
        Permission.SETTINGS: (lambda who: who.is_admin, "an admin"),
        Permission.RIGHTS: (lambda who: who.is_admin, "an admin"),
    }
)
_NAMES = {permission: permission.value for permission in Permission} | {
    Permission.SESSION: "have a session",
    Permission.MEMBERS: "change the members",
    Permission.SETTINGS: "change the settings of the cluster",
    Permission.RIGHTS: "change the rights",
    Permission.OPERATE: "ask for a checksum of all nodes",
}
_OF_RANGES = frozenset((RANGE, COUNT, NEWEST))
"""The queries of the keys from the first of their arguments to the second."""
_VOUCHED = frozenset((MEMBERS, CLUSTER, RIGHTS))
_NO_KEY = (
    "rights are required in this cluster, and this connection has no key: give one with --key-file"
)
_NOBODYS = (
    "the key of this connection is nobody's here: it was revoked, or never added; an admin can "
    "list the keys: paxosctl auth list"
)
_OTHER_KEY = "that session was opened by another key"
UNOPENED = Refusal(BUSY, f"{REFUSALS[BUSY]}: this node has yet to learn who opened the session", "")
"""Of a session that is not opened yet, as far as this node has applied the log. Once it has applied
all that somebody may know of, nobody has that session."""


def may(who: Principal, permission: Permission) -> bool:
    """Whether somebody may do what is of this class, once rights are required."""
    return _MAY[permission][0](who)


class Permissions:
    """Answers for one node. ``age_ms``: how old the applied state may be now, -1: that is not known
    (``core/freshness.py``)."""

    def __init__(self, machine: Machine, authority: Authority, age_ms: Callable[[], int]) -> None:
        self._machine = machine
        self._held_by = authority
        self._age_ms = age_ms

    @property
    def _authority(self) -> Authority:
        """By the table in force now: peers' messages may have brought another one, and changes of
        keys made since, within the very turn in which a client asks."""
        self._held_by.use(self._machine.rights)
        return self._held_by

    @property
    def required(self) -> bool:
        """Whether the rights table in force here forbids anything."""
        return self._machine.rights.required

    # ---- who asks

    def _stranger(self, key: bytes) -> Refusal | None:
        """Why whoever has this key may ask for nothing at all; None: he may ask."""
        if key:
            return None if self._authority.principal_of(key) is not None else _forbidden(_NOBODYS)
        return _forbidden(_NO_KEY) if self.required else None

    def voucher_refusal(self, key: bytes, client: bytes) -> Refusal | None:
        """Why who has this key may not vouch for a request of who has the key ``client``; None: it
        is a node, or, without a key, while nothing is required, whoever can connect: for it nobody
        is vouched then."""
        who = self._authority.principal_of(key)
        if who is None or who.role != PEER:
            if not (key or self.required):
                return None
            return _forbidden("only a node of the cluster passes on what others ask")
        known = self._authority.principal_of(client) is not None
        if known or client in self._machine.rights.revoked:
            return None
        # The other node let that client in: it may have applied a newer table than this one.
        words = f"{REFUSALS[BUSY]}: this node has yet to learn whose key the client has"
        return Refusal(BUSY, words, "")

    def asker(self, key: bytes) -> bytes:
        """By whose key a write is asked for that came with this one. A node has none to write: what
        it passes on, and does not vouch for, is of a client without a key."""
        who = self._authority.principal_of(key) if key else None
        return b"" if who is not None and who.role == PEER else key

    def _holder(self, key: bytes) -> Principal:
        who = self._authority.principal_of(key)
        assert who is not None, "a stranger is refused before"
        return who

    # ---- writes

    def entry_refusal(self, key: bytes, entry: Entry, *, leading: bool) -> Refusal | None:
        """Why the commands of an entry are not to be proposed; None: they may be. ``leading``:
        whether this node proposes, and does not pass on."""
        refusal = self._stranger(key)
        if refusal is not None:
            return refusal
        if entry.session == 0:
            for command in entry.commands:
                refusal = self._control_refusal(key, command, leading)
                if refusal is not None:
                    return refusal
            return None
        refusal = self._session_refusal(key, entry.session, leading)
        if refusal is not None or not self.required:
            return refusal
        who, session = self._holder(key), self._machine.sessions.table.get(entry.session)
        if (refusal := self._sessionless(key, who)) is not None:
            return refusal
        if session is None or entry.first_seq <= session.max_seq:
            return None  # there may be answers to it
        for command in entry.commands:
            if not may_do(who, command):
                return _forbidden(_write_words(who, command))
        return None

    def _session_refusal(self, key: bytes, number: int, leading: bool) -> Refusal | None:
        """Why who has this key may not use a session."""
        if not key:
            return None
        sessions = self._machine.sessions
        session = sessions.table.get(number)
        if session is None:
            # One that was given before has ended, for ever.
            return UNOPENED if leading and number >= sessions.next_id else None
        # One that was opened without a key is done as long as rights are not required.
        return _forbidden(_OTHER_KEY) if session.key not in (key, b"") else None

    def _control_refusal(self, key: bytes, command: Any, leading: bool) -> Refusal | None:
        op = command[0]
        if op != RIGHTS and not self.required:
            return None
        if not key:
            return _forbidden(
                "the rights are changed by an admin with a key: start the nodes with [security], "
                "and name an admin in their trust files"
            )
        who, permission = self._holder(key), COMMAND_PERMISSIONS[op]
        if not may(who, permission):
            return _lacking(who, _NAMES[permission], permission)
        if permission is Permission.SESSION and self._authority.is_trusted_admin(key):
            return self._sessionless(key, who)
        return self._session_refusal(key, command[1], leading) if op == FENCE else None

    def _sessionless(self, key: bytes, who: Principal) -> Refusal | None:
        """Why somebody has no sessions; None: he may have some."""
        if not may(who, Permission.SESSION):
            return _lacking(who, _NAMES[Permission.SESSION], Permission.SESSION)
        if not self._authority.is_trusted_admin(key):
            return None
        return _forbidden(
            f"{who.name} is an admin by this node's trust file alone, and may change members, "
            "settings and rights, but no data: add it to the table first (paxosctl auth)"
        )

    def keys_under(self, table: RightsTable) -> Holders:
        """Who would be let in here if this table were in force."""
        return self._authority.under(table)

    def named(self, key: bytes, entry: Entry, blob: bytes) -> tuple[Entry, bytes]:
        """An entry of session 0 that was admitted, and its bytes, with the key of who asks: what
        the client wrote there itself is of no account."""
        if self._machine.settings.level < LEVEL_KEYS:
            return entry, blob
        trusted = bool(key) and self._authority.is_trusted_admin(key)
        if trusted and all(command[0] in _VOUCHED for command in entry.commands):
            key = b""
        named = with_requester(entry, key)
        return (entry, blob) if named == entry else (named, encode_entry(named))

    # ---- reads

    def read_refusal(self, key: bytes, queries: list[list[Any]]) -> Refusal | None:
        """Why these queries are not to be answered; None: they may be. Ask again when they are
        answered."""
        refusal = self._stranger(key)
        if refusal is not None or not self.required:
            return refusal
        who = self._holder(key)
        if who.reads_all:
            return None
        for query in queries:
            if query[0] in (LEASE, LEASES):
                if query[0] == LEASES or not self._owns(who, query[1]):
                    return _forbidden(
                        f"{_shown(who)} may not read leases of others here: only who may read "
                        f"every key does{_advice(who)}"
                    )
            elif query[0] == GET:
                if not query[1].startswith(who.read):
                    return _forbidden(_read_words(who, query[1], None))
            elif query[0] not in _OF_RANGES:
                return _forbidden(f"{_shown(who)} may not ask for this here{_advice(who)}")
            elif not covers(who.read, query[1], query[2]):
                return _forbidden(_read_words(who, query[1], query[2]))
        return None

    def _owns(self, who: Principal, number: int) -> bool:
        lease = self._machine.leases.table.get(number)
        return lease is None or lease.owner == who.name

    def history_refusal(self, key: bytes, start: bytes, end: bytes) -> Refusal | None:
        """Why changes of these keys are not to be shown; None: they may be."""
        refusal = self._stranger(key) or self.unconfirmed()
        if refusal is not None or not self.required:
            return refusal
        who = self._holder(key)
        return None if covers(who.read, start, end) else _forbidden(_read_words(who, start, end))

    def unconfirmed(self) -> Refusal | None:
        """Whether this node is cut off for too long to know who may read."""
        if not self.required:
            return None
        if 0 <= self._age_ms() <= self._machine.rights.unconfirmed_ms_max:
            return None
        return Refusal(UNCONFIRMED, REFUSALS[UNCONFIRMED], "")

    # ---- admin verbs

    def verb_refusal(self, key: bytes, verb: AdminVerb | None) -> Refusal | None:
        """Why a verb (None: one that is not known) is not to be carried out; None: it may be."""
        refusal = self._stranger(key)
        if refusal is not None or not self.required or verb is None:
            return refusal
        who = self._holder(key)
        if not may(who, verb.permission):
            return _lacking(who, f"ask for {verb.name}", verb.permission)
        return self.unconfirmed() if verb.permission is Permission.DATA else None

    def shown_to(self, key: bytes) -> dict[str, Any]:
        """What ``rights`` answers: the table, of which those who are no operators see themselves
        alone; and who asks."""
        table = self._machine.rights
        who = self._authority.principal_of(key)
        document = table.document() | {"version": table.version}
        if self.required and not (who is not None and who.is_operator):
            own = document["principals"].get(who.name) if who is not None else None
            document["principals"] = {who.name: own} if who is not None and own else {}
            document["revoked"] = []
        trusted = bool(key) and self._authority.is_trusted_admin(key)
        document["asker"] = who and {"name": who.name, "role": who.role, "trust_file": trusted}
        return document


# ---- in words


def _forbidden(words: str) -> Refusal:
    return Refusal(FORBIDDEN, words, "")


def _lacking(who: Principal, what: str, permission: Permission) -> Refusal:
    return _forbidden(f"{_shown(who)} may not {what} here: {_MAY[permission][1]} may{_advice(who)}")


def _shown(who: Principal) -> str:
    return f"{who.name} ({who.role})"


def _advice(who: Principal) -> str:
    if who.role == PEER:
        return "; a node's key is for the protocol alone: ask with the key of a person or a program"
    return f"; an admin can change that: paxosctl auth set {who.name}"


def _read_words(who: Principal, start: bytes, end: bytes | None) -> str:
    what = f"read {_range_text(start, end)}"
    return f"{_shown(who)} may not {what} here: {_prefixes('read', who.read)}{_advice(who)}"


def _range_text(start: bytes, end: bytes | None) -> str:
    """Of the keys from ``start`` on and before ``end`` (b"": all behind); None: ``start`` alone."""
    if end is None or end == start + b"\0":
        return _key_text(start)
    if end == prefix_end(start):
        return f"what begins with {_key_text(start)}" if start else "every key"
    return f"from {_key_text(start)} {f'to {_key_text(end)}' if end else 'on'}"


def _write_words(who: Principal, command: Any) -> str:
    key = command[1] if len(command) > 1 and type(command[1]) is bytes else None
    if key is not None and len(command) > 2 and not key.startswith(who.write):
        what = f"write {_key_text(key)}"
    elif key is not None:
        what = f"do this with {_key_text(key)}"
    else:
        what = "do all of this"
    prefixes = f"{_prefixes('write', who.write)}, {_prefixes('read', who.read)}"
    return f"{_shown(who)} may not {what} here: {prefixes}{_advice(who)}"


def _prefixes(kind: str, prefixes: tuple[bytes, ...]) -> str:
    if not prefixes:
        return f"it has no {kind} prefixes"
    shown = ", ".join([prefix_text(each) or '"" (all)' for each in prefixes[:SHOWN_PREFIXES]])
    return f"its {kind} prefixes are {shown}{' …' if len(prefixes) > SHOWN_PREFIXES else ''}"


def _key_text(key: bytes) -> str:
    cut = key[:SHOWN_KEY_BYTES]
    return f'"{prefix_text(cut)}{"…" if len(key) > len(cut) else ""}"'
