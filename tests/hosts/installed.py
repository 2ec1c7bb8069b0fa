"""Three hosts as docs/INSTALL.md makes them."""

from contextlib import ExitStack, contextmanager

from tests.hosts import copies, program
from tests.hosts.hosts import Host, Wire
from tests.hosts.pages import run_section

PAGE = "docs/INSTALL.md"
ADDRESSES = {f"db{number}": f"10.77.0.1{number}" for number in (1, 2, 3)}
SPARE, SPARE_ADDRESS = "db4", "10.77.0.14"
NAMES = {f"{name}.example": at for name, at in [*ADDRESSES.items(), (SPARE, SPARE_ADDRESS)]}


@contextmanager
def three_hosts(*, spare=False):
    """By name; with systemd, the program, its user, its configuration and its keys, and nothing
    started. ``spare``: and a fourth one, which has the first two alone."""
    with ExitStack() as opened:
        wire = opened.enter_context(Wire())
        made = {name: _make(opened, wire, name, at) for name, at in ADDRESSES.items()}
        for heading in ("User, directories, units", "Configuration", "Keys"):
            run_section(PAGE, heading, made)
        if spare:
            made[SPARE] = _make(opened, wire, SPARE, SPARE_ADDRESS)
            run_section(PAGE, "User, directories, units", dict.fromkeys(ADDRESSES, made[SPARE]))
        yield made


def _make(opened, wire, name, address):
    host = opened.enter_context(Host(wire, name, address, systemd=True))
    host.know(**NAMES)
    program.install(host)
    copies.install(host)
    return host
