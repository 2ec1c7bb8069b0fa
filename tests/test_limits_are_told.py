"""docs/MEMORY.md says what is in the code."""

import re
from pathlib import Path

import paxosctl
import paxosd
from paxosctl.client import watch_session
from paxosd.bus import inbox, reception
from paxosd.core import flow, work
from paxosd.core.acceptor import Acceptor
from paxosd.core.context import EarlyMessages
from paxosd.daemon import log_sink
from paxosd.host import byte_limits
from paxosd.replica import forwarding, group_commit, service
from paxosd.replica import watch_publisher as events

ROOT = Path(paxosd.__file__).parent.parent
TEXT = (ROOT / "docs" / "MEMORY.md").read_text()
MIB = 1 << 20


def test_the_numbers():
    told = {
        byte_limits.CLIENT_BYTES_MAX: "16 MiB a client",
        byte_limits.ANSWER_BYTES_MAX: "128 MiB for all",
        byte_limits.EVENT_BYTES_MAX: "32 MiB for all",
        events.BACKLOG_BYTES_MAX: "16 MiB (`events.BACKLOG_BYTES_MAX`)",
        byte_limits.PEER_BYTES_MAX: "16 MiB (`PEER_BYTES_MAX`)",
        flow.WINDOW_MAX_BYTES: "128 KiB to 16 MiB",
        forwarding.WAITING_BYTES_MAX: "64 MiB (`forwarding.WAITING_BYTES_MAX`)",
        service.READS_BYTES_MAX: "64 MiB (`service.READS_BYTES_MAX`)",
        group_commit.LOG_WAITING_BYTES_MAX: "64 MiB (`group_commit.LOG_WAITING_BYTES_MAX`)",
        reception.PEER_BYTES_AT_ONCE: "8 MiB from peers",
        work.PROPOSED_BYTES_MAX: "proposes 4 MiB",
        Acceptor().ahead_bytes_max: "256 MiB each",
        EarlyMessages.BYTES_MAX: "16 MiB (`EarlyMessages`)",
        inbox.HELD_BYTES_MAX: "64 MiB (`inbox.HELD_BYTES_MAX`)",
        log_sink.QUEUE_BYTES_MAX: "4 MiB (`log_sink.QUEUE_BYTES_MAX`)",
        watch_session.SUB_BYTES_MAX: "16 MiB if each were of the largest size",
        watch_session.CHANGES_BYTES_MAX: "4 MiB (`watch_session.CHANGES_BYTES_MAX`)",
    }
    for number, words in told.items():
        assert words in TEXT
        assert f"{number // MIB} MiB" in words
    assert flow.WINDOW_MIN_BYTES == 128 << 10


def test_what_it_names_is_there():
    code = "".join(
        path.read_text()
        for package in (paxosd, paxosctl)
        for path in Path(package.__file__).parent.rglob("*.py")
    )
    for name in re.findall(r"`(?:\w+[./])*([A-Z][A-Z_]+)`", TEXT):
        assert re.search(rf"^\s*{name}\b", code, re.MULTILINE), name
    for path, classes in re.findall(r"((?:\w+/)+test_\w+\.py)((?:::\w+(?:, \w+)*)?)", TEXT):
        test = ROOT / "tests" / path.removeprefix("tests/")
        assert test.exists(), path
        for each in classes.removeprefix("::").split(", ") if classes else ():
            assert re.search(rf"^(class|def) {each}\b", test.read_text(), re.MULTILINE), each
