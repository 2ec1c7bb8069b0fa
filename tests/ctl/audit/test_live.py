"""The rules of the live audit: frames as nodes encode them, each breach beside the sound stream."""

import pytest

from paxosctl.audit.live_audit import LiveAudit
from paxosctl.audit.live_frames import FrameError, decode, decode_answer
from paxosd.core.messages import Accepted
from paxosd.core.requests import AdminAnswer
from paxosd.core.types import Ballot
from paxosd.wire import encode_client
from paxosd.wire.events import EventEncoder
from paxosd.wire.peer import encode_old, encode_peer

CLUSTER = "c1"
NODES = ("n1", "n2", "n3")
B1, B2 = Ballot(1, "n1"), Ballot(2, "n2")


class Cluster:
    """Three nodes of a script, and the audit that listens to them. A tick is a millisecond."""

    def __init__(self, **options):
        self.audit = LiveAudit(**options)
        self.audit.cluster = CLUSTER
        self.now_ms = 1000.0
        self.runs = dict.fromkeys(NODES, 1)
        self.seqs = dict.fromkeys(NODES, 0)
        self.promised = dict.fromkeys(NODES, B1)
        self.directories = dict.fromkeys(NODES, 7)
        self.syncs = 0
        self.frontier = 0
        self.fences = 0
        for name in NODES:
            self.audit.add_node(name, f"tcp://{name}", self.now_ms)
        self.poll()
        self.poll()

    def take(self, node, topic, payload):
        self.now_ms += 1
        self.audit.take(node, topic, payload, self.now_ms)

    def vote(self, *nodes, slot, ballot=B1, lose=0):
        for node in nodes:
            self.seqs[node] += 1 + lose
            message = Accepted(ballot, ((slot, slot),), self.seqs[node])
            frame = encode_peer(message, CLUSTER, node, self.runs[node] << 20, 5)
            self.take(node, b"accepted/" + node.encode(), frame)

    def apply(self, *nodes, slot, value=b"x", ballot=B1):
        for node in nodes:
            encoder = EventEncoder(CLUSTER, node, self.runs[node])
            self.take(node, *encoder.learned(slot, ballot, value))

    def change(self, node, revision, value):
        encoder = EventEncoder(CLUSTER, node, self.runs[node])
        self.take(node, *encoder.change(revision, 1, b"k", value, [(0, revision - 1, 0, 1)]))

    def status(self, node, **more):
        member = {"peer": "tcp://p", "client": "tcp://c", "events": "tcp://e", "voter": True,
                  "directory": 7}  # fmt: skip
        return {
            "node": node, "cluster": CLUSTER, "run_id": self.runs[node] << 20,
            "directory": self.directories[node], "promised": self.promised[node],
            "commit": self.frontier, "disk": {"syncs": self.syncs},
            "membership": {"epoch": 0, "slot": 0, "phase1": 0, "phase2": 0, "departed": {},
                           "members": dict.fromkeys(NODES, member)},
        } | more  # fmt: skip

    def poll(self, fences=NODES, **more):
        """A second passes: all are asked, and a fence comes from ``fences``."""
        self.now_ms += 1000
        for node in NODES:
            self.audit.ask(node)
        asked_ms = self.now_ms
        for node in NODES:
            answer = encode_client(AdminAnswer(1, self.status(node, **more)), CLUSTER)
            self.audit.hear(decode_answer(answer)[1], asked_ms)
        for node in fences:
            self.fences += 1
            prefix = b"\0audit/%d" % self.fences
            self.now_ms += 1
            self.audit.streams[node].begin_fence(prefix, self.now_ms)
            encoder = EventEncoder(CLUSTER, node, self.runs[node])
            self.take(node, *encoder.progress(prefix, 0, 0, 0, 0))
        self.audit.settle(self.now_ms)

    def slot(self, slot, **named):
        """All of a slot's usual life."""
        self.vote(*NODES, slot=slot, **named)
        self.apply(*NODES, slot=slot, **named)
        self.frontier = max(self.frontier, slot)

    def broken(self):
        """Rule → the sentence of its first violation."""
        rules = self.audit.data()["rules"]
        return {r["rule"]: r["violations"][0]["text"] for r in rules if r["broken"]}

    def rule(self, name):
        return next(r for r in self.audit.data()["rules"] if r["rule"] == name)


@pytest.fixture
def cluster():
    made = Cluster()
    for slot in (1, 2, 3):
        made.slot(slot)
    return made


