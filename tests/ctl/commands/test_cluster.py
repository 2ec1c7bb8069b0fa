"""The verbs that look into a cluster: status, health, leader and hash."""

import json

from paxosctl.client.client import Client
from tests.ctl.fake_daemon import FakeDaemon, closed_port


class TestCluster:
    def test_status(self, ctl):
        code, out, _ = ctl("status")
        assert code == 0
        assert "n1 of cluster test" in out
        assert json.loads(ctl("status", "-o", "json")[1])["node"] == "n1"
        code, out, _ = ctl("status", "--cluster")
        assert code == 0
        assert "n1 leads" in out

    def test_status_of_a_lone_node_names_who_is_missing(self, ctl):
        gone = {"n2": {"client": closed_port(), "events": closed_port()}}
        with FakeDaemon(members=gone) as lone:
            lone.status = {"leader": "", "leader_endpoint": "", "role": "candidate"}
            code, out, _ = ctl("status", endpoints=lone.endpoint)
            assert code == 0
            assert "not heard: n2" in out
            assert "no quorum" in out
            code, out, _ = ctl("status", "--cluster", "-o", "json", endpoints=lone.endpoint)
            assert code == 0
            nodes = json.loads(out)["nodes"]
            assert [(node["node"], node["reachable"]) for node in nodes] == [
                ("n1", True),
                ("n2", False),
            ]
            assert ctl("leader", endpoints=lone.endpoint)[0] == 1

    def test_health(self, ctl, daemon):
        code, out, _ = ctl("health")
        assert code == 0
        assert "committed in" in out
        assert len(daemon.machine.sessions) == 0  # nothing is left behind
        daemon.refusal = "no_leader"
        code, out, err = ctl("health", "--timeout", "300ms")
        assert (code, out) == (1, "")
        assert "unhealthy" in err
        code, out, _ = ctl("health", "--timeout", "300ms", "-o", "json")
        assert (code, json.loads(out)["healthy"]) == (1, False)

    def test_leader(self, ctl, daemon):
        assert ctl("leader") == (0, f"n1  {daemon.endpoint}\n", "")

    def test_hash(self, ctl):
        ctl("put", "k", "v")
        code, out, _ = ctl("hash", "-o", "json")
        body = json.loads(out)
        assert (code, body["agree"]) == (0, True)
        assert len(body["nodes"][0]["checksum"]) == 16

    def test_hash_waits_for_a_node_that_gets_on_with_a_large_state(self, ctl, daemon):
        with Client([daemon.endpoint], timeout_s=30) as client:
            pipeline = client.pipeline()
            for number in range(250):
                pipeline.put(b"%d" % number, b"")
            pipeline.results()
        daemon.sum_keys = 2  # some 20 ms each time: longer than a request may take
        code, out, _ = ctl("hash", "--timeout", "1500ms", "-o", "json")
        assert (code, json.loads(out)["agree"]) == (0, True)
        daemon.sum_keys = 0
        code, _, err = ctl("hash", "--timeout", "1500ms")
        assert code == 3
        assert "n1 did not answer" in err

    def test_health_and_hash_name_a_node_whose_state_differs(self, ctl, daemon):
        found = {"slot": 128, "sum": "chain", "own": "2", "others": "7"}
        daemon.status = {"state": "agreed", "state_odd": {"n3": found}}
        code, out, _ = ctl("health")
        assert code == 0, "a write commits"
        assert "of n3 differs from that of n1 and the majority from slot 128 on" in out
        code, _, err = ctl("hash")
        assert code == 1
        assert "paxosctl member rejoin n3" in err

    def test_health_names_a_node_that_takes_no_more_clients(self, ctl, daemon):
        full = {"open": 98, "most": 98, "refused": 3, "silent": 0}
        daemon.status = {
            "connections": {"client": full},
            "descriptors": {"total": 256, "reserve": 64, "used": 150},
        }
        code, out, _ = ctl("health")
        assert code == 0, "a write commits"
        assert "as many client connections as it may have (98)" in out

    def test_health_names_a_node_whose_disk_is_nearly_full(self, ctl, daemon):
        daemon.status = {"low_space": ["n3"]}
        code, out, _ = ctl("health")
        assert code == 0, "a write commits"
        assert "the disk of n3 is nearly full" in out
        code, out, _ = ctl("health", "-o", "json")
        assert len(json.loads(out)["low_space"]) == 1
        _, out, err = ctl("status", "--cluster")
        assert "the disk of n3 is nearly full" in out + err

    def test_hash_with_a_node_missing_and_with_one_that_differs(self, ctl):
        with FakeDaemon("n2") as other:
            there = {"client": other.endpoint, "events": other.events_endpoint}
            with FakeDaemon("n1", members={"n2": there}) as first:
                ctl("put", "k", "v", endpoints=other.endpoint)
                ctl("put", "k", "w", endpoints=first.endpoint)
                ctl("hash", endpoints=other.endpoint)  # both at the same slot
                other.members = first.members
                code, _, err = ctl("hash", endpoints=first.endpoint)
                assert code == 1
                assert "THE STATES DIFFER" in err
                other.silent = True
                code, out, err = ctl("hash", "--timeout", "500ms", endpoints=first.endpoint)
                assert code == 3, "that is another answer than a difference"
                assert "not complete: n2 did not answer; all others agree" in err
                assert "DIFFER" not in out + err
                options = ("--timeout", "500ms", "-o", "json")
                code, out, err = ctl("hash", *options, endpoints=first.endpoint)
                found = json.loads(out)
                assert (code, found["agree"], found["missing"]) == (3, None, ["n2"])
                assert json.loads(err)["error"] == "incomplete"
                assert [each["error"] for each in found["nodes"]] == [None, "no_answer"]

    def test_hash_asks_no_more_of_one_that_is_no_member(self, ctl, daemon):
        """An endpoint of a node that was removed may stand in the list for long."""
        both = f"{daemon.endpoint},{closed_port()}"
        code, out, _ = ctl("hash", "-o", "json", endpoints=both)
        found = json.loads(out)
        assert (code, found["agree"], found["missing"]) == (0, True, [])
        assert [each["member"] for each in found["nodes"]] == [True, False]
