"""A start that fails, wherever it does, closes what it has opened; and what the lack of descriptors
is to people."""

import errno
import os
import random
import threading

import pytest
import zmq

from paxosd.bus.port_watch import PortWatch
from paxosd.config.sources import load
from paxosd.daemon import daemon as daemon_module
from paxosd.daemon import exits, startup
from paxosd.daemon.keygen import keygen
from paxosd.daemon.logs import Logs
from paxosd.daemon.notify import Notifier
from paxosd.host import descriptors
from paxosd.host.descriptors import DescriptorsError, lack_of
from paxosd.storage.datadir import DataDir
from paxosd.storage.disk import StorageError
from tests.hosts.hosts import until
from tests.processes.ports import free_ports


@pytest.fixture
def config(tmp_path):
    ports = iter(free_ports(10))
    values = [
        f"cluster.members.{name}.{kind}=tcp://127.0.0.1:{next(ports)}"
        for name in ("n1", "n2", "n3")
        for kind in ("peer", "client", "events")
    ]
    for name in ("n1", "n2", "n3"):
        keygen(name, "peer", "c", tmp_path / f"{name}.key", tmp_path / "trust", None)
    values += [
        "cluster.id=c", "node.name=n1", f"node.data_dir={tmp_path / 'n1'}", "trace.enabled=true",
        f"http.listen=127.0.0.1:{next(ports)}", f"security.key_file={tmp_path / 'n1.key'}",
        f"security.trust_file={tmp_path / 'trust'}", f"log.file={tmp_path / 'log'}",
    ]  # fmt: skip
    return load(None, tuple(values), {})


def present():
    return len(os.listdir("/proc/self/fd")), threading.active_count()


class PlantedError(Exception):
    """What a part fails with."""


def fails(*_args, **_named):
    raise PlantedError


def start(config, logs, notifier):
    parts = startup.start_up(config, logs, notifier, random.Random(1))
    daemon_module.daemon_of(config, parts, logs, notifier, lambda: config)


PLACES = {
    "faults": (startup, "_live_faults"),
    "trace": (startup, "_open_trace"),
    "node": (startup, "assemble"),
    "log of members": (startup, "_log_membership"),
    "descriptors": (startup.descriptors, "require"),
    "bus": (startup, "Bus"),
    "options": (startup, "missing_options"),
    "shares": (startup, "shares"),
    "connections": (PortWatch, "limit"),
    "replica": (daemon_module, "make_replica"),
    "report": (daemon_module.Daemon, "_make_report"),
}


@pytest.mark.parametrize("place", PLACES)
def test_nothing_is_left_open(config, monkeypatch, place):
    logs = Logs(node="n1", level="info", format="json", file=config.log.file)
    notifier = Notifier.from_environ()
    zmq.Context.instance()  # this machine's first one loads something
    before = present()
    monkeypatch.setattr(*PLACES[place], fails)
    try:
        with pytest.raises(PlantedError):
            start(config, logs, notifier)
        until(lambda: present() == before, f"{before}, not {present()}", timeout_s=10.0)
        DataDir.open(config.node.data_dir, "c", "n1").close()  # it is not locked
    finally:
        logs.close()
        descriptors.set_up()


class TestLack:
    @pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE])
    def test_it_is_said_in_words(self, number):
        for error in (OSError(number, os.strerror(number)), zmq.ZMQError(number)):
            found = lack_of(error)
            assert "file descriptor" in str(found)
            assert exits.code_of(found) == exits.CONFIG

    def test_what_says_it_already_stays(self):
        said = f"the log cannot be opened: {descriptors.words(errno.EMFILE)}"
        assert str(lack_of(StorageError(said, errno=errno.EMFILE))) == said

    @pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "full"), ValueError("x"),
                                       DescriptorsError("said")])  # fmt: skip
    def test_others_are_others(self, error):
        assert lack_of(error) is None
