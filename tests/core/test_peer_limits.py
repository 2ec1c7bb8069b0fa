"""The limits in other nodes' files: sent, kept, and reported if they do not fit."""

import json

import pytest

from paxosd.core.commands import PUT, Entry
from paxosd.core.messages import (
    Accept,
    Heartbeat,
    HeartbeatAck,
    Hello,
    NodeLimits,
    Prepare,
    Promise,
)
from paxosd.core.peer_limits import (
    DOCUMENT_BYTES_MAX,
    HEARTBEAT,
    MESSAGE,
    TIMEOUT,
    frame_bytes_max,
)
from paxosd.core.types import NULL_BALLOT, Ballot
from tests.core.parts import Lone

MIB = 1 << 20
OWN = 16 * MIB
SMALL = 1 << 16


def said(**limits):
    names = {"message": MESSAGE, "heartbeat": HEARTBEAT, "timeout": TIMEOUT}
    return NodeLimits(json.dumps({names[k]: v for k, v in limits.items()}).encode())


class Scene(Lone):
    def __init__(self, message_bytes_max=OWN, **settings):
        settings = {"message_bytes_max": message_bytes_max} | settings
        super().__init__(settings=settings)
        self.notices = []

    def turn(self, **how):
        ready = super().turn(**how)
        self.notices += [fields for event, _, fields in ready.notices
                         if event == "config.limits_differ"]  # fmt: skip
        return ready

    def lead(self):
        ballot = self.campaign()
        for name in ("n2", "n3"):
            self.hear(name, Promise(ballot, 1, 0, 0, ()))
        assert self.node.leading
        return ballot


class TestTelling:
    def test_each_peer_is_told_after_it_was_heard(self):
        scene = Scene()
        scene.hear("n2", Hello(level=2))
        scene.wait(200)
        scene.wait(1000)
        assert [to for to, m in scene.sends if isinstance(m, NodeLimits)] == ["n2"]
        (sent,) = scene.sent(NodeLimits)
        assert json.loads(sent.document) == {MESSAGE: OWN, HEARTBEAT: 100, TIMEOUT: 600}

    def test_again_once_its_connection_broke_for_it_may_be_another_process(self):
        scene = Scene()
        scene.hear("n2", Hello(level=2))
        scene.wait(200)
        scene.node.peer_disconnected("n2")
        scene.wait(1000)
        assert len(scene.sent(NodeLimits)) == 1, "nobody hears it"
        scene.hear("n2", Heartbeat(NULL_BALLOT, "", 0, 0, 0, 0))
        scene.wait(200)
        assert len(scene.sent(NodeLimits)) == 2

    def test_with_every_hello_for_the_last_word_may_be_lost(self):
        scene = Scene()
        for _ in range(3):
            scene.hear("n2", Hello(level=2))
        assert len(scene.sent(NodeLimits, "n2")) == 3

    def test_a_program_of_before_feature_levels_is_told_nothing(self):
        scene = Scene()
        scene.hear("n2", Hello())
        scene.wait(1000)
        assert scene.sent(NodeLimits) == []


