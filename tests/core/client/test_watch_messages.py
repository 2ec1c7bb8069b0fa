"""The watcher message by message: what it delivers, what it pulls, when it leaves a node."""

import pytest

from paxosd.core.client.watch import WatchState
from paxosd.core.client.watch_effects import Connect, Deliver, Fail, Pull, WatchOptions
from paxosd.core.commands import Change, ChangeOf
from paxosd.core.effects import BUSY, COMPACTED, INVALID
from paxosd.core.events import ChangeEvent, NumberedChangeEvent, Place, ProgressEvent
from paxosd.core.requests import SPLIT, HistoryAnswer, RefusalAnswer
from tests.core.client.watch_world import CLUSTER

OF_BEFORE = Change(12, 1, b"a", b"")


def change(previous, revision, key=b"a", ordinal=0, total=1, boot_count=1, node="n1", length=1):
    place = Place(length, previous, ordinal, total)
    return ChangeEvent(node, boot_count, revision, revision, key, b"v", (place,))


def numbered(seq, revision, key=b"a", boot_count=1, node="n1", length=1):
    chain = ((length, seq),)
    return NumberedChangeEvent(node, boot_count, revision, revision, key, b"v", chain)


def progress(seq, revision, last_revision=None, boot_count=1, prefix=b"a", age_ms=0):
    last = revision if last_revision is None else last_revision
    return ProgressEvent("n1", boot_count, prefix, revision, seq, last, age_ms)


class Driver:
    """A watch of prefix a from revision 11 on, connected and fed by hand."""

    def __init__(self, prev=False, **options):
        self.watch = WatchState(
            b"a", prefix=True, from_revision=11, prev=prev, options=WatchOptions(**options)
        )
        self.now_ms = 0
        assert self.watch.start(0) == [Connect(1, "")]

    def event(self, event, cluster=CLUSTER):
        return self.watch.on_event(self.watch.attempt, cluster, event, self.now_ms)

    def answer(self, answer, **how):
        return self.watch.on_answer(self.watch.attempt, answer, self.now_ms, **how)

    def tick(self, ms):
        self.now_ms += ms
        return self.watch.on_tick(self.now_ms)


def revisions(effects):
    return [
        change.revision
        for effect in effects
        if isinstance(effect, Deliver)
        for change in effect.changes
    ]


