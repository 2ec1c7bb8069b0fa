"""Traces of real daemons: replayed after crashes, snapshots, changes of the membership, faults."""

import random
import signal

from paxosctl.tracing.replaying import replay_file
from paxosctl.tracing.trace_files import find_traces
from tests.processes.growing import Growing
from tests.processes.processes import Daemons, wait_for

ON = {"trace": {"enabled": True}}


def replay_all(daemons):
    """The outcome of each run; all that ended as they were recorded."""
    found = [replay_file(path) for path in find_traces([daemons.path])]
    for each in found:
        assert each.verdict == "identical", (each.file, each.difference)
        assert each.turns == each.turns_recorded
    return found


def put_some(daemons, count):
    with daemons.client() as client:
        for number in range(count):
            client.put(b"key%d" % (number % 7), b"v%d" % number)
        assert client.admin("file_list")["files"], "it is answered in a later turn"


def put_large(daemons, count):
    with daemons.client() as client:
        for number in range(count):
            client.put(b"key%d" % (number % 10), b"%d" % number + bytes(20_000))


def _kill_the_leader(daemons):
    leader = daemons.wait_leader()
    put_some(daemons, 40)
    daemons.kill(leader)
    put_some(daemons, 20)
    daemons.start(leader)
    daemons.wait_leader()
    put_some(daemons, 10)


def _break_messages_and_outrun_the_log(daemons):
    """Messages that faults hold back, lose and repeat; segments that are given back by a thread; a
    node that was away for longer than any log goes back."""
    leader = daemons.wait_leader()
    follower = next(name for name in daemons.founders if name != leader)
    daemons.fault("slow", "delay", leader, "*", ms=5)
    daemons.fault("twice", "duplicate", "*", "*", probability=0.2, ms=5)
    daemons.fault("gone", "drop", "*", follower, probability=0.2)
    put_large(daemons, 70)
    daemons.heal()
    daemons.check_equal()
    hits = [daemons.events(name, "fault.hit") for name in daemons.processes]
    assert {line["kind"] for lines in hits for line in lines} == {"delay", "duplicate", "drop"}
    daemons.kill(follower)
    put_large(daemons, 200)
    daemons.start(follower)
    daemons.wait_event(follower, "snapshot.installed")
    daemons.check_equal()
    assert daemons.events(follower, "snapshot.finished"), "none of its own was taken before"


def _replace_a_member(daemons):
    daemons.join("n4")
    daemons.ctl("replace", "n1", "n4", *daemons.where("n4"))
    daemons.wait_end("n1")
    put_some(daemons, 20)
    daemons.check_equal()


def test_crashes_faults_snapshots_and_a_change_of_the_membership(tmp_path):
    """One life of four nodes, for each needs seconds to start; a replay says where it differs."""
    settings = {
        "snapshots": {"slots_max": 60, "log_bytes_max": 1 << 20, "margin_slots": 10},
        "wal": {"segment_bytes": 2 << 20},
    }
    with Growing(tmp_path, more=1, **ON, **settings) as daemons:
        daemons.start_founders()
        _kill_the_leader(daemons)
        _break_messages_and_outrun_the_log(daemons)
        status = daemons.status("n2")["trace"]
        assert (status["enabled"], status["stopped"]) == (True, "")
        assert daemons.events("n1", "trace.started")[0]["level"] == "warning"
        _replace_a_member(daemons)
        daemons.kill(sig=signal.SIGTERM)
        found = replay_all(daemons)
        assert {each.node for each in found} == {"n1", "n2", "n3", "n4"}
        assert len(found) == 6  # of two nodes a second run
        in_order = [each for each in found if each.end == "the node ended in order"]
        assert {"n2", "n3", "n4"} <= {each.node for each in in_order}
        assert all(each.applied >= 340 for each in in_order if each.node != "n1")
        (mode,) = {path.stat().st_mode & 0o777 for path in find_traces([tmp_path])}
        assert mode == 0o600


def test_a_bound_that_is_reached_ends_the_trace(tmp_path):
    with Daemons(tmp_path, 1, trace={"enabled": True, "bytes_max": 1 << 20}) as daemons:
        daemons.start()
        daemons.wait_leader()
        with daemons.client() as client:
            number = 0

            def stopped():
                nonlocal number
                number += 1
                client.put(b"key", random.Random(number).randbytes(40_000))
                return daemons.events("n1", "trace.stopped")

            (line,) = wait_for(stopped)
        assert line["reason"] == "trace.bytes_max is used up"
        assert daemons.status("n1")["trace"]["stopped"]
        put_some(daemons, 5)
        (found,) = replay_all(daemons)
        assert found.end == "trace.bytes_max was used up: the node went on"
        assert found.file.stat().st_size <= 1 << 20
        daemons.kill()
        daemons.start()
        daemons.wait_leader()
        assert daemons.events("n1", "trace.started")[1]["removed"] == [found.file.name]