class TestKeepingWithin:
    def entry(self, scene, token, value_bytes):
        entry = Entry(1, 1, 0, [[PUT, b"k", bytes(value_bytes)]])
        scene.node.submit(token, entry, scene.node._context.codec.encode_entry(entry))

    def values(self, scene, slot_from=1):
        """What was proposed; when it is sent is up to what is on its way already."""
        open_ = scene.node._context.proposer.open
        return {slot: len(each.value) for slot, each in open_.items() if slot >= slot_from}

    def test_a_batch_is_no_larger_than_what_every_member_takes(self):
        scene = Scene(eager_slots_max=64)
        scene.lead()
        for small in (False, True):
            if small:
                scene.hear("n3", said(message=SMALL))
                scene.hear("n2", said(message=8 * MIB))
            first = scene.node.status().proposed + 1
            for number in range(20):
                self.entry(scene, f"{small}{number}", 60_000)
            scene.turn()
            largest = max(self.values(scene, first).values())
            assert (largest <= frame_bytes_max(SMALL)) == small
            assert (largest <= 2 * SMALL + 4096) == small

    def test_a_request_that_not_every_member_takes_is_refused_in_words(self):
        scene = Scene()
        limits = scene.node.limits
        assert limits.refusal(OWN) == ""
        scene.hear("n2", said(message=8 * MIB))
        scene.hear("n3", said(message=SMALL))
        assert limits.refusal(SMALL) == ""
        words = limits.refusal(SMALL + 1)
        assert "member n3" in words
        assert f"at most {SMALL}" in words
        assert f"here it is {OWN}" in words
        scene.hear("n3", said(message=OWN))
        assert "member n2" in limits.refusal(OWN)

    def test_one_that_takes_more_than_this_node_changes_nothing(self):
        scene = Scene(SMALL)
        scene.hear("n2", said(message=OWN))
        assert scene.node.limits.least is None
        assert scene.node.limits.frames_max == {}

    def test_a_promise_comes_in_pages_that_the_candidate_takes(self):
        ballot = Ballot(3, "n3")
        for small in (False, True):
            scene = Scene()
            if small:
                scene.hear("n2", said(message=SMALL))
            for slot in range(1, 11):
                scene.hear("n3", Accept(ballot, slot, bytes(50_000), 0))
            scene.hear("n2", Prepare(Ballot(9, "n2"), 1))
            (page,) = scene.sent(Promise, "n2")
            assert (len(page.accepted) < 10) == small
            assert sum(len(each.value) for each in page.accepted) <= (2 * SMALL if small else OWN)

    def test_what_is_in_flight_and_too_large_for_a_voter_has_no_vote_of_it(self):
        scene = Scene()
        ballot = scene.lead()
        for name in ("n2", "n3"):
            scene.hear(name, Heartbeat(ballot, "n1", 0, 0, 0, 0))
            scene.hear(name, HeartbeatAck(ballot, 0, 0))
        assert scene.node.status().fault_tolerance == 1
        self.entry(scene, "large", 4 * MIB)
        scene.turn()
        assert scene.node.status().fault_tolerance == 1, "its limits are not known"
        scene.hear("n3", said(message=SMALL))
        status = scene.node.status()
        assert status.fault_tolerance == 0
        assert not status.peers["n3"].votes

    def test_catching_up_is_told_what_a_peer_takes(self):
        scene = Scene()
        limits = scene.node.limits
        assert (limits.room_of("n3"), limits.takes("n3", 1 << 40)) == (0, True)
        scene.hear("n3", said(message=SMALL))
        assert limits.room_of("n3") == 2 * SMALL
        assert limits.takes("n3", 2 * SMALL)
        assert not limits.takes("n3", frame_bytes_max(SMALL))
        assert limits.frames_max == {"n3": frame_bytes_max(SMALL)}


class TestSayingNothing:
    """A peer of a version that does not send its limits."""

    def test_after_it_was_cut_off_what_goes_to_it_is_what_every_node_takes(self):
        scene = Scene()
        scene.hear("n3", Hello(level=1))
        limits = scene.node.limits
        limits.cut_off("n3", 2 * MIB)
        assert limits.room_of("n3") == 2 * SMALL
        assert limits.takes("n3", 2 * SMALL)
        assert not limits.takes("n3", frame_bytes_max(SMALL))
        assert limits.frames_max == {"n3": frame_bytes_max(SMALL)}
        assert limits.refusal(OWN) == "", "nobody knows that it may not be chosen"
        assert scene.node.status().frames_cut == (("n3", 2 * MIB),)
        assert limits.room_of("n2") == 0

    def test_until_its_connection_breaks_for_it_may_be_another_process(self):
        scene = Scene()
        limits, peer = scene.node.limits, scene.node._context.peers["n3"]
        limits.cut_off("n3", 2 * MIB)
        assert peer.message_bytes_max == SMALL, "promises to it are kept small as well"
        scene.node.peer_disconnected("n3")
        assert peer.message_bytes_max == 0
        assert limits.frames_max == {}
        assert limits.takes("n3", 1 << 40)
        assert scene.node.status().frames_cut == ()

    @pytest.mark.parametrize("message", [SMALL, OWN])
    def test_what_it_says_counts_for_more(self, message):
        scene = Scene()
        limits = scene.node.limits
        limits.cut_off("n3", 2 * MIB)
        scene.hear("n3", said(message=message))
        limits.cut_off("n3", 2 * MIB)
        assert limits.room_of("n3") == 2 * message
        assert scene.node.status().frames_cut == ()

    def test_a_stranger_is_nobody(self):
        scene = Scene()
        scene.node.limits.cut_off("n9", 2 * MIB)
        assert scene.node.limits.frames_max == {}