class TestLive:
    def test_changes_that_name_each_other_are_delivered_at_once(self):
        d = Driver()
        assert d.event(progress(0, 10)) == []
        assert revisions(d.event(change(10, 11))) == [11]
        assert revisions(d.event(change(11, 14))) == [14]
        assert d.watch.complete_to == 14
        assert d.event(progress(2, 20, 14)) == []
        assert d.watch.resume_revision == 21
        assert d.watch.live

    def test_the_first_contact_may_be_a_change(self):
        d = Driver()
        assert revisions(d.event(change(9, 11))) == [11]
        assert d.watch.complete_to == 11

    def test_a_change_that_names_one_not_delivered_starts_a_pull_from_the_last_whole_revision(self):
        d = Driver()
        d.event(progress(0, 10))
        d.event(change(10, 12))
        (pull,) = d.event(change(15, 20))
        assert isinstance(pull, Pull)
        assert pull.request.from_revision == 13
        assert (pull.request.start, pull.request.end) == (b"a", b"b")
        assert d.event(change(20, 21)) == []  # held
        page = [Change(r, r, b"a", b"v") for r in (15, 20)]
        got = d.answer(HistoryAnswer(pull.request.request_id, page, 21, 20))
        assert revisions(got) == [15, 20, 21]

    def test_a_lost_last_message_is_found_by_progress(self):
        d = Driver()
        d.event(progress(0, 10))
        d.event(change(10, 11))
        (pull,) = d.event(progress(2, 12))
        assert isinstance(pull, Pull)

    def test_a_lost_last_message_is_found_though_the_numbers_agree(self):
        """Another run of the node, in a directory that was wiped: its counts begin anew."""
        d = Driver()
        d.event(progress(1, 10))
        d.event(change(10, 11))
        (pull,) = d.event(progress(1, 14))
        assert isinstance(pull, Pull)

    def test_a_removal_of_many_keys_interrupted_half_way_gives_each_key_once(self):
        d = Driver()
        d.event(progress(0, 10))
        d.event(change(10, 11, b"a1", 0, 4))
        d.event(change(10, 11, b"a2", 1, 4))
        assert d.watch.complete_to == 10
        (pull,) = d.event(progress(4, 11))
        assert (pull.request.start, pull.request.from_revision) == (b"a2\0", 11)
        page = [Change(11, 11, b"a%d" % i, None) for i in (3, 4)]
        (delivered,) = d.answer(HistoryAnswer(pull.request.request_id, page, 12, 11))
        assert [c.key for c in delivered.changes] == [b"a3", b"a4"]

    def test_a_removal_comes_in_pages_that_end_within_it(self):
        d = Driver()
        (pull,) = d.event(progress(9, 12, 12))
        assert pull.request.limit_bytes & SPLIT
        page = [Change(11, 11, b"a1", None), Change(12, 12, b"a1", None)]
        first = d.answer(HistoryAnswer(pull.request.request_id, page, 12, 12))
        assert revisions(first) == [11, 12]
        assert (d.watch.complete_to, d.watch.resume_revision) == (11, 12)
        request = first[-1].request
        assert (request.start, request.end, request.from_revision) == (b"a1\0", b"b", 12)
        page = [Change(12, 12, b"a2", None), Change(12, 12, b"a3", None)]
        second = d.answer(HistoryAnswer(request.request_id, page, 12, 12))
        assert revisions(second) == [12, 12]
        request = second[-1].request
        assert request.start == b"a3\0"
        # The last page of it goes beyond it, but of what follows it has not all.
        page = [Change(12, 12, b"a4", None), Change(13, 13, b"a4", b"")]
        assert revisions(d.answer(HistoryAnswer(request.request_id, page, 14, 13))) == [12]
        assert d.watch.complete_to == 12

    def test_live_messages_go_on_where_a_page_ended(self):
        d = Driver()
        (pull,) = d.event(change(10, 11, b"a1", 1, 3))
        page = [Change(11, 11, b"a0", None)]
        first = d.answer(HistoryAnswer(pull.request.request_id, page, 11, 11))
        assert revisions(first) == [11]
        assert d.event(change(10, 11, b"a2", 2, 3)) == []  # held: a pull is under way
        request = first[-1].request
        page = [Change(11, 11, b"a1", None)]
        d.answer(HistoryAnswer(request.request_id, page, 11, 11))
        assert d.watch.complete_to == 10
        d.watch.on_disconnect(1, "broken", 0)
        d.tick(100)
        assert revisions(d.event(change(10, 11, b"a2", 2, 3))) == [11]
        assert d.watch.complete_to == 11

    def test_a_removal_of_many_keys_is_whole_with_its_last_one(self):
        d = Driver()
        for ordinal in range(3):
            assert d.watch.complete_to == 10
            (delivered,) = d.event(change(10, 11, b"a%d" % ordinal, ordinal, 3))
            assert [c.key for c in delivered.changes] == [b"a%d" % ordinal]
        assert d.watch.complete_to == 11

    def test_one_missing_of_the_keys_of_one_removal_is_seen(self):
        d = Driver()
        d.event(change(10, 11, b"a0", 0, 3))
        (pull,) = d.event(change(10, 11, b"a2", 2, 3))
        assert pull.request.from_revision == 11
        page = [Change(11, 11, b"a%d" % i, None) for i in (1, 2)]
        got = d.answer(HistoryAnswer(pull.request.request_id, page, 12, 11))
        assert [c.key for effect in got for c in effect.changes] == [b"a1", b"a2"]

    def test_the_first_missing_of_the_keys_of_one_removal_is_seen(self):
        d = Driver()
        (pull,) = d.event(change(10, 11, b"a1", 1, 3))
        assert isinstance(pull, Pull)

    def test_what_comes_once_more_is_not_delivered_again(self):
        d = Driver()
        d.event(change(10, 11))
        assert d.event(change(10, 11)) == []
        d.event(change(11, 12, b"a0", 0, 3))
        d.event(change(11, 12, b"a1", 1, 3))
        assert d.event(change(11, 12, b"a0", 0, 3)) == []
        assert d.event(change(10, 11)) == []
        assert revisions(d.event(change(11, 12, b"a2", 2, 3))) == [12]
        assert d.watch.gaps == 0

    def test_another_node_goes_on_in_the_middle_of_a_removal_of_many_keys(self):
        d = Driver()
        d.event(change(10, 11, b"a0", 0, 3))
        d.watch.on_disconnect(1, "broken", 0)
        d.tick(100)
        assert d.event(progress(70, 10)) == []
        assert d.event(change(10, 11, b"a0", 0, 3, node="n2")) == []
        assert revisions(d.event(change(10, 11, b"a1", 1, 3, node="n2"))) == [11]

    def test_a_page_that_lacks_what_was_delivered_of_a_revision_is_not_believed(self):
        d = Driver()
        d.event(change(10, 11, b"a0", 0, 3))
        (pull,) = d.event(progress(4, 12))
        page = [Change(12, 12, b"a", None)]
        assert d.answer(HistoryAnswer(pull.request.request_id, page, 13, 12)) == []
        assert isinstance(d.tick(100)[0], Connect)

    def test_one_key_takes_nothing_from_the_others_of_its_prefix(self):
        watch = WatchState(b"a", from_revision=11)
        watch.start(0)
        effects = []
        for ordinal, key in enumerate((b"a", b"ab", b"ac")):
            effects += watch.on_event(1, CLUSTER, change(10, 11, key, ordinal, 3), 0)
        effects += watch.on_event(1, CLUSTER, change(11, 12, b"ab"), 0)
        effects += watch.on_event(1, CLUSTER, change(12, 13, b"a"), 0)
        assert revisions(effects) == [11, 13]
        assert watch.complete_to == 13

    def test_progress_of_a_longer_prefix_is_another_watchers(self):
        d = Driver()
        assert d.event(progress(9, 50, prefix=b"ab")) == []
        assert d.watch.complete_to == 10

    def test_a_message_that_is_not_placed_for_this_prefix_is_ignored(self):
        d = Driver()
        d.event(progress(0, 10))
        assert d.event(change(7, 11, b"ab", length=2)) == []
        assert d.watch.complete_to == 10
        assert isinstance(d.event(change(11, 12))[0], Pull)

    def test_another_node_or_life_needs_no_trust_in_numbers(self):
        d = Driver()
        d.event(progress(5, 10))
        assert revisions(d.event(change(10, 11, boot_count=2))) == [11]
        assert revisions(d.event(change(11, 12, node="n2"))) == [12]

    def test_progress_that_everything_delivered_covers_needs_no_pull(self):
        d = Driver()
        assert d.event(progress(70, 30, last_revision=9)) == []
        assert d.watch.complete_to == 30


