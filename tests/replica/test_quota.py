"""What a node says of the quota: refusals before the log, and the lines of its log."""

from paxosd.core.cluster_settings import LEVEL_LATEST, ClusterSettings
from paxosd.core.commands import DELETE, OPEN, PUT, Batch, Entry
from paxosd.core.state.quota import KEY_BYTES, Quota
from paxosd.replica.quota_alarm import QuotaAlarm
from tests.replica.test_service_settings import Desk

FULL = ClusterSettings(1, LEVEL_LATEST, quota_bytes=KEY_BYTES + 10)


class TestAdmission:
    def desk(self):
        desk = Desk(FULL)
        machine = desk.machine
        machine.apply(1, Batch(0, [Entry(0, 1, 0, [[OPEN]])]))
        machine.store.quota.change(FULL.quota_bytes)
        machine.apply(2, Batch(0, [Entry(1, 1, 0, [[PUT, b"k", bytes(9)]])]))
        return desk

    def test_puts_without_room_do_not_reach_the_log(self):
        desk = self.desk()
        assert "quota" in desk.refusal(Entry(1, 2, 1, [[PUT, b"a", b""], [PUT, b"k", bytes(10)]]))
        assert desk.answers == []

    def test_what_may_have_room_is_decided_in_the_log(self):
        desk = self.desk()
        for commands in (
            [[PUT, b"k", bytes(9)]],
            [[PUT, b"a", b""], [PUT, b"k", b""]],
            [[DELETE, b"k"], [PUT, b"a", b""]],
        ):
            assert desk.refusal(Entry(1, 2, 1, commands)) == ""

    def test_a_put_that_was_applied_before_gets_its_answer_again(self):
        """It has filled the store itself: a refusal would say that it changed nothing."""
        assert self.desk().refusal(Entry(1, 1, 0, [[PUT, b"k", bytes(11)]])) == ""

    def test_a_node_that_does_not_lead_says_that_instead(self):
        desk = self.desk()
        desk.node.leading = False
        assert desk.refusal(Entry(1, 2, 1, [[PUT, b"a", b""]])) == ""


class Lines:
    """A log that keeps the names of its events."""

    def __init__(self):
        self.events = []

    def warning(self, event, **fields):
        self.events.append(event)
        assert fields["quota_bytes"] == 1000

    def info(self, event, **fields):
        self.events.append(event)


class TestAlarm:
    def looks(self, *steps):
        lines, quota = Lines(), Quota(1000)
        alarm = QuotaAlarm(lines)
        for step in steps:
            if step == "refuse":
                quota.note_refusal()
            elif step == "none":
                quota.change(0)
            else:
                quota.held_bytes = step
            alarm.look(quota)
        return lines.events

    def test_it_is_said_once_with_some_distance_to_its_end(self):
        assert self.looks(799, 800, 790, 900, 760, 750, 749, 800) == [
            "quota.near", "quota.ended", "quota.near",
        ]  # fmt: skip

    def test_full_means_that_a_write_was_refused(self):
        assert self.looks(700, 1000, "refuse", "refuse", 980, "refuse", 920, 950, 700) == [
            "quota.near", "quota.full", "quota.ended",
        ]  # fmt: skip
        assert self.looks(300, "refuse", "refuse", 240, "refuse") == [
            "quota.full", "quota.ended", "quota.full",
        ]  # fmt: skip

    def test_without_a_quota_there_is_none(self):
        assert self.looks(1000, "refuse", "none") == ["quota.near", "quota.full", "quota.ended"]
        assert self.looks("none", 5000) == []
