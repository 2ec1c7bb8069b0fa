"""What a reload (SIGHUP) does, and when it says that it is done."""

import json

import pytest

from paxosd.config.sources import load
from paxosd.daemon.log_level import LogLevel
from paxosd.daemon.logs import Logs
from paxosd.daemon.notify import Notifier, NotifyReceiver
from paxosd.daemon.reload import Reload
from tests.config.test_sources import MINIMAL
from tests.processes.processes import wait_for

WORDS = "leader; leader n1"


class Node:
    """A configuration file, a log file, a service manager, and the reload of a node."""

    def __init__(self, path):
        self.file, self.log = path / "n1.toml", path / "n1.log"
        self.file.write_text(MINIMAL)
        self.logs = Logs(node="n1", level="info", format="json", file=str(self.log))
        self.level = LogLevel(self.logs, lambda on: None, lambda: 0.0)
        self.manager = NotifyReceiver(path / "notify")
        self.notifier = Notifier(str(self.manager.path))
        config = load(self.file, environ={})
        self.reload = Reload(
            config, lambda: load(self.file, environ={}), self.logs, self.level, self.notifier
        )

    def done(self):
        """All notices of a reload, up to its end."""
        heard = []

        def ready():
            self.reload.tick(WORDS)
            heard.extend(self.manager.receive())
            return any("READY" in notice for notice in heard)

        wait_for(ready, what="READY=1")
        return heard

    def events(self):
        assert self.logs.flush()
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def close(self):
        self.logs.close()
        self.notifier.close()
        self.manager.close()


@pytest.fixture
def node(tmp_path):
    made = Node(tmp_path)
    yield made
    made.close()


def test_the_service_manager_hears_when_it_begins_and_when_it_is_done(node):
    node.reload.begin()
    begun, ready = node.done()
    assert begun.keys() == {"RELOADING", "MONOTONIC_USEC"}
    assert ready == {"READY": "1", "STATUS": WORDS}
    node.reload.tick(WORDS)
    assert node.manager.receive() == [], "once"


def test_it_is_done_once_the_log_file_is_open(node, monkeypatch):
    """What runs after ``systemctl reload`` may compress the file that was moved."""
    waiting = [True]
    monkeypatch.setattr(Logs, "reopening", property(lambda logs: waiting[0]))
    node.reload.begin()
    node.reload.tick(WORDS)
    assert [set(notice) for notice in node.manager.receive()] == [{"RELOADING", "MONOTONIC_USEC"}]
    waiting[0] = False
    assert node.done()[-1]["READY"] == "1"


def test_the_log_goes_on_in_a_new_file(node, tmp_path):
    node.logs.logger.info("node.signal", signal="SIGHUP")
    assert [line["event"] for line in node.events()] == ["node.signal"]
    node.log.rename(tmp_path / "old.log")
    node.reload.begin()
    node.done()
    assert [line["event"] for line in node.events()] == ["log.reopened", "config.reloaded"]


def test_the_level_of_the_log_takes_hold_and_the_rest_is_named(node):
    node.file.write_text(MINIMAL + '[log]\nlevel = "debug"\n[protocol]\nheartbeat_ms = 50\n')
    node.reload.begin()
    assert node.logs.level == "debug"
    [line] = [line for line in node.events() if line["event"] == "config.reloaded"]
    assert line["log_level"] == "debug"
    assert line["at_next_start"] == ["protocol.heartbeat_ms"]


def test_a_level_that_was_set_for_a_while_stays(node):
    node.level.change("error", 1000)
    node.file.write_text(MINIMAL + '[log]\nlevel = "debug"\n')
    node.reload.begin()
    assert node.level.status() == {"level": "error", "configured": "debug", "left_ms": 1000}


def test_members_that_changed_are_named(node):
    text = MINIMAL.replace("7412", "7499")
    node.file.write_text(text + text[text.index("[cluster.m") : text.index("[node]")].replace(
        "n1", "n2").replace("74", "75"))  # fmt: skip
    node.reload.begin()
    [line] = [line for line in node.events() if line["event"] == "config.reloaded"]
    assert line["at_next_start"] == ["cluster.members.n1", "cluster.members.n2"]


@pytest.mark.parametrize("text", ["[log]\nlevel = 'loud'", MINIMAL + "[nothing]\n", "not toml ="])
def test_a_file_that_cannot_be_used_changes_nothing(node, text):
    node.file.write_text(text)
    node.reload.begin()
    assert node.done()[-1]["READY"] == "1", "the node goes on"
    [line] = [line for line in node.events() if line["event"] == "config.reload_failed"]
    assert line["level"] == "error"
    assert str(node.file) in line["message"]
    assert node.logs.level == "info"