class TestNodesOfVersion01:
    """They number their messages."""

    def test_contiguous_messages_are_delivered_at_once(self):
        d = Driver()
        assert d.event(progress(0, 10)) == []
        assert revisions(d.event(numbered(1, 11))) == [11]
        assert revisions(d.event(numbered(2, 14))) == [14]
        assert d.watch.complete_to == 13
        assert d.event(progress(2, 20, 14)) == []
        assert d.watch.resume_revision == 21
        assert d.watch.live

    def test_a_skipped_number_starts_a_pull_from_the_last_whole_revision(self):
        d = Driver()
        d.event(progress(0, 10))
        d.event(numbered(1, 12))
        (pull,) = d.event(numbered(3, 20))
        assert isinstance(pull, Pull)
        assert pull.request.from_revision == 12
        # 12 was delivered, and is perhaps not whole: first what may be left of it alone.
        assert (pull.request.start, pull.request.end) == (b"a\0", b"b")
        assert d.event(numbered(4, 21)) == []  # held
        page = [Change(15, 15, b"ab", b"v")]
        (pull,) = d.answer(HistoryAnswer(pull.request.request_id, page, 21, 20))
        assert (pull.request.start, pull.request.from_revision) == (b"a", 13)
        page = [Change(15, 15, b"ab", b"v"), Change(20, 20, b"a", b"v")]
        got = d.answer(HistoryAnswer(pull.request.request_id, page, 21, 20))
        assert revisions(got) == [15, 20, 21]

    def test_a_lost_last_message_is_found_by_progress(self):
        d = Driver()
        d.event(progress(0, 10))
        d.event(numbered(1, 11))
        (pull,) = d.event(progress(2, 12))
        assert isinstance(pull, Pull)

    def test_a_removal_of_many_keys_interrupted_half_way_gives_each_key_once(self):
        d = Driver()
        d.event(progress(0, 10))
        d.event(numbered(1, 11, b"a1"))
        d.event(numbered(2, 11, b"a2"))
        (pull,) = d.event(progress(4, 11))
        assert (pull.request.start, pull.request.from_revision) == (b"a2\0", 11)
        page = [Change(11, 11, b"a%d" % i, None) for i in (3, 4)]
        (delivered,) = d.answer(HistoryAnswer(pull.request.request_id, page, 12, 11))
        assert [c.key for c in delivered.changes] == [b"a3", b"a4"]

    def test_a_message_that_is_not_numbered_for_this_prefix_is_ignored(self):
        d = Driver()
        d.event(progress(0, 10))
        assert d.event(numbered(7, 11, b"ab", length=2)) == []

    def test_another_incarnation_distrusts_the_numbers(self):
        d = Driver()
        d.event(progress(5, 10))
        (pull,) = d.event(numbered(6, 11, boot_count=2))
        assert isinstance(pull, Pull)

    def test_what_comes_once_more_in_the_middle_of_a_removal_is_not_delivered_again(self):
        """The next node is behind, and removes the same keys later."""
        d = Driver()
        d.event(progress(0, 10))
        d.event(numbered(1, 11, b"a0"))
        d.event(numbered(2, 11, b"a1"))
        d.watch.on_disconnect(1, "broken", 0)
        d.tick(100)
        d.event(progress(70, 10))
        assert d.event(numbered(71, 11, b"a0")) == []
        assert d.event(numbered(72, 11, b"a1")) == []
        (delivered,) = d.event(numbered(73, 11, b"a2"))
        assert [c.key for c in delivered.changes] == [b"a2"]
        assert d.event(progress(73, 11)) == []
        assert d.watch.complete_to == 11

    def test_a_number_that_comes_again_delivers_nothing(self):
        d = Driver()
        d.event(progress(0, 10))
        d.event(numbered(1, 11))
        assert revisions(d.event(numbered(1, 11))) == []