def test_a_sound_cluster(cluster):
    cluster.slot(4, ballot=B2)
    cluster.change("n1", 1, b"a")
    cluster.change("n2", 1, b"a")
    cluster.audit.finish(cluster.now_ms)
    assert cluster.broken() == {}
    assert cluster.rule("chosen-by-quorum")["checked"] == 4
    assert cluster.rule("chosen-by-quorum")["verdict"] == "kept"
    assert cluster.rule("applied-in-order")["checked"] == 9
    assert cluster.audit.summary()["chosen"] == 4
    unseen = cluster.rule("reads")
    assert unseen["verdict"] == "not checked"
    assert unseen["not_checked"][0]["reason"] == "reads are not published"


def test_two_values_in_a_slot(cluster):
    cluster.vote(*NODES, slot=4)
    cluster.apply("n1", slot=4, value=b"x")
    assert cluster.broken() == {}
    cluster.apply("n2", slot=4, value=b"y")
    assert cluster.broken() == {"one-value": "slot 4 has two values that are held for chosen"}
    evidence = cluster.rule("one-value")["violations"][0]["evidence"]
    assert [each["event"] for each in evidence] == ["n1/1 learned slot 4", "n2/1 learned slot 4"]
    assert evidence[0]["file"] == "tcp://n1"


def test_a_vote_below_a_vote(cluster):
    cluster.vote("n3", slot=4, ballot=B2)
    cluster.vote("n2", slot=5)
    assert cluster.broken() == {}
    cluster.vote("n3", slot=5)
    assert set(cluster.broken()) == {"votes-above-promises"}


def test_a_vote_below_the_promise_that_its_status_named(cluster):
    cluster.promised["n3"] = B2
    for syncs in (1, 4, 7):
        cluster.vote("n3", slot=4)  # on its way to the disk when the promise was given
        cluster.syncs = syncs
        cluster.poll()
        assert cluster.broken() == {}
        if syncs == 1:
            continue
        break
    cluster.vote("n3", slot=5)
    assert "promised 2.n2 before" in cluster.broken()["votes-above-promises"]


def test_a_promise_that_goes_down_in_one_run(cluster):
    cluster.promised["n2"] = B2
    cluster.poll()
    assert cluster.broken() == {}
    cluster.promised["n2"] = B1
    cluster.poll()
    assert set(cluster.broken()) == {"promises"}


@pytest.mark.parametrize(("directory", "broken"), [(7, {"remembers"}), (8, set())])
def test_a_start_that_forgot_its_vote(cluster, directory, broken):
    cluster.vote("n2", slot=4, ballot=B2)
    cluster.audit.broke("n2", cluster.now_ms)
    cluster.runs["n2"], cluster.seqs["n2"] = 2, 0
    cluster.directories["n2"] = directory
    cluster.poll()
    assert set(cluster.broken()) == broken


def test_slots_out_of_order(cluster):
    cluster.slot(4)
    cluster.apply("n2", slot=5)
    assert cluster.broken() == {}
    cluster.apply("n2", slot=3)
    assert cluster.broken() == {"applied-in-order": "n2 applies slot 3 after 5"}


def test_slots_again_after_a_new_start(cluster):
    cluster.audit.broke("n2", cluster.now_ms)
    cluster.apply("n2", slot=3)  # what stood in the socket
    cluster.apply("n2", slot=2)  # what came over the next connection
    cluster.apply("n2", slot=3)
    assert cluster.broken() == {}


def test_one_revision_with_two_changes(cluster):
    cluster.change("n1", 7, b"a")
    cluster.change("n3", 7, None)
    assert cluster.broken() == {"equal-states": "revision 7 is another change on n3 than on n1"}


def test_a_state_that_a_node_itself_calls_different(cluster):
    found = {"slot": 9, "sum": "state", "own": "aa", "others": "bb", "members": ["n1", "n2"]}
    cluster.poll(state_difference=found)
    assert "after slot 9" in cluster.broken()["equal-states"]


def test_a_ballot_of_no_voter(cluster):
    cluster.vote("n2", slot=4, ballot=Ballot(9, "n9"))
    assert set(cluster.broken()) == {"ballots"}


def test_votes_from_another_directory(cluster):
    cluster.directories["n2"] = 8
    cluster.poll()
    cluster.vote("n2", slot=4)
    assert set(cluster.broken()) == {"one-memory"}


# -- chosen by a quorum


def test_no_quorum(cluster):
    cluster.promised = dict.fromkeys(NODES, B2)
    cluster.vote("n1", slot=4)
    cluster.vote("n2", slot=4, ballot=B2)
    cluster.apply("n1", slot=4)
    cluster.poll()
    assert cluster.broken() == {}, "whether a vote was lost is not known yet"
    cluster.vote(*NODES, slot=5, ballot=B2)
    cluster.audit.settle(cluster.now_ms)
    said = cluster.broken()["chosen-by-quorum"]
    assert "2 of the voters n1, n2, n3" in said
    assert "votes: n1 at 1.n1; n2 at 2.n2" in said