class TestReporting:
    def test_it_is_said_once_in_the_log_and_always_in_the_status(self):
        scene = Scene()
        for _ in range(3):
            scene.hear("n3", said(message=SMALL, heartbeat=100, timeout=600))
        (line,) = scene.notices
        expected = {"member": "n3", "key": MESSAGE, "value": SMALL, "own_key": MESSAGE, "own": OWN}
        assert expected.items() <= line.items()
        status = scene.node.status()
        assert [each._asdict() for each in status.limits_differ] == [expected]
        assert status.message_bytes_least == SMALL
        scene.hear("n3", said(message=OWN, heartbeat=100, timeout=600))
        assert scene.node.status().limits_differ == ()
        scene.hear("n3", said(message=SMALL))
        assert len(scene.notices) == 2

    @pytest.mark.parametrize(
        ("theirs", "keys"),
        [
            ({"heartbeat": 100, "timeout": 600}, []),
            ({"heartbeat": 200, "timeout": 300}, []),
            ({"heartbeat": 201, "timeout": 6000}, [(HEARTBEAT, TIMEOUT)]),
            ({"heartbeat": 10, "timeout": 299}, [(TIMEOUT, HEARTBEAT)]),
        ],
    )
    def test_times_that_do_not_fit_together(self, theirs, keys):
        scene = Scene()
        scene.hear("n3", said(**theirs))
        found = scene.node.status().limits_differ
        assert [(each.key, each.own_key) for each in found] == keys

    @pytest.mark.parametrize(
        "document",
        [b"", b"7", b"[]", b"{", b"\xff", b'{"limits.message_bytes_max": "x"}',
         b'{"limits.message_bytes_max": -5}', b'{"limits.message_bytes_max": true, "x": 1}',
         b'{"limits.message_bytes_max": 65536}' + b" " * DOCUMENT_BYTES_MAX, b"[" * 4000],
    )  # fmt: skip
    def test_what_is_no_limit_is_none(self, document):
        scene = Scene()
        scene.hear("n3", NodeLimits(document))
        assert scene.node.status().limits_differ == ()
        assert scene.node.limits.least is None


class TestVersions:
    def scene(self, **settings):
        return Scene(version="2.0", level_target=2, **settings)

    def events(self, scene, *, ms=200):
        scene.now += ms
        scene.node.set_time(scene.now, int(scene.now))
        ready = scene.turn()
        return [fields for event, _, fields in ready.notices if event == "member.version"]

    def test_the_version_goes_with_the_limits(self):
        scene = self.scene()
        scene.hear("n2", Hello(level=2))
        (sent,) = scene.sent(NodeLimits)
        assert json.loads(sent.document)["version"] == "2.0"

    def test_another_version_is_logged_once_and_so_is_its_end(self):
        scene = self.scene()
        scene.hear("n2", Hello(level=1))
        scene.hear("n2", NodeLimits(b'{"version": "1.0"}'))
        (line,) = self.events(scene)
        assert line == {"member": "n2", "member_version": "1.0", "feature_level": 1,
                        "own_version": "2.0", "own_feature_level": 2}  # fmt: skip
        assert scene.node.status().peers["n2"].version == "1.0"
        scene.hear("n2", NodeLimits(b'{"version": "1.0"}'))
        assert self.events(scene) == []
        scene.hear("n2", Hello(level=2))
        scene.hear("n2", NodeLimits(b'{"version": "2.0"}'))
        assert [line["member_version"] for line in self.events(scene)] == ["2.0"]
        assert self.events(scene) == []

    def test_a_program_that_does_not_say_its_version_is_another_one(self):
        scene = self.scene()
        scene.hear("n2", Hello(level=1))
        assert self.events(scene) == [], "it may say so in a moment"
        scene.hear("n2", said(message=OWN))
        assert [line["member_version"] for line in self.events(scene)] == [""]

    def test_the_same_version_is_no_news(self):
        scene = self.scene()
        scene.hear("n2", Hello(level=2))
        scene.hear("n2", NodeLimits(b'{"version": "2.0"}'))
        assert self.events(scene) == []

    @pytest.mark.parametrize("version", [1, None, ["2.0"], "", "two words", "v" * 65, "\n"])
    def test_what_is_no_version_counts_as_none(self, version):
        scene = self.scene()
        scene.hear("n2", NodeLimits(json.dumps({"version": version}).encode()))
        assert scene.node.status().peers["n2"].version == ""
