"""Three hosts as docs/INSTALL.md makes them."""

from contextlib import contextmanager

from tests.hosts import program
from tests.hosts.hosts import Host, Wire
from tests.hosts.pages import run_section

PAGE = "docs/INSTALL.md"
ADDRESSES = {"db1": "10.77.0.11", "db2": "10.77.0.12", "db3": "10.77.0.13"}
NAMES = {f"{name}.example": address for name, address in ADDRESSES.items()}


@contextmanager
def three_hosts():
    """By name; with systemd, the program, its user and its configuration, and nothing started."""
    with Wire() as wire:
        made = {}
        try:
            for name, address in ADDRESSES.items():
                made[name] = Host(wire, name, address, systemd=True)
                made[name].know(**NAMES)
                program.install(made[name])
            for heading in ("User, directories, units", "Configuration"):
                run_section(PAGE, heading, made)
            yield made
        finally:
            for host in made.values():
                host.close()
