"""The limit on descriptors: raised, with a reserve that only the node's own files can use."""

import errno
import os
import subprocess
import sys

import pytest

from paxosd.bus.connections import HANDSHAKE_BYTES, LEAST, SILENT_MS, _Port, shares
from paxosd.host import descriptors
from paxosd.storage import wal_segments as wal_sync
from paxosd.storage.datadir import usable
from paxosd.storage.disk import StorageError

SCRIPT = """
import os, resource, sys, threading
from paxosd.host import descriptors
from paxosd.storage.disk import RealDisk

resource.setrlimit(resource.RLIMIT_NOFILE, (50, 200))
disk = RealDisk(sys.argv[1])
limits = descriptors.set_up()
assert limits == (200, 50), limits
taken = []
try:
    while True:
        taken.append(os.dup(0))
except OSError as problem:
    assert "Too many" in str(problem)
assert 120 < len(taken) < 150, len(taken)

files, problems = [], []
def open_some(thread):
    try:
        for number in range(5):
            files.append(disk.open(f"{thread}-{number}", create=True))
            disk.list()
    except OSError as problem:
        problems.append(problem)

threads = [threading.Thread(target=open_some, args=(each,)) for each in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
assert not problems, problems
assert len(files) == 40
for file in files[:3]: file.close()
try:
    os.dup(0)
    raise SystemExit("the reserve was left open")
except OSError:
    pass
assert descriptors.used() >= 150
"""


def test_the_reserve_is_for_what_is_opened_in_it_in_any_thread(tmp_path):
    """In a process of its own: the limit is the process's."""
    command = [sys.executable, "-c", SCRIPT, str(tmp_path)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("number", sorted(descriptors.EXHAUSTED), ids=errno.errorcode.get)
def test_a_failure_for_want_of_descriptors_says_so_and_not_to_check_the_disk(number, tmp_path):
    problem = OSError(number, os.strerror(number))
    failure = wal_sync.failure("open the next log segment", problem)
    with pytest.raises(StorageError) as raised, usable(tmp_path):
        raise problem
    for words in (str(failure), str(raised.value)):
        assert "file descriptor" in words
        assert "check the disk" not in words
        assert ("ulimit -n" if number == errno.EMFILE else "fs.file-max") in words


@pytest.mark.parametrize("members", [1, 3, 7])
@pytest.mark.parametrize("free", [0, 50, 100, 1000, 60_000])
def test_the_shares_are_no_more_than_there_is(members, free):
    found = shares(free, members)
    assert found["peer"] >= 4 * members
    assert min(found.values()) >= LEAST
    if free >= 100:
        assert sum(found.values()) + 2 * members <= free


class Port(_Port):
    """One whose connections are numbers."""

    def __init__(self, most):
        super().__init__("client", 1, most, HANDSHAKE_BYTES)
        self.spoken, self.ended = set(), []

    def _has_spoken(self, descriptor):
        return descriptor in self.spoken

    def _end(self, descriptor):
        self.ended.append(descriptor)
        self.ending.add(descriptor)


class TestPort:
    def test_who_comes_when_all_is_taken_by_those_who_spoke_is_refused(self):
        port = Port(2)
        port.spoken = {1, 2}
        for number in (1, 2, 3):
            port.accepted(number, SILENT_MS * number)
        assert port.ended == [3]
        assert port.status == (2, 2, 1, 0)
        port.disconnected(3)
        port.disconnected(1)
        port.accepted(4, 0.0)
        assert port.ended == [3]

    def test_the_one_that_is_silent_for_longest_makes_room(self):
        port = Port(3)
        port.spoken = {1}
        for number in (1, 2, 3):
            port.accepted(number, float(number))
        port.accepted(4, 2 + SILENT_MS)
        assert port.ended == [2]
        assert port.status == (3, 3, 0, 1)

    def test_nobody_is_ended_before_it_could_speak(self):
        port = Port(1)
        port.accepted(1, 0.0)
        port.accepted(2, SILENT_MS - 1)
        assert port.ended == [2]
        port.accepted(3, SILENT_MS)
        assert port.ended == [2, 1]
        assert port.status == (1, 1, 1, 1)

    def test_a_descriptor_that_is_given_out_again_is_another_connection(self):
        port = Port(2)
        port.accepted(1, 0.0)
        port.accepted(1, 5.0)
        assert port.status.open == 1
        port.disconnected(1)
        port.disconnected(1)
        assert port.status.open == 0


def test_a_handshake_is_longer_than_a_greeting():
    assert 64 < HANDSHAKE_BYTES < 64 + 27
