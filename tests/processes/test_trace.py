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


def put_some(daemons, count, word=b"v"):
    with daemons.client() as client:
        for number in range(count):
            client.put(b"key%d" % (number % 7), word + b"%d" % number)


def test_kill_of_the_leader_and_a_clean_end(tmp_path):
    with Daemons(tmp_path, **ON) as daemons:
        daemons.start()
        leader = daemons.wait_leader()
        put_some(daemons, 200)
        daemons.kill(leader)
        put_some(daemons, 100)
        daemons.start(leader)
        daemons.wait_leader()
        put_some(daemons, 50)
        daemons.wait_equal()
        status = daemons.status("n1")["trace"]
        assert status["enabled"]
        assert status["stopped"] == ""
        assert daemons.events("n1", "trace.started")[0]["level"] == "warning"
        daemons.kill(sig=signal.SIGTERM)
        found = replay_all(daemons)
        assert len(found) == 4
        assert sum(each.end == "the node ended in order" for each in found) == 3
        assert min(each.applied for each in found if "order" in each.end) >= 350
        (mode,) = {path.stat().st_mode & 0o777 for path in find_traces([tmp_path])}
        assert mode == 0o600


def test_with_faults_and_small_snapshots(tmp_path):
    """Messages that faults hold back, lose and repeat; segments that are given back by a thread."""
    settings = {
        "snapshots": {"slots_max": 60, "log_bytes_max": 1 << 20, "margin_slots": 10},
        "wal": {"segment_bytes": 2 << 20},
    }
    with Daemons(tmp_path, **ON, **settings) as daemons:
        daemons.start()
        leader = daemons.wait_leader()
        follower = daemons.followers(leader)[0]
        daemons.fault("slow", "delay", leader, "*", ms=5)
        daemons.fault("twice", "duplicate", "*", "*", probability=0.2, ms=5)
        daemons.fault("gone", "drop", "*", follower, probability=0.2)
        with daemons.client() as client:
            for number in range(400):
                client.put(b"key%d" % (number % 50), b"%d" % number + bytes(20_000))
        daemons.heal()
        daemons.check_equal()
        wait_for(lambda: daemons.status(follower)["snapshot"]["taken"] >= 2, what="two snapshots")
        daemons.kill(follower)
        put_some(daemons, 300)  # what it misses is in a snapshot by now, and not in any log
        daemons.start(follower)
        daemons.check_equal()
        daemons.kill(sig=signal.SIGTERM)
        assert len(replay_all(daemons)) == 4


def test_members_that_are_replaced(tmp_path):
    with Growing(tmp_path, more=1, **ON) as daemons:
        daemons.start_founders()
        put_some(daemons, 50)
        daemons.join("n4")
        daemons.ctl("replace", "n1", "n4", *daemons.where("n4"))
        daemons.wait_end("n1")
        put_some(daemons, 50)
        daemons.check_equal()
        daemons.kill(sig=signal.SIGTERM)
        assert {each.node for each in replay_all(daemons)} == {"n1", "n2", "n3", "n4"}


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
