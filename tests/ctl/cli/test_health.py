"""What is said of a cluster by what its nodes say, and that no two words of it contradict."""

import re
from types import SimpleNamespace

import pytest

from paxosctl.cli.diagnose import _of_status, _reachable
from paxosctl.cli.health import (
    key_words,
    live_tolerance,
    lost_for_good,
    memory_lines,
    scarce_words,
    voters_seen,
    waiting_lines,
)
from paxosctl.cli.survey import NodeView, leader_of
from paxosctl.commands.cluster import _clients, _cluster, _node, _survives
from paxosd.wire.status import decode_status

NAMES = ("n1", "n2", "n3")


def status(node, *, leader="", role="follower", heard=NAMES, voting=NAMES, memory="whole",
           ballot=1, quorum=2, names=NAMES, without=(), **more):  # fmt: skip
    """Of a node of three that hears ``heard``, of whom ``voting`` may vote."""
    votes = node in voting and memory == "whole"
    count = sum(name in voting and name in heard for name in names if name != node) + votes
    table = {
        "node": node, "role": role, "leader": leader, "memory": memory, "votes": votes,
        "leader_endpoint": f"tcp://{leader}" if leader else "", "cluster": "test", "version": "0",
        "ballot": [ballot, leader], "promised": [ballot, leader], "commit": 5, "applied": 5,
        "lag_slots": 0, "revision": 5, "keys": 1, "sessions": 0, "quorum": quorum,
        "voters": list(names), "epoch": 0, "rss_bytes": 1, "uptime_ms": 1000, "incarnation": 1,
        "faults": 0, "faults_enabled": True, "disk": {"path": "nowhere"},
        "fault_tolerance": count - quorum if count >= quorum else -1,
        "peers": {
            name: {"reachable": name in heard, "heard_ms_ago": 5, "commit": 5, "voter": True,
                   "votes": name in voting and name in heard}
            for name in names if name != node
        },
    } | more  # fmt: skip
    return decode_status({k: v for k, v in table.items() if k not in without})


def views(*told):
    silent = [NodeView(name, f"tcp://{name}", None, None)
              for name in NAMES if name not in [each.node for each in told]]  # fmt: skip
    return [NodeView(each.node, f"tcp://{each.node}", each, None) for each in told] + silent


def summary(*told):
    return "\n".join(_cluster(views(*told)).notes)


class TestSummary:
    def test_a_leader_with_its_quorum(self):
        told = [status("n1", leader="n1", role="leader"), status("n2", leader="n1"),
                status("n3", leader="n1")]  # fmt: skip
        assert summary(*told) == "n1 leads; the cluster survives 1 more failure"
        assert _cluster(views(*told)).data["survives"] == 1

    def test_a_wiped_node_that_others_still_take_for_the_leader_leads_nothing(self):
        """It said "n3 leads; there is no quorum"."""
        told = [
            status("n1", leader="n3", voting=("n1",)),
            status("n3", leader="n3", role="memory-lost", memory="lost", voting=("n1",)),
        ]
        text = summary(*told)
        assert "n3 leads" not in text
        assert "no quorum: n1 counts 1 of 3 voters and needs 2, so nothing can be written" in text
        assert "n3 lost its memory" in text
        assert _cluster(views(*told)).data["leader"] is None
        assert _cluster(views(*told)).data["survives"] is None
        assert leader_of(views(*told)) == ("", "")

    def test_a_leader_without_its_quorum_is_not_said_to_lead(self):
        text = summary(status("n1", leader="n1", role="leader", heard=()))
        assert "leads" not in text
        assert "no quorum: n1 counts 1 of 3 voters and needs 2" in text
        assert "not heard: n2, n3" in text

    def test_an_election_is_under_way(self):
        text = summary(*(status(name, role="candidate") for name in NAMES))
        assert text == "there is no leader now"

    def test_a_leader_that_cannot_be_asked(self):
        told = [status("n1", leader="n3"), status("n2", leader="n3")]
        assert summary(*told).splitlines()[-1] == "n3 leads, say others; it could not be asked"

    def test_the_word_of_a_node_itself_counts_more_than_what_the_leader_hears(self):
        told = [status("n1", leader="n1", role="leader"),
                status("n2", leader="n1", role="newcomer", memory="new")]  # fmt: skip
        assert live_tolerance(told[0], views(*told)) == 0
        assert "survives 0 more failures" in summary(*told)


