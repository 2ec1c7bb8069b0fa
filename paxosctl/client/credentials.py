"""A client's own key, and the public keys by which nodes prove who they are.

    key file [servers]      node → endpoint, key         what the client begins with
    status of a node        members[NAME].keys           learned, over encrypted connections alone
    a refusal               leader's name and endpoint   which of the keys known is that endpoint's

An endpoint of which no key is known may be any node of the cluster: each key known is tried, and
whoever proves that it has one of them is a node of the cluster, though perhaps another one.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import zmq

from paxosctl.client.own_sockets import Socket
from paxosd.core.client.endpoints import (
    KEY_NEEDED,
    KEY_UNKNOWN,
    KEYS_NOT_TAKEN,
    OTHER_KEY,
    UNREACHABLE,
)
from paxosd.net.endpoints import Endpoint
from paxosd.net.key_files import (
    KEY_BYTES,
    KeyFile,
    KeyFileError,
    key_text,
    parse_key,
    read_key_file,
)

KEYS_TRIED_MAX = 32
"""So many keys are tried at an endpoint of which none is known."""
NODES_MAX = 1000
ENDPOINTS_MAX = 8
"""Of one node, under all the names that it is called by."""


class Server(NamedTuple):
    """A node as the client knows it: its public keys, the newest first, and where it listens."""

    keys: tuple[bytes, ...]
    endpoints: tuple[str, ...]


class Credentials:
    """``allow_plain``: nodes that take no keys are talked to without. Threads may share one: what
    is learned replaces what was known in one step."""

    def __init__(self, key: KeyFile, *, allow_plain: bool = False) -> None:
        """Raises KeyFileError for a key by which no node can be known."""
        self.key = key
        self.allow_plain = allow_plain or key.allow_plain
        if not key.servers and not self.allow_plain:
            raise KeyFileError(
                f"the key of {key.name} has no [servers], so that no node can prove who it is: "
                "make one with paxosctl auth new, or paxosd keygen --config FILE of a node; or "
                'enter each node in the file: [servers.NAME] endpoint = "…", public_key = "…"'
            )
        self._worked: dict[str, Form] = {}
        self._servers: dict[str, Server] = {
            name: Server((each.public_key,), (canonical(each.endpoint),))
            for name, each in key.servers.items()
        }

    @classmethod
    def of(cls, source: "KeySource | None", *, allow_plain: bool = False) -> "Credentials | None":
        """None for none. Raises KeyFileError for a file that cannot be used."""
        if source is None or isinstance(source, Credentials):
            return source
        key = source if isinstance(source, KeyFile) else read_key_file(Path(source))
        return cls(key, allow_plain=allow_plain)

    def name_of(self, endpoint: str) -> str:
        """The node at an endpoint; "" if that is not known."""
        wanted = canonical(endpoint)
        for name, each in self._servers.items():
            if wanted in each.endpoints:
                return name
        return ""

    def keys_at(self, endpoint: str) -> tuple[bytes, ...]:
        """The keys to try there, in this order; none if no key of any node is known."""
        wanted = canonical(endpoint)
        servers = list(self._servers.values())
        own = [key for each in servers if wanted in each.endpoints for key in each.keys]
        if own:
            return tuple(dict.fromkeys(own))
        return tuple(dict.fromkeys(key for each in servers for key in each.keys))[:KEYS_TRIED_MAX]

    def learn(self, name: str, endpoints: Iterable[str], keys: Iterable[bytes] = ()) -> None:
        """A node of the cluster said where the node ``name`` listens, and which keys it has now;
        none: it did not say, and those known are kept."""
        known = self._servers.get(name)
        places = tuple(dict.fromkeys(canonical(each) for each in endpoints if each))
        found = tuple(keys) or (known.keys if known else ())
        if not name or not places or (known is None and len(self._servers) >= NODES_MAX):
            return
        if known is not None:
            kept = [each for each in known.endpoints if each not in places]
            places += tuple(kept[: max(0, ENDPOINTS_MAX - len(places))])
        learned = Server(found, places)
        if learned != known:
            self._servers = {**self._servers, name: learned}

    def learn_answer(self, body: Mapping[str, object]) -> None:
        """Take in what an answer to ``status`` says of the members, and one to ``rights`` of the
        keys of nodes that are none yet. What cannot be read is left out: an old node says nothing
        of keys."""
        members = body.get("members")
        known = self._servers
        for name, each in (members if isinstance(members, Mapping) else {}).items():
            if not isinstance(name, str) or not isinstance(each, Mapping):
                continue
            places = [each.get(kind) for kind in ("client", "events")]
            said = each.get("keys")
            texts = said if isinstance(said, list | tuple) else ()
            self.learn(name, [at for at in places if isinstance(at, str)], _keys_of(texts))
        principals = body.get("principals")
        for name, each in (principals if isinstance(principals, Mapping) else {}).items():
            if isinstance(each, Mapping) and each.get("role") == "peer" and name not in known:
                self._learn_newcomer(name, each.get("keys"))

    def _learn_newcomer(self, name: object, digits: object) -> None:
        """A node that has a key, and is no member that a status has named."""
        keys = []
        for each in digits if isinstance(digits, list | tuple) else ():
            with suppress(ValueError, TypeError):
                keys.append(bytes.fromhex(each))
        keys = [key for key in keys if len(key) == KEY_BYTES]
        if isinstance(name, str) and keys and len(self._servers) < NODES_MAX:
            self._servers = {**self._servers, name: Server(tuple(keys), ())}

    def worked(self, endpoint: str, form: "Form") -> None:
        """A handshake there succeeded in this form."""
        self._worked[canonical(endpoint)] = form

    def secure(self, socket: Socket, endpoint: str) -> None:
        """For a socket that is to be connected once, where others were before: in the form that
        worked there, or at another port of the same node, or with the newest key."""
        wanted = canonical(endpoint)
        own = next((each.endpoints for each in self._servers.values() if wanted in each.endpoints),
                   ())  # fmt: skip
        found = [self._worked[each] for each in (wanted, *own) if each in self._worked]
        keys = self.keys_at(endpoint)
        form = found[0] if found else Form(keys[0]) if keys else PLAIN
        if form.is_curve:
            secure(socket, self.key, form.server_key)


KeySource = Credentials | KeyFile | str | os.PathLike[str]
"""A key, or the file that holds it; or all that another client has learned with it."""


class Form(NamedTuple):
    """One way to dial: with this key expected of the node, or plain (b"")."""

    server_key: bytes

    @property
    def is_curve(self) -> bool:
        return bool(self.server_key)


PLAIN = Form(b"")


class Failure(NamedTuple):
    """Why a handshake failed for good: a code of ``paxosd.core.client.endpoints``, and words."""

    code: str
    message: str


class Handshakes:
    """How one endpoint is dialled: each form in turn, until one works or none is left."""

    def __init__(self, credentials: Credentials | None, endpoint: str) -> None:
        self._credentials = credentials
        self._endpoint = endpoint
        self._forms: Iterator[Form] = iter(())
        self._seen: dict[str, int] = {}
        self.form = PLAIN
        self.restart()

    def restart(self) -> None:
        """Begin with the first form again, with the keys that are known by now."""
        self._seen = {}
        self._forms = iter(self._order())
        self.form = next(self._forms)

    def _order(self) -> list[Form]:
        credentials = self._credentials
        if credentials is None:
            return [PLAIN]
        keys = [Form(key) for key in credentials.keys_at(self._endpoint)]
        # As long as nodes switch over, either form may be theirs, and change meanwhile.
        return [*keys, PLAIN, *keys] if credentials.allow_plain else keys

    def prepare(self, socket: Socket) -> None:
        """Set the options of the present form, before the socket connects."""
        if self._credentials is not None and self.form.is_curve:
            secure(socket, self._credentials.key, self.form.server_key)

    def succeeded(self) -> None:
        """This form works: it is the first to be tried when the connection breaks."""
        works = self.form
        self._seen = {}
        if self._credentials is not None:
            self._credentials.worked(self._endpoint, works)
        self._forms = iter([*(each for each in self._order() if each != works), works])

    def failed(self, event: int, value: int) -> Failure | None:
        """A handshake failed, as ZeroMQ's monitor reported it. None: dial again at once, in the
        form that comes next; else every form failed."""
        code = _code_of(event, value, self.form)
        if code == UNREACHABLE:
            return Failure(code, NO_HANDSHAKE)
        self._seen[code] = value
        for form in self._forms if code != KEY_UNKNOWN else ():
            if code == OTHER_KEY or form.is_curve == (code == KEY_NEEDED):
                self.form = form
                return None
        code = self._gravest()
        return Failure(code, self._words(code, value))

    def greeted(self, mechanism: str) -> Failure | None:
        """How a node greets that seemed to have another key; as :meth:`failed`."""
        if mechanism == ("NULL" if self.form.is_curve else "CURVE"):
            self._seen.pop(OTHER_KEY, None)
            return self.failed(zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL, _OTHER_MECHANISM)
        if mechanism == "CURVE":
            return Failure(OTHER_KEY, self._words(OTHER_KEY, 0))
        return Failure(UNREACHABLE, NO_HANDSHAKE)

    def _gravest(self) -> str:
        return next(code for code in (KEY_UNKNOWN, OTHER_KEY, KEYS_NOT_TAKEN, KEY_NEEDED)
                    if code in self._seen)  # fmt: skip

    def _words(self, code: str, value: int) -> str:
        credentials = self._credentials
        name = credentials.name_of(self._endpoint) if credentials is not None else ""
        where = f"{name} at {self._endpoint}" if name else self._endpoint
        if code == KEY_NEEDED or credentials is None:
            return f"{where} wants a key, and this client has none: --key-file"
        who = credentials.key.name
        if code == KEYS_NOT_TAKEN:
            return (
                f"{where} takes no keys (it runs without [security]): leave the key out, or allow "
                "plain connections while the nodes switch over (--allow-plain)"
            )
        if code == KEY_UNKNOWN and value == _ZAP_REFUSED:
            return (
                f"{where} does not know the key of {who}: it was revoked, or never added: "
                "paxosctl auth list (or it is not the node's client port)"
            )
        if code == KEY_UNKNOWN:
            return f"{where} cannot check keys just now (ZAP status {value}); its log says why"
        return (
            f"{where} proved itself by another key than expected: [servers] of the key file is of "
            "another cluster, or the node's key was changed: compare the file with what another "
            "node says (paxosctl auth list)"
        )


def secure(socket: Socket, key: KeyFile, server_key: bytes) -> None:
    """Make a socket that is not connected yet the client of a node with this key."""
    socket.curve_serverkey = key_text(server_key).encode()
    socket.curve_publickey = key_text(key.public_key).encode()
    socket.curve_secretkey = key_text(key.secret_key).encode()


def canonical(endpoint: str) -> str:
    """An endpoint as it is compared; what is none stays as it is."""
    with suppress(ValueError):
        return str(Endpoint.parse(endpoint).canonical)
    return endpoint


HANDSHAKE_FAILURES = (
    zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
)
NO_HANDSHAKE = "something takes connections there, but no ZeroMQ handshake came about"
_ZAP_REFUSED = 400
_OTHER_MECHANISM = int(zmq.PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH)
"""The value of a HANDSHAKE_FAILED_PROTOCOL where one side has a key, and the other is plain."""


def _code_of(event: int, value: int, form: Form) -> str:
    if event == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
        return KEY_UNKNOWN
    if event == zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL:
        if value != _OTHER_MECHANISM:
            return UNREACHABLE
        return KEYS_NOT_TAKEN if form.is_curve else KEY_NEEDED
    return OTHER_KEY if form.is_curve else UNREACHABLE


def _keys_of(texts: Iterable[object]) -> list[bytes]:
    found = []
    for text in texts:
        with suppress(ValueError):
            found.append(parse_key(text))
    return found
