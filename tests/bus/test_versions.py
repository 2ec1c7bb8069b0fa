"""Which version of the wire two nodes of this program speak with each other."""

from paxosd.core.messages import (
    Accepted,
    Envelope,
    Genesis,
    Hello,
)
from paxosd.core.types import Ballot
from tests.bus.harness import (
    MEETING_VOTE,
    World,
    heartbeat,
    meet,
    next_envelopes,
    next_notices,
    until,
)

B = Ballot(1, "n1")
VOTE = Accepted(B, ((7, 8),), 7)


def heard(bus, count=1):
    """The next envelopes, without what is left of a meeting."""
    return next_envelopes(bus, count, but=[MEETING_VOTE])


class TestVersions:
    """Which version of the wire two of this program speak with each other."""

    def test_without_a_founding_record_each_learns_that_the_other_speaks_the_new_one(self):
        with World() as world:
            one, two = world.start("n1"), world.start("n2")
            meet(world, "n1", "n2")
            assert one.inbox.new_speakers == two.inbox.new_speakers == set()
            assert one.send("n2", heartbeat(1))
            assert heard(two) == [Envelope("n1", 1, heartbeat(1), version=1)]
            one.inbox.header.epoch, one.inbox.header.log_mark = 2, 5
            # A hello goes out twice, once in each form.
            before = one.counters["sent.peer"]
            hello = Hello(77, 5, 6, 1, "tcp://h:1", "tcp://h:3")
            assert one.send("n2", hello)
            assert one.counters["sent.peer"] == before + 2
            got = heard(two, 2)
            assert sorted(got, key=lambda envelope: envelope.version) == [
                Envelope("n1", 1, Hello(77), version=1),
                Envelope("n1", 1, hello, 0, 2, 5, 2),
            ]
            assert two.inbox.new_speakers == {"n1"}
            # A node that knows this sends only the new form, and the other learns from it.
            before = two.counters["sent.peer"]
            assert two.send("n1", heartbeat(2))
            assert two.counters["sent.peer"] == before + 1
            assert heard(one) == [Envelope("n2", 1, heartbeat(2))]
            assert one.inbox.new_speakers == {"n2"}
            assert one.send("n2", heartbeat(3))
            one.publish_accepted(VOTE)
            got = heard(two, 2)
            assert sorted(got, key=lambda envelope: envelope.body == VOTE) == [
                Envelope("n1", 1, heartbeat(3), 0, 2, 5, 2),
                Envelope("n1", 1, VOTE, 0, 2, 5, 2),
            ]

    def test_a_kind_that_old_programs_do_not_know_goes_out_in_the_new_form(self):
        with World() as world:
            one, two = world.start("n1"), world.start("n2")
            meet(world, "n1", "n2")
            before = one.counters["sent.peer"]
            assert one.send("n2", Genesis(b"{}"))
            assert one.counters["sent.peer"] == before + 1
            assert heard(two) == [Envelope("n1", 1, Genesis(b"{}"))]
            assert two.inbox.new_speakers == {"n1"}

    def test_votes_are_new_once_all_peers_are(self):
        with World(("n1", "n2", "n3")) as world:
            one, two, _ = (world.start(name) for name in world.nodes)
            meet(world, "n1", "n2", "n3")
            for speaker, version in (("n2", 1), ("n3", 2)):
                assert until(lambda s=speaker: world.buses[s].send("n1", Hello(77)), "a send")
                heard(one, 2)
                one.publish_accepted(VOTE)
                assert heard(two) == [Envelope("n1", 1, VOTE, version=version)]

    def test_with_the_same_founding_record_they_speak_the_new_one_from_the_first_frame(self):
        with World() as world:
            one, two = (world.start(name, genesis=9) for name in world.nodes)
            until(lambda: one.send("n2", Hello(77)), "a connection")
            assert one.counters["sent.peer"] == 1
            assert heard(two) == [Envelope("n1", 1, Hello(77), 9, 0, 0, 2)]
            assert next_notices(one) == [(True, b"accepted/")]
            one.publish_accepted(VOTE)
            assert heard(two) == [Envelope("n1", 1, VOTE, 9, 0, 0, 2)]

    def test_with_a_founding_record_the_old_one_is_refused(self):
        with World() as world:
            one, two = world.start("n1"), world.start("n2", genesis=9)
            until(lambda: one.send("n2", heartbeat(1)), "a connection")
            until(
                lambda: two.counters["refused.version"],
                "the refusal",
                lambda: (two.poll(10), two.receive_peers(10)),
            )
            assert "n1" not in two.inbox.peer_runs.heard_ms
            # The one that has no record hears it, and is heard in the new form.
            until(lambda: two.send("n1", heartbeat(2)), "a connection")
            assert heard(one) == [Envelope("n2", 1, heartbeat(2), 9)]
            assert one.send("n2", heartbeat(3))
            assert heard(two) == [Envelope("n1", 1, heartbeat(3))]

    def test_a_frame_says_what_is_so_when_it_leaves(self):
        with World() as world:
            one, two = (world.start(name, genesis=9) for name in world.nodes)
            meet(world, "n1", "n2")
            for log_mark in (5, 6):
                one.inbox.header.log_mark = log_mark
                assert one.send("n2", heartbeat(log_mark))
            assert [envelope.log_mark for envelope in heard(two, 2)] == [5, 6]