class TestTwoOfThreeWiped:
    """They hear three of three: fault tolerance 0, they said, and the truth is none at all."""

    TOLD = (
        status("n1", voting=("n1",), role="candidate"),
        status("n2", voting=("n1",), memory="lost", role="memory-lost"),
        status("n3", voting=("n1",), memory="lost", role="memory-lost"),
    )

    def test_nobody_is_sent_to_a_command_that_cannot_work(self):
        """Both were told to be let in by rejoin, which needs the quorum that is gone."""
        text = summary(*self.TOLD)
        assert "member rejoin" not in text
        assert "n2 and n3 lost their memory" in text
        assert "snapshot save --endpoint" in text
        assert "snapshot restore" in text

    @pytest.mark.parametrize("told", TOLD[1:], ids=NAMES[1:])
    def test_one_of_them_alone_can_be_let_in(self, told):
        lines = memory_lines([status("n1", leader="n1", role="leader"), told])
        assert [f"member rejoin {told.node}" in line for line in lines] == [True]

    def test_the_diagnosis_of_a_call_says_so_once(self):
        final = lost_for_good(self.TOLD)
        assert final is not None
        told = [
            _reachable(SimpleNamespace(status=each, error=None), None, final) for each in self.TOLD
        ]
        assert sum("snapshot restore" in words for words in told) == 1
        assert all(words.startswith("no quorum") for words in told)

    @pytest.mark.parametrize("told", TOLD, ids=NAMES)
    def test_all_say_the_same(self, told):
        assert voters_seen(told).voting == 1
        assert _survives(told) == "no quorum"
        words = _of_status(told)
        assert words.startswith(f"no quorum: {told.node} counts 1 of 3 voters and needs 2")
        assert "start or reconnect" not in words, "they are all up"

    def test_the_summary(self):
        text = summary(*self.TOLD)
        assert "no quorum" in text
        assert "up, but without a vote now: n2, n3" in text
        assert "not heard" not in text

    def test_what_a_node_with_its_memory_advises(self):
        assert _of_status(self.TOLD[0]).endswith(
            "n2 and n3: up, but without a vote; see their status"
        )

    def test_what_one_without_advises(self):
        assert "paxosctl member rejoin n2" in _of_status(self.TOLD[1])


FOUND = {"slot": 128, "sum": "chain", "own": "7", "others": "2", "members": ["n1", "n2"]}
ODD = {"n3": {"slot": 128, "sum": "chain", "own": "2", "others": "7"}}


class TestStates:
    """Whose state differs, from which slot on, and what to do: in each view of the cluster."""

    def test_a_diverged_node_is_named_once_by_its_own_word(self):
        told = [
            status("n1", leader="n1", role="leader", state="agreed", state_odd=ODD),
            status("n3", role="diverged", state="diverged", state_difference=FOUND),
        ]
        text = summary(*told)
        assert text.count("differs from") == 1
        assert "the state of n3 differs from that of n1 and n2 from slot 128 on (chain)" in text
        assert "paxosctl member rejoin n3" in text
        assert "of n3 differs from that of n1 and n2" in _of_status(told[1])

    def test_one_that_cannot_say_so_is_named_by_the_others(self):
        told = status("n1", leader="n1", role="leader", state="agreed", state_odd=ODD)
        assert "of n3 differs from that of n1 and the majority from slot 128" in summary(told)
        assert "of n3 differs" in dict(_node(told).rows)["state"]

    def test_a_dispute_says_what_decides_it(self):
        found = FOUND | {"members": ["n2"]}
        told = status("n1", role="disputed", state="disputed", state_difference=found)
        for text in (summary(told), _of_status(told), dict(_node(told).rows)["state"]):
            assert "n1 and n2 have different states from slot 128 on" in text
            assert "Start the voters that are down" in text

    def test_states_that_agree_are_no_matter(self):
        told = status("n1", leader="n1", role="leader", state="agreed", state_odd={})
        assert "differ" not in summary(told) + _of_status(told)
        assert dict(_node(told).rows)["state"] == "agreed"


