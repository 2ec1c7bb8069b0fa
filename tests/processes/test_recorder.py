"""The flight recorder of real daemons: what is left after kill -9, and what a bad disk costs."""

import json

import pytest

from paxosd.recorder.block import Losses
from paxosd.recorder.event import APPLIED, NOTE, START, WRITE
from paxosd.recorder.reader import read_events, recorder_files
from tests.processes.processes import Daemons, wait_for

FULL = "/sys/kernel"
"""A directory in which nobody can make a file, and that says that it has no room."""


def events_of(daemons, name, losses=None):
    files = recorder_files(daemons.path / name / "recorder")
    return list(read_events(files, losses if losses is not None else Losses()))


def notes_of(daemons, name):
    found = [json.loads(e.text) for e in events_of(daemons, name) if e.kind == NOTE]
    return [line["event"] for line in found]


def writes_of(daemons, name):
    return sum(event.kind == WRITE and not event.code for event in events_of(daemons, name))


@pytest.fixture
def lone(tmp_path):
    """Makes one node alone, with settings."""
    started = []

    def make(*, prepare=lambda directory: None, **settings):
        daemons = Daemons(tmp_path, 1, **settings)
        started.append(daemons.__enter__())
        prepare(tmp_path / "n1")
        daemons.start()
        daemons.wait_leader()
        return daemons

    yield make
    for daemons in started:
        daemons.__exit__(None, None, None)


def put_some(daemons, count=20):
    with daemons.client() as client:
        for number in range(count):
            client.put(b"key", b"%d" % number)


def recorder_status(daemons):
    return daemons.status("n1")["recorder"]


def test_what_was_written_is_there_after_kill_9(tmp_path):
    with Daemons(tmp_path) as daemons:
        daemons.start()
        leader = daemons.wait_leader()
        with daemons.client() as client:
            for number in range(20):
                client.put(b"key", b"%d" % number)
            wait_for(lambda: writes_of(daemons, leader) >= 20, what="the answers are on the disk")
            for number in range(20):  # of these some may be lost
                client.put(b"key", b"%d" % number)
        daemons.kill(leader)
        losses = Losses()
        events = events_of(daemons, leader, losses)
        assert losses.damaged <= 1
        assert [e.seq for e in events] == list(range(1, len(events) + 1)), "none is missing between"
        assert next(e.kind for e in events if e.kind != NOTE) == START
        assert {"node.starting", "node.ready", "leader.elected"} <= set(notes_of(daemons, leader))
        daemons.start(leader)
        daemons.wait_leader()
        wait_for(lambda: events_of(daemons, leader)[-1].boot_count == 2, what="a second run")
        assert len(recorder_files(tmp_path / leader / "recorder")) == 2
        assert losses.damaged <= 1
        # All nodes have the same chain of states.
        chains = {}
        for name in daemons.names:
            for event in events_of(daemons, name):
                if event.kind == APPLIED:
                    chains.setdefault(event.slot, set()).add(event.x)
        assert len(chains) > 20
        assert all(len(found) == 1 for found in chains.values())


def test_a_fault_that_kills_the_node_is_its_last_note(lone):
    daemons = lone()
    daemons.admin("n1", "fault_crash")
    daemons.wait_end("n1")
    assert "fault.crash" in notes_of(daemons, "n1")


def test_a_full_disk_stops_the_recording_and_nothing_else(lone):
    def prepare(directory):
        directory.mkdir()
        (directory / "recorder").symlink_to(FULL)

    daemons = lone(prepare=prepare)
    put_some(daemons)
    status = wait_for(lambda: s if (s := recorder_status(daemons))["problem"] else None)
    assert status["enabled"] is True
    assert status["unwritten_blocks"] > 0
    assert status["bytes"] == 0
    put_some(daemons)


def test_without_a_directory_the_node_works_and_says_so(lone):
    def prepare(directory):
        directory.mkdir()
        (directory / "recorder").write_text("not a directory")

    daemons = lone(prepare=prepare)
    put_some(daemons)
    assert daemons.events("n1", "recorder.failed")[0]["reason"] == "File exists"
    assert recorder_status(daemons)["problem"] == "File exists"


def test_what_else_is_in_the_directory_harms_nothing(lone):
    def prepare(directory):
        (directory / "recorder" / "rec-00000009.bin").mkdir(parents=True)
        (directory / "recorder" / "rec-00000004.bin").write_bytes(b"foreign" * 1000)
        (directory / "recorder" / "notes.txt").write_text("mine")

    daemons = lone(prepare=prepare)
    put_some(daemons)
    directory = daemons.path / "n1" / "recorder"
    wait_for((directory / "rec-00000010.bin").exists, what="a file of its own")
    wait_for(lambda: recorder_status(daemons)["bytes"] > 7000, what="blocks in it")
    losses = Losses()
    assert list(read_events(recorder_files(directory), losses))
    assert (losses.damaged, losses.bytes) == (1, 7000)
    assert (directory / "notes.txt").read_text() == "mine"
    assert recorder_status(daemons)["problem"] == ""


def test_the_files_are_bounded(lone):
    """One that fills the ring: the notes of a run are repeated until it turns over."""
    daemons = lone(recorder={"bytes_max": 1 << 20})

    def turn_over():
        put_some(daemons, 500)
        return not (daemons.path / "n1" / "recorder" / "rec-00000001.bin").exists()

    def prepare_ring():
        directory = daemons.path / "n1" / "recorder"
        daemons.kill("n1")
        for number in range(2, 18):  # as of many runs before
            (directory / f"rec-{number:08d}.bin").write_bytes(b"\0" * (64 << 10))
        daemons.start("n1")
        daemons.wait_leader()

    prepare_ring()
    wait_for(turn_over, what="the oldest file is dropped")
    status = recorder_status(daemons)
    assert 0 < status["bytes"] <= status["bytes_max"] == 1 << 20


def test_switched_off_it_makes_no_directory(lone):
    daemons = lone(recorder={"enabled": False})
    put_some(daemons)
    assert not (daemons.path / "n1" / "recorder").exists()
    assert recorder_status(daemons) == {
        "enabled": False, "bytes": 0, "bytes_max": 0, "unwritten_blocks": 0, "lost_events": 0,
        "problem": "",
    }  # fmt: skip
