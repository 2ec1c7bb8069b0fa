"""Whether a node could listen where its configuration says; who is in the way if not."""

import os
import socket
from contextlib import suppress
from errno import EACCES, EADDRINUSE, EADDRNOTAVAIL
from pathlib import Path

from paxosctl.doctor.machine import Port
from paxosd.config.http_address import HttpAddress
from paxosd.config.schema import Config
from paxosd.net.endpoints import EVERYWHERE, Endpoint
from paxosd.net.resolver import ResolveError, resolve, unresolved_words

NAME_S = 1.5
_TABLES = ("tcp", "tcp6")
_LISTENING = "0A"
_WORDS = {
    EADDRINUSE: "the port is in use",
    EADDRNOTAVAIL: "this machine has no such address",
    EACCES: "this user may not use that port",
}


def try_ports(config: Config) -> tuple[Port, ...]:
    """Try to take each port of the node for a moment, without listening on it: a node that starts
    at that very moment is not in the way of that, nor hindered."""
    bind = config.bind_endpoints()
    found = [_try(what, getattr(bind, what)) for what in ("peer", "client", "events")]
    if config.http.listen:
        address = HttpAddress.parse(config.http.listen)
        found.append(_try("http", str(Endpoint(address.host, address.port)), config.http.listen))
    return tuple(found)


def _try(what: str, endpoint: str, shown: str = "") -> Port:
    host, _, port = endpoint.removeprefix("tcp://").rpartition(":")
    host = host.strip("[]")
    try:
        addresses = ("",) if host == EVERYWHERE else resolve(host, NAME_S)
    except ResolveError as error:
        return Port(what=what, endpoint=endpoint, error=unresolved_words(host, str(error)))
    number, words = _first_error(addresses, int(port))
    taken = number == EADDRINUSE
    return Port(
        what=what,
        endpoint=shown or endpoint,
        error=words,
        taken=taken,
        holder=_holder(int(port)) if taken else "",
    )


def _first_error(addresses: tuple[str, ...], port: int) -> tuple[int, str]:
    """As the daemon does: of the addresses of a name those count that the machine has."""
    missing = (0, "")
    bound = False
    for address in addresses:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        try:
            with socket.socket(family, socket.SOCK_STREAM) as made:
                made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                made.bind((address, port))
                bound = True
        except OSError as error:
            number = error.errno or 0
            words = _WORDS.get(number, error.strerror or str(error))
            if number != EADDRNOTAVAIL:
                return number, words
            missing = number, words
    return (0, "") if bound else missing


def _holder(port: int) -> str:
    """``process 12 (python)``; "" if that may not be known."""
    sockets = {f"socket:[{inode}]" for inode in _listening(port)}
    for process in Path("/proc").iterdir() if sockets else ():
        if process.name.isdigit() and _has_one(process, sockets):
            with suppress(OSError):
                return f"process {process.name} ({(process / 'comm').read_text().strip()})"
    return ""


def _has_one(process: Path, sockets: set[str]) -> bool:
    """Whether one of its descriptors is such a socket; False if that may not be known."""
    with suppress(OSError):
        for each in list((process / "fd").iterdir()):
            with suppress(OSError):  # it was closed meanwhile
                if os.readlink(each) in sockets:
                    return True
    return False


def _listening(port: int) -> set[str]:
    """The inodes of the sockets that listen on a port."""
    found = set()
    for name in _TABLES:
        try:
            lines = Path(f"/proc/net/{name}").read_text(encoding="ascii").splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if fields[3] == _LISTENING and int(fields[1].rpartition(":")[2], 16) == port:
                found.add(fields[9])
    return found
