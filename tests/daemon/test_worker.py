"""The sync thread: jobs in order, errors handed over, an end that loses nothing."""

import select
import threading

import pytest

from paxosd.daemon.worker import Syncer


class FakeJob:
    def __init__(self, error=None):
        self.go = threading.Event()
        self.ran = False
        self.error = error

    def run(self):
        assert self.go.wait(10)
        self.ran = True
        if self.error is not None:
            raise self.error


def is_readable(fd, timeout_s=0.0):
    return bool(select.select([fd], [], [], timeout_s)[0])


def test_a_job_is_told_of_when_it_has_run_and_not_before():
    with Syncer() as syncer:
        job = FakeJob()
        syncer.start(job)
        assert not is_readable(syncer.wake_fd)
        assert syncer.finished() == []
        job.go.set()
        assert is_readable(syncer.wake_fd, 10)
        syncer.clear_wake()
        assert not is_readable(syncer.wake_fd)
        assert syncer.finished() == [job]
        assert job.ran


def test_an_error_of_a_job_comes_out_of_finished():
    with Syncer() as syncer:
        job = FakeJob(OSError("no space"))
        job.go.set()
        syncer.start(job)
        assert is_readable(syncer.wake_fd, 10)
        with pytest.raises(OSError, match="no space"):
            syncer.finished()


def test_the_end_waits_for_the_job_under_way_and_still_tells_of_it():
    """A daemon that gets a stop signal during an fsync ends with exit code 0."""
    syncer = Syncer()
    job = FakeJob()
    syncer.start(job)
    threading.Timer(0.05, job.go.set).start()
    syncer.close()
    assert job.ran
    syncer.clear_wake()
    assert syncer.finished() == [job]


def test_a_signal_after_the_end_does_no_harm():
    syncer = Syncer()
    syncer.close()
    syncer.wake()
    syncer.clear_wake()
    syncer.close()
