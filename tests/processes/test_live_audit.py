"""``audit --live`` on real daemons: a healthy cluster keeps the rules, over a kill -9 as well."""

import json
import os
import signal
import subprocess
import sys

from tests.processes.processes import Daemons


def test_a_healthy_cluster_over_a_kill(tmp_path):
    with Daemons(tmp_path) as daemons:
        daemons.start()
        leader = daemons.wait_leader()
        auditor = subprocess.Popen(
            [sys.executable, "-m", "paxosctl", "--endpoints", ",".join(daemons.endpoints),
             "audit", "--live", "--every", "200ms", "-o", "json"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        with auditor:
            _read_until(auditor, lambda said: len(said["nodes"]) == 3)
            with daemons.client() as client:
                for number in range(50):
                    client.put(b"key", b"%d" % number)
                _read_until(auditor, lambda said: said["chosen"] >= 40)
                daemons.kill(leader)
                client.put(b"key", b"after")
            daemons.start(leader)
            _read_until(auditor, lambda said: said["slots"] > 50 and not said["silent"])
            os.kill(auditor.pid, signal.SIGINT)
            out, err = auditor.communicate(timeout=20)
        assert (auditor.returncode, err) == (0, "")
        report = json.loads(out.splitlines()[-1])
        assert report["violations"] == 0
        rules = {each["rule"]: each for each in report["rules"]}
        assert rules["one-value"]["verdict"] == "kept"
        assert rules["chosen-by-quorum"]["checked"] >= 40
        assert rules["equal-states"]["checked"] > 100
        assert [each["node"] for each in report["nodes"]] == ["n1", "n2", "n3"]


def _read_until(auditor, condition):
    for line in auditor.stdout:
        said = json.loads(line)
        assert not said["violations"], said
        if condition(said):
            return
    raise AssertionError(f"it ended: {auditor.stderr.read()}")
