"""Daemons on hosts of their own, as far as the network is concerned (``lossy_switch.py``).

with SeparateHosts(path) as daemons:      # in a process that enter_network started
    daemons.switch.lose(1.0, "n1")        # the host is silent from now on
"""

import os
import sys

from tests.bench.lossy_switch import LossySwitch, ip
from tests.processes.growing import Growing

NETWORK = "10.77.0"
_MARK = "PAXOSD_TEST_NETWORK"


def is_in_network():
    """Whether :func:`enter_network` has started this process."""
    return _MARK in os.environ


def enter_network(module, arguments):
    """Go on as ``python -m module arguments`` in an empty network, which ends with this process.
    Raises OSError where there is no ``unshare``."""
    command = ["unshare", "--net", "--mount", sys.executable, "-m", module, *arguments]
    os.execvpe(command[0], command, os.environ | {_MARK: "1"})


class SeparateHosts(Growing):
    """As Growing; the caller has the address ``NETWORK``.254."""

    def __init__(self, path, *, size=3, more=0, **settings):
        ip("link", "set", "lo", "up")
        names = [f"n{i + 1}" for i in range(size + more)]
        self.switch = LossySwitch({name: _host(name) for name in names}, f"{NETWORK}.254")
        security = {"insecure": True} | settings.pop("security", {})
        super().__init__(path, size=size, more=more, security=security, **settings)

    def endpoint(self, name, kind="client"):
        return f"tcp://{_host(name)}:{self.ports[name][kind]}"

    def command(self, name):
        return [*self.switch.command(name), *super().command(name)]

    def __exit__(self, *how):
        super().__exit__(*how)
        self.switch.close()


def _host(name):
    return f"{NETWORK}.{name[1:]}"