class TestPulls:
    def pulling(self, **options):
        d = Driver(**options)
        (pull,) = d.event(progress(3, 20))
        return d, pull.request

    def test_pages_follow_each_other_until_the_target(self):
        d, request = self.pulling()
        got = d.answer(HistoryAnswer(request.request_id, [Change(12, 1, b"a", b"")], 15, 20))
        assert revisions(got) == [12]
        assert got[-1].request.from_revision == 15
        assert d.answer(HistoryAnswer(got[-1].request.request_id, [], 21, 20)) == []
        assert d.watch.live  # by the held progress message, which is now covered
        assert revisions(d.event(change(20, 21))) == [21]

    def test_compacted_history_ends_the_watch_and_says_what_is_left(self):
        d, request = self.pulling()
        refusal = RefusalAnswer(request.request_id, COMPACTED, "gone", "", "", 17)
        assert d.answer(refusal) == [Fail(COMPACTED, "gone", 17)]
        assert d.watch.next_due_ms() is None
        assert d.event(progress(4, 30)) == []
        assert d.tick(60_000) == []

    def compacted(self, d, request, first):
        return RefusalAnswer(request.request_id, COMPACTED, f"gone to {first}", "", "", first)

    def pulling_again(self, d):
        """The pull at the next node."""
        d.tick(3000)
        return d.event(progress(4, 20))[-1].request

    def test_what_one_node_has_not_kept_another_one_may_have(self):
        """A node of before level 4 that took over a snapshot has nothing from before it."""
        d, request = self.pulling()
        assert d.answer(self.compacted(d, request, 17), nodes=3) == []
        request = self.pulling_again(d)
        assert request.from_revision == 11
        got = d.answer(HistoryAnswer(request.request_id, [Change(12, 1, b"a", b"")], 21, 20))
        assert revisions(got) == [12]
        assert d.watch.failed is None

    def test_what_no_node_has_kept_ends_the_watch_with_the_one_that_has_most(self):
        d, request = self.pulling()
        for first in (18, 15):
            assert d.answer(self.compacted(d, request, first), nodes=3) == []
            request = self.pulling_again(d)
        refusal = self.compacted(d, request, 17)
        assert d.answer(refusal, nodes=3) == [Fail(COMPACTED, "gone to 15", 15)]

    def test_refusals_from_before_missed_changes_were_given_do_not_count(self):
        d, request = self.pulling()
        assert d.answer(self.compacted(d, request, 17), nodes=2) == []
        request = self.pulling_again(d)
        d.answer(HistoryAnswer(request.request_id, [Change(12, 1, b"a", b"")], 21, 20))
        request = d.event(progress(5, 30))[-1].request
        assert d.answer(self.compacted(d, request, 27), nodes=2) == []

    def test_nodes_that_give_no_previous_values_end_the_watch_once_all_have_shown_it(self):
        d, request = self.pulling(prev=True)
        assert d.answer(HistoryAnswer(request.request_id, [OF_BEFORE], 21, 20), nodes=2) == []
        (connect,) = d.tick(3000)
        assert "gives no previous values" in connect.reason
        request = d.event(progress(4, 20))[-1].request
        (fail,) = d.answer(HistoryAnswer(request.request_id, [OF_BEFORE], 21, 20), nodes=2)
        assert fail.code == INVALID
        assert "from feature level 4 on" in fail.message

    def test_one_node_that_gives_previous_values_is_enough(self):
        d, request = self.pulling(prev=True)
        assert d.answer(HistoryAnswer(request.request_id, [OF_BEFORE], 21, 20), nodes=2) == []
        request = self.pulling_again(d)
        whole = ChangeOf(*OF_BEFORE, None)
        assert revisions(d.answer(HistoryAnswer(request.request_id, [whole], 21, 20))) == [12]
        request = d.event(progress(5, 30))[-1].request
        assert d.answer(HistoryAnswer(request.request_id, [OF_BEFORE], 31, 30), nodes=2) == []

    def test_a_busy_node_is_left_for_the_next_after_a_pause(self):
        d, request = self.pulling()
        assert d.answer(RefusalAnswer(request.request_id, BUSY, "later", "", "", 0)) == []
        (connect,) = d.tick(100)
        assert connect == Connect(2, "missed changes were refused: later")

    def test_no_answer_leaves_the_node(self):
        d, _ = self.pulling(silence_ms=60_000)
        (connect,) = d.tick(3000)
        assert isinstance(connect, Connect)

    def test_an_answer_to_an_earlier_question_is_ignored(self):
        d, request = self.pulling()
        assert d.answer(HistoryAnswer(request.request_id + 7, [], 21, 20)) == []
        assert d.watch.complete_to == 10

    def test_a_node_that_has_not_applied_that_far_again_is_asked_again(self):
        d, request = self.pulling()
        assert d.answer(HistoryAnswer(request.request_id, [], 11, 5)) == []
        assert d.watch.next_due_ms() == 100
        (pull,) = d.tick(100)
        assert pull.request.from_revision == 11
        assert pull.request.request_id != request.request_id

    @pytest.mark.parametrize(
        ("changes", "next_revision"),
        [
            ([], 10),
            ([Change(10, 1, b"a", b"")], 21),
            ([Change(22, 1, b"a", b"")], 21),
            ([Change(12, 1, b"ab", b""), Change(12, 1, b"aa", b"")], 21),
            ([Change(13, 1, b"a", b""), Change(12, 1, b"a", b"")], 21),
            ([Change(12, 1, b"b", b"")], 21),
        ],
        ids=["back", "below", "above", "disorder of keys", "disorder", "foreign key"],
    )
    def test_a_page_that_breaks_the_protocol_is_not_delivered(self, changes, next_revision):
        d, request = self.pulling()
        got = d.answer(HistoryAnswer(request.request_id, changes, next_revision, 20))
        assert revisions(got) == []
        assert isinstance(d.tick(100)[0], Connect)


