"""Logging never waits: readers that do not read, disks that are full, what is lost and said."""

import errno
import json
import os
import threading
import time

import pytest

from paxosd.daemon import log_sink
from paxosd.daemon.log_sink import LogSink
from paxosd.daemon.logs import Logs


def say(level, event, **fields):
    return json.dumps({"level": level, "event": event, **fields}).encode() + b"\n"


@pytest.fixture
def pipe():
    """(reader, writer): a pipe of which the reader reads nothing by itself."""
    reader, writer = os.pipe()
    yield reader, writer
    os.close(reader)  # a thread that still writes has an error then; its end stays its own


def read_all(fd):
    """Whatever comes until the other end is closed."""
    chunks = []
    while chunk := os.read(fd, 1 << 16):
        chunks.append(chunk)
    return b"".join(chunks)


class Disk:
    """Stands in for os.write: takes ``room`` bytes, then fails; ``room`` None: takes all."""

    def __init__(self, monkeypatch):
        self.data = b""
        self.room = None
        self.failures = 0
        monkeypatch.setattr(log_sink.os, "write", self.write)

    def write(self, fd, view):
        taken = bytes(view) if self.room is None else bytes(view[: self.room])
        if not taken:
            self.failures += 1
            raise OSError(errno.ENOSPC, "No space left on device")
        if self.room is not None:
            self.room -= len(taken)
        self.data += taken
        return len(taken)


@pytest.fixture
def disk(monkeypatch):
    return Disk(monkeypatch)