@pytest.mark.parametrize("heard", [(), ("n2",), ("n2", "n3")])
@pytest.mark.parametrize("voting", [(), ("n1",), ("n2",), ("n1", "n2"), NAMES])
@pytest.mark.parametrize("role", ["leader", "follower", "candidate", "memory-lost", "newcomer"])
@pytest.mark.parametrize("leader", ["", "n1", "n3"])
class TestEverything:
    """Whatever a node says, its words hang together."""

    def test_words(self, heard, voting, role, leader):
        told = status("n1", role=role, leader=leader, heard=heard, voting=voting)
        seen = voters_seen(told)
        texts = [summary(told), _of_status(told), *(str(row) for row in _node(told).rows)]
        for text in texts:
            assert not re.search(r"-\d", text), text
            assert not ("leads" in text and "no quorum" in text), text
        assert (_survives(told) == "no quorum") is (seen.voting < 2)
        assert ("no quorum" in texts[0]) is (seen.voting < 2 and leader != "n3")
        if seen.voting < 2:
            assert "follows" not in texts[1]
            assert "survives" not in texts[0]


def test_votes_of_an_older_daemon_are_taken_for_given():
    peers = {name: {"reachable": True, "voter": True} for name in ("n2", "n3")}
    told = status("n1", leader="n1", role="leader", peers=peers, without={"votes"})
    assert voters_seen(told).voting == 3


class TestFile:
    """A configuration file that names other members than the cluster has."""

    DIFFERING = {"n3": {"file": None, "cluster": {"voter": True}}}  # noqa: RUF012 - not changed

    def test_is_named_in_both_views(self):
        told = status("n1", leader="n1", role="leader", members_differ=self.DIFFERING)
        line = "n3 is a member, and the file does not name it"
        assert line in _node(told).plain.decode()
        words = "the file of n1 has other members than the cluster's, which count: " + line
        assert words in summary(told, status("n2", leader="n1"), status("n3", leader="n1"))

    def test_or_not_if_it_agrees(self):
        told = status("n1", leader="n1", role="leader", members_differ={})
        assert "file" not in [row[0] for row in _node(told).rows]
        assert "file" not in summary(told)

    @pytest.mark.parametrize(
        ("more", "words"),
        [
            ({"founding": {"genesis": "ab", "members": {"n1": {}, "n2": {}}}, "genesis": "ab"},
             "by n1, n2 (record ab)"),
            ({"founding": {}, "genesis": "ab"}, "by others, or before there were records"),
            ({"role": "newcomer"}, "not yet"),
            ({}, "no record is known"),
        ],
    )  # fmt: skip
    def test_how_the_cluster_was_founded(self, more, words):
        assert words in dict(_node(status("n1", **more)).rows)["founded"]


def test_a_node_with_as_many_connections_as_it_may_have_is_named():
    full = {"open": 98, "most": 98, "refused": 3, "silent": 0}
    room = {"open": 2, "most": 49, "refused": 0, "silent": 0}
    crowded = status(
        "n1",
        connections={"client": full, "events": room},
        descriptors={"total": 256, "reserve": 64, "used": 150},
    )
    (line,) = scarce_words([crowded, status("n2")])
    assert line.startswith("n1 has as many client connections as it may have (98), and refuses")
    assert "file descriptors (256)" in line
    assert _clients(crowded) == "98 of at most 98, watching 2 of at most 49"
    assert _clients(status("n2")) == "not counted"


def test_whom_a_node_takes_without_a_key():
    open_one = status("n1", security={"key": "", "rollout": "", "warning": "reached by others"})
    assert key_words([open_one, status("n3")]) == ["n1: reached by others"]
    assert _node(open_one).notes == ["n1: reached by others"]


def test_those_who_wait_for_the_same_share_a_line():
    new = {"role": "newcomer", "unconfirmed_by": ["n3"]}
    waiting = [
        decode_status({"node": name, "unconfirmed_ms": waited_ms, **new})
        for name, waited_ms in (("n1", 11_000), ("n2", 180_000))
    ]
    assert waiting_lines(waiting) == [
        "newcomer: n1 and n2 have waited for 3 min for n3: they are new and vote once every member "
        "has been up: start or reconnect n3; to found the cluster without n3: docs/RUNBOOKS.md"
    ]
    [line] = waiting_lines(waiting[1:])
    assert line.startswith("newcomer: n2 has waited for 3 min for n3: it is new and votes once")
    back = decode_status({"node": "n1", "role": "returning", "unconfirmed_by": ["n2"]})
    assert waiting_lines([back, decode_status({"node": "n2", "role": "follower"})]) == [
        "returning: n1 has waited for n2 to compare its memory: start or reconnect n2"
    ]