class TestConnections:
    def test_silence_leads_to_the_next_node_and_says_so(self):
        d = Driver()
        assert d.watch.next_due_ms() == 3000
        assert d.tick(2999) == []
        (connect,) = d.tick(1)
        assert connect.attempt == 2
        assert "no progress message for 3 s" in connect.reason

    def test_inputs_of_a_closed_attempt_are_ignored(self):
        d = Driver()
        d.tick(3000)
        assert d.watch.on_event(1, CLUSTER, progress(5, 30), d.now_ms) == []
        assert d.watch.on_disconnect(1, "late", d.now_ms) == []
        assert d.watch.complete_to == 10

    def test_refused_connections_back_off_doubling_up_to_a_bound(self):
        d = Driver()
        pauses = []
        for _ in range(8):
            assert d.watch.on_disconnect(d.watch.attempt, "refused", d.now_ms) == []
            pause = d.watch.next_due_ms() - d.now_ms
            assert isinstance(d.tick(pause)[0], Connect)
            pauses.append(pause)
        assert pauses == [100, 200, 400, 800, 1600, 3000, 3000, 3000]
        assert d.watch.failures == 8
        d.event(progress(0, 10))
        assert d.watch.failures == 0

    def test_a_node_that_stays_behind_is_left(self):
        d = Driver()
        d.event(progress(0, 10, age_ms=10_000))
        assert d.watch.live
        d.tick(2000)
        assert d.event(progress(0, 10, age_ms=10_001)) == []
        d.tick(1000)
        assert d.event(progress(0, 10, age_ms=9_000)) == []
        assert d.event(progress(0, 10, age_ms=12_000)) == []
        d.tick(2499)
        assert d.event(progress(0, 10, age_ms=14_499)) == []
        d.tick(1)
        (connect,) = d.event(progress(0, 10, age_ms=14_500))
        assert "14.5 s old" in connect.reason

    def test_a_node_that_does_not_know_its_age_yet_is_given_time(self):
        """Its first watcher makes it ask."""
        d = Driver()
        assert d.event(progress(0, 10, age_ms=-1)) == []
        assert d.watch.live
        d.tick(1000)
        assert d.event(progress(0, 10, age_ms=40)) == []
        assert d.event(progress(0, 10, age_ms=-1)) == []
        d.tick(2500)
        (connect,) = d.event(progress(0, 10, age_ms=-1))
        assert "of unknown age" in connect.reason

    def test_a_node_of_another_cluster_ends_the_watch(self):
        d = Driver()
        d.event(progress(0, 10))
        (fail,) = d.event(progress(0, 10), cluster="other")
        assert isinstance(fail, Fail)
        assert "'other'" in fail.message