class TestNobodyReads:
    def test_a_line_is_taken_at_once_and_the_memory_is_bounded(self, pipe):
        _, writer = pipe
        sink = LogSink(writer, say, queue_bytes_max=300_000)
        for _ in range(50_000):
            sink.put(b"x" * 99 + b"\n")  # 5 MB; the pipe takes 64 KiB, less than the queue
        assert sink._queued_bytes <= 300_000
        assert sink.dropped > 45_000
        assert not sink.flush(0.05)
        sink.close(0.05)  # which is bounded, too

    def test_what_is_missing_is_said_in_its_place(self, pipe):
        reader, writer = pipe
        sink = LogSink(writer, say, queue_bytes_max=200_000)
        for number in range(5000):
            sink.put(b"%099d\n" % number)
        dropped = sink.dropped
        assert dropped > 0
        out = []
        thread = threading.Thread(target=lambda: out.append(read_all(reader)))
        thread.start()
        assert sink.flush(30)
        sink.put(b"%099d\n" % 5000)
        sink.close(30)
        os.close(writer)
        thread.join(30)
        lines = out[0].splitlines()
        place = next(i for i, line in enumerate(lines) if b"log.dropped" in line)
        kept = place
        assert [int(line) for line in lines[:place]] == list(range(kept))
        assert json.loads(lines[place]) == {
            **{"level": "warning", "event": "log.dropped"},
            **{"count": dropped, "total": dropped},
        }
        assert [int(line) for line in lines[place + 1 :]] == [5000]
        assert kept + dropped == 5000

    def test_the_daemons_log_does_the_same(self, pipe, tmp_path):
        reader, writer = pipe
        with os.fdopen(writer, "w", closefd=False) as stream:
            logs = Logs(node="n1", stream=stream)
            for _ in range(30):
                logs.logger.info("node.ready", text="x" * 1_000_000)
            assert logs.dropped >= 20
            thread = threading.Thread(target=lambda: out.append(read_all(reader)))
            out = []
            thread.start()
            logs.close(30)
        os.close(writer)
        thread.join(30)
        lines = [json.loads(line) for line in out[0].splitlines()]
        assert [line["event"] for line in lines][-1] == "log.dropped"
        assert lines[-1]["count"] == logs.dropped
        assert lines[-1]["node"] == "n1"

    def test_one_that_is_not_blocking_loses_nothing(self, pipe):
        reader, writer = pipe
        os.set_blocking(writer, False)
        sink = LogSink(writer, say)
        for number in range(10_000):
            sink.put(b"%049d\n" % number)
        out = []
        thread = threading.Thread(target=lambda: out.append(read_all(reader)))
        thread.start()
        sink.close(30)
        os.close(writer)
        thread.join(30)
        assert [int(line) for line in out[0].splitlines()] == list(range(10_000))

    def test_from_many_threads_all_is_counted(self, pipe):
        reader, writer = pipe
        sink = LogSink(writer, say, queue_bytes_max=50_000)
        threads = [
            threading.Thread(target=lambda: [sink.put(b"x" * 99 + b"\n") for _ in range(2000)])
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        taken = 8000 - sink.dropped
        assert 0 < taken < 1500
        draining = threading.Thread(target=read_all, args=(reader,))
        draining.start()
        sink.close(30)  # a thread of its that is left would write in the tests behind this one
        os.close(writer)
        draining.join(30)


class TestFullDisk:
    def test_a_torn_line_does_not_swallow_the_next(self, disk):
        sink = LogSink(7, say)
        disk.room = 10
        sink.put(b'{"a": "a long line"}\n')
        assert sink.flush(10)
        assert disk.data == b'{"a": "a l'
        assert sink.dropped == 1
        disk.room = None
        sink.put(b'{"b": 2}\n')
        sink.close(10)
        torn, said, whole = disk.data.splitlines()
        assert torn == b'{"a": "a l'
        assert json.loads(said)["event"] == "log.dropped"
        assert json.loads(said)["count"] == 1
        assert json.loads(whole) == {"b": 2}

    def test_a_line_that_was_written_is_not_counted_as_lost(self, disk, monkeypatch):
        hold = threading.Event()
        write = disk.write

        def slow(fd, view):
            hold.wait(10)
            return write(fd, view)

        monkeypatch.setattr(log_sink.os, "write", slow)
        sink = LogSink(7, say)
        for text in (b"1\n", b"2\n", b"3\n", b"4\n"):
            sink.put(text)
        disk.room = 5  # two of them, and a part of the third
        hold.set()
        assert sink.flush(10)
        disk.room = None
        sink.close(10)
        assert sink.dropped == 2
        assert disk.data.startswith(b'1\n2\n3\n{"level"')

    def test_it_is_said_though_no_other_line_comes(self, disk, monkeypatch):
        monkeypatch.setattr(log_sink, "RETRY_S", 0.01)
        sink = LogSink(7, say)
        disk.room = 0
        sink.put(b"lost\n")
        sink.flush(10)
        failures = disk.failures
        while disk.failures < failures + 2:
            time.sleep(0.005)
        disk.room = None
        while b"log.dropped" not in disk.data:
            time.sleep(0.005)
        assert json.loads(disk.data)["count"] == 1
        sink.close(10)
        assert sink.dropped == 1  # to say so in vain is no further loss

    def test_a_disk_that_hangs_holds_nobody(self, monkeypatch):
        go_on = threading.Event()
        monkeypatch.setattr(log_sink.os, "write", lambda fd, view: go_on.wait(30) and len(view))
        sink = LogSink(7, say, queue_bytes_max=1000)
        for _ in range(100):
            sink.put(b"x" * 99 + b"\n")
        assert sink.dropped >= 90
        sink.close(0.01)
        sink.put(b"after the end\n")
        assert sink.dropped >= 91
        go_on.set()


class TestTornBefore:
    """The end of a line was lost in an earlier run, or by whoever else wrote to the file."""

    def test_a_file_that_ends_within_a_line(self, tmp_path):
        path = tmp_path / "log"
        path.write_text('{"event": "torn')
        logs = Logs(node="n1", file=path)
        logs.logger.info("node.starting")
        logs.flush(30)
        path.write_text('{"event": "torn again')
        logs.reopen()
        logs.close(30)
        torn, whole = path.read_text().splitlines()
        assert torn == '{"event": "torn again'
        assert json.loads(whole)["event"] == "log.reopened"

    def test_and_at_the_start(self, tmp_path):
        path = tmp_path / "log"
        path.write_text('{"event": "torn')
        logs = Logs(node="n1", file=path)
        logs.logger.info("node.starting")
        logs.close(30)
        torn, whole = path.read_text().splitlines()
        assert torn == '{"event": "torn'
        assert json.loads(whole)["event"] == "node.starting"

    @pytest.mark.parametrize("before", ["", "whole\n"])
    def test_one_that_does_not_gets_no_empty_line(self, tmp_path, before):
        path = tmp_path / "log"
        path.write_text(before)
        logs = Logs(node="n1", file=path)
        logs.logger.info("node.starting")
        logs.close(30)
        assert "" not in path.read_text().splitlines()


class TestLevels:
    def test_one_that_changes_reaches_every_bound_logger(self, tmp_path):
        path = tmp_path / "log"
        logs = Logs(node="n1", file=path, level="warning", strict=True)
        bound = logs.logger.bind(role="leader")
        bound.info("node.ready")
        logs.level = "debug"
        assert logs.debug
        bound.debug("chosen", slot=1)
        logs.level = "error"
        bound.warning("node.ready")
        logs.logger.error("node.failed")
        logs.close()
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        assert [line["event"] for line in lines] == ["chosen", "node.failed"]

    def test_another_log_keeps_its_own(self, tmp_path):
        one = Logs(node="n1", file=tmp_path / "a", level="info")
        other = Logs(node="n2", file=tmp_path / "b", level="info")
        one.level = "error"
        other.logger.info("node.ready")
        one.logger.info("node.ready")
        one.close()
        other.close()
        assert (tmp_path / "a").read_text() == ""
        assert "node.ready" in (tmp_path / "b").read_text()