def test_votes_that_came_after_it_was_applied_do_not_count(cluster):
    cluster.vote("n1", slot=4)
    cluster.apply("n1", slot=4)
    cluster.poll()
    cluster.vote("n2", "n3", slot=4)
    cluster.vote(*NODES, slot=5)
    cluster.audit.settle(cluster.now_ms)
    assert set(cluster.broken()) == {"chosen-by-quorum"}


def test_votes_that_are_a_little_late_count(cluster):
    cluster.vote("n1", slot=4)
    cluster.apply("n1", slot=4)
    cluster.vote("n2", slot=4)
    cluster.poll()
    cluster.vote(*NODES, slot=5)
    cluster.audit.finish(cluster.now_ms)
    assert cluster.broken() == {}
    assert cluster.rule("chosen-by-quorum")["verdict"] == "kept"


@pytest.mark.parametrize("after_fence", [False, True])
def test_a_lost_message_is_noticed_and_nothing_concluded(cluster, after_fence):
    cluster.vote("n1", slot=4)
    cluster.apply("n1", slot=4)
    if after_fence:
        cluster.poll()
    cluster.vote("n2", "n3", slot=5, lose=1)
    for slot in (6, 7):
        cluster.frontier = slot
        cluster.poll()
        cluster.vote(*NODES, slot=slot)
    cluster.audit.finish(cluster.now_ms)
    assert cluster.broken() == {}
    (skipped,) = cluster.rule("chosen-by-quorum")["not_checked"]
    assert "may have been missed" in skipped["reason"]
    assert cluster.audit.summary()["missed"] == 2
    lost = cluster.rule("votes-above-promises")["not_checked"]
    assert sum(each["count"] for each in lost) == 2
    # Above what the nodes knew by then it can be concluded again.
    cluster.vote("n1", slot=20)
    cluster.apply("n1", slot=20)
    cluster.poll()
    cluster.vote(*NODES, slot=21)
    cluster.audit.finish(cluster.now_ms)
    assert set(cluster.broken()) == {"chosen-by-quorum"}


def test_a_voter_that_says_nothing(cluster):
    cluster.vote("n1", slot=4)
    cluster.apply("n1", slot=4)
    for _ in range(12):
        cluster.poll(fences=("n1", "n2"))
    assert cluster.broken() == {}
    (skipped,) = cluster.rule("chosen-by-quorum")["not_checked"]
    assert skipped == {"reason": "votes of n1, n2, n3 may have been missed", "count": 1}


def test_memory_is_bounded():
    cluster = Cluster(slots_max=50)
    for slot in range(1, 500):
        cluster.slot(slot)
    cluster.audit.settle(cluster.now_ms)
    assert len(cluster.audit._window) == 50
    assert not cluster.audit._open
    cluster.apply("n1", slot=500, value=b"new")
    cluster.audit.broke("n2", cluster.now_ms)
    cluster.apply("n2", slot=7, value=b"other")
    assert cluster.broken() == {}
    (skipped,) = cluster.rule("one-value")["not_checked"]
    assert skipped["reason"] == "it lies below the window of 50 slots"


# -- frames


def test_votes_of_nodes_of_the_time_before_founding_records():
    frame = encode_old(Accepted(B1, ((3, 5), (9, 9)), 4), CLUSTER, "n1", 1 << 20)
    cluster, said = decode(b"accepted/n1", frame)
    assert (cluster, said.node, said.ballot, said.ranges, said.seq) == (
        CLUSTER, "n1", (1, "n1"), ((3, 5), (9, 9)), 4,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("topic", "payload"),
    [
        (b"learned/", b"\xc1"),
        (b"learned/", b"\x92\x01\xa2c1"),
        (b"accepted/n2", encode_peer(Accepted(B1, ((1, 1),), 1), CLUSTER, "n1", 1 << 20)),
        (b"accepted/n1", encode_peer(Accepted(B1, ((5, 1),), 1), CLUSTER, "n1", 1 << 20)),
        (b"accepted/n1", encode_peer(Accepted(B1, ((1, 1 << 40),), 1), CLUSTER, "n1", 1 << 20)),
    ],
)
def test_what_is_no_frame_is_noted(cluster, topic, payload):
    with pytest.raises(FrameError):
        decode(topic, payload)
    cluster.take("n1", topic, payload)
    assert cluster.broken() == {}
    assert cluster.audit.data()["notes"]
