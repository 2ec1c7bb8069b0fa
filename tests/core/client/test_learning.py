"""A client learns members and limits while it works: it outlives the replacement of all nodes that
it was given, and sends nothing that cannot pass."""

import pytest

from paxosctl.client.client import Client, NotSubmittedError, RefusedError
from paxosd.core.client.calls import Refused
from paxosd.core.client.cluster_info import NO_LIMIT, ClusterInfo, Limits, weight
from paxosd.core.client.learning import (
    FIRST_MS,
    LEARN_MS,
    PAUSE_MS,
    SPREAD_MS,
    UNCHECKED_BYTES_MAX,
)
from paxosd.core.commands import CAS_REVISION, CAS_VALUE, DELETE, DELETE_RANGE, PUT, Entry
from paxosd.core.effects import INVALID, NOT_LEADER
from paxosd.core.requests import (
    GET,
    LINEARIZABLE,
    RANGE,
    AdminAnswer,
    AdminRequest,
    HistoryRequest,
    ReadRequest,
    WriteRequest,
)
from paxosd.core.status import NodeStatus
from paxosd.wire import encode_client, encode_entry
from paxosd.wire.status import decode_status
from tests.core.client.protocol_desk import A, B, C, Desk
from tests.ctl.fake_daemon import FakeDaemon

D, E, F = "tcp://d:1", "tcp://e:1", "tcp://f:1"
MIB = 1 << 20
ONE = [PUT, b"k", b"v"]
HUGE = [PUT, b"k", bytes(17 * MIB)]
LARGE = [PUT, b"k", bytes(2 * MIB)]
WORDS = f"value is {17 * MIB} bytes; the limit is {MIB} (limits.value_bytes_max)"


def status(*members, node="n1", leader="n1", epoch=0, value_bytes_max=MIB, **more):
    """A node's status, as far as a client reads it."""
    names = [f"n{number}" for number in range(1, len(members) + 1)]
    return {
        "node": node,
        "cluster": "test",
        "leader": leader,
        "epoch": epoch,
        "members": {
            name: {"client": client, "events": "tcp://events:1"}
            for name, client in zip(names, members, strict=True)
        },
        "settings": {"level": 1, "key_bytes_max": 4096, "value_bytes_max": value_bytes_max,
                     "commands_per_request_max": 1024, "session_window_max": 8192},
        "message_room": {"message_bytes_max": 16 * MIB, "part_bytes_max": 4 * MIB},
    } | more  # fmt: skip


class LearningDesk(Desk):
    """It learns, and has a session."""

    def __init__(self, *args, **options):
        super().__init__(*args, learns=True, **options)
        self.losses = 0

    def tell(self, body):
        """Answer the oldest question for a status; returns whom it was sent to."""
        where, message = self.next()
        assert isinstance(message, AdminRequest), message
        self.protocol.on_answer(AdminAnswer(message.request_id, body), self.now)
        self.turn()
        return where

    def begin(self, body):
        """Have a session, and have learned once."""
        (call,) = self.put(ONE)
        self.open()
        self.answer(self.next()[1], [1])
        assert call.result == 1
        self.wait_question(FIRST_MS, FIRST_MS + SPREAD_MS)
        self.tell(body)

    @property
    def asks(self):
        return any(isinstance(message, AdminRequest) for _, message in self.sent)

    def wait_question(self, least_ms, most_ms):
        """Let time pass until it asks for a status, which it does within these bounds."""
        began = self.now
        while not self.asks:
            assert self.now - began < most_ms, f"no question within {most_ms} ms"
            due = min(self.protocol.next_due_ms(), began + most_ms)
            self.wait(max(1, due - self.now))
        assert self.now - began >= least_ms
        return self.now - began

    def next_write(self):
        """The oldest write sent; what it asks for itself stays."""
        for sent in self.sent:
            if isinstance(sent[1], WriteRequest):
                self.sent.remove(sent)
                return sent
        raise AssertionError(f"no write was sent, but {self.sent}")

    @property
    def known(self):
        return [each.name for each in self.protocol.endpoints]


class TestMembers:
    def test_it_asks_soon_after_it_connected_and_then_seldom_as_long_as_all_is_well(self):
        desk = LearningDesk()
        desk.put(ONE)
        desk.open()
        desk.answer(desk.next()[1], [1])
        desk.wait_question(FIRST_MS, FIRST_MS + SPREAD_MS)
        assert not desk.protocol.busy  # what it asks for itself is no call of the user
        assert desk.tell(status(A, B, C)) == A
        for _ in range(5):
            desk.wait_question(LEARN_MS / 2, LEARN_MS * 1.5)
            assert desk.tell(status(A, B, C)) == A
        assert desk.protocol.take_completed()[-1].request == ONE

    def test_clients_that_have_the_same_reason_ask_at_different_times(self):
        for lose in (False, True):
            waits = set()
            for seed in range(20):
                desk = LearningDesk(seed=seed)
                desk.begin(status(A, B, C))
                desk.wait(PAUSE_MS)
                if lose:
                    desk.lose(A)
                    desk.put(ONE, timeout_ms=60_000)
                waits.add(desk.wait_question(0, SPREAD_MS if lose else LEARN_MS * 1.5))
            assert len(waits) > 15, waits

    def test_another_leader_and_silence_are_reasons_to_ask(self):
        for trouble in (
            lambda desk: desk.refuse(desk.next_write()[1], NOT_LEADER, hint=B),
            lambda desk: desk.wait(desk.protocol.options.attempt_timeout_ms),
        ):
            desk = LearningDesk()
            desk.begin(status(A, B, C))
            desk.wait(PAUSE_MS)
            desk.put(ONE, timeout_ms=60_000)
            trouble(desk)
            desk.wait_question(0, SPREAD_MS)

    def test_however_much_goes_wrong_it_asks_no_more_often_than_this(self):
        desk = LearningDesk()
        desk.begin(status(A, B, C))
        desk.put(ONE, timeout_ms=600_000)
        asked = 0
        until = desk.now + 60_000
        while desk.now < until:
            desk.wait(10)
            for where, message in [desk.next() for _ in range(len(desk.sent))]:
                if isinstance(message, AdminRequest):
                    asked += 1
                    desk.protocol.on_answer(
                        AdminAnswer(message.request_id, status(A, B, C)), desk.now
                    )
                else:
                    hint = B if where == A else A
                    desk.refuse(message, NOT_LEADER, hint=hint)
        assert 60_000 / (PAUSE_MS + SPREAD_MS) - 1 <= asked <= 60_000 / PAUSE_MS + 1

    def test_it_finds_the_members_that_took_the_places_of_all_it_was_given(self):
        desk = LearningDesk(up=(A, B, C, D, E, F))
        desk.begin(status(A, B, C))
        for gone, members in ((A, (B, C, D)), (B, (C, D, E)), (C, (D, E, F))):
            desk.wait_question(0, PAUSE_MS + SPREAD_MS if desk.losses else LEARN_MS * 1.5)
            desk.tell(status(*members, epoch=len(desk.known)))
            desk.lose(gone)
            desk.losses += 1
            (call,) = desk.put(ONE)
            sent = [desk.next() for _ in range(len(desk.sent))]
            for where, message in sent:
                assert where != gone
                if isinstance(message, WriteRequest):
                    desk.answer(message, [1])
                else:
                    body = status(*members, epoch=len(desk.known))
                    desk.protocol.on_answer(AdminAnswer(message.request_id, body), desk.now)
            assert call.result == 1
        assert desk.known[:3] == [A, B, C]  # the given ones stay, as a last resort
        assert set(desk.known[3:]) == {D, E, F}

    def test_one_that_was_learned_and_left_is_forgotten_and_its_connection_dropped(self):
        desk = LearningDesk(up=(A, B, C, D, E))
        desk.begin(status(A, B, D, epoch=1))
        (call,) = desk.put(ONE)
        desk.refuse(desk.next_write()[1], NOT_LEADER, hint=D)
        desk.refuse(desk.next_write()[1], NOT_LEADER)
        desk.wait(100)
        where, message = desk.next_write()
        assert where != D
        desk.answer(message, [2])
        assert call.result == 2
        assert desk.known == [A, B, C, D]
        desk.wait_question(0, PAUSE_MS + SPREAD_MS)
        desk.tell(status(A, B, E, epoch=2))
        assert desk.known == [A, B, C, E]
        assert desk.protocol.endpoints.drops == [D]

    def test_the_target_and_what_is_in_use_are_not_forgotten(self):
        desk = LearningDesk(up=(A, B, C, D), attempt_timeout_ms=2 * SPREAD_MS)
        desk.begin(status(A, B, D, epoch=1))
        desk.wait(PAUSE_MS)
        desk.put(ONE, timeout_ms=60_000)
        desk.refuse(desk.next()[1], NOT_LEADER, hint=D)
        where, message = desk.next()
        assert where == D
        desk.wait_question(0, SPREAD_MS)
        desk.tell(status(A, B, epoch=2))
        assert D in desk.known
        desk.sent.clear()
        desk.answer(message, [5])

    def test_members_of_an_earlier_epoch_are_not_believed(self):
        desk = LearningDesk()
        desk.begin(status(A, B, D, epoch=7))
        desk.wait_question(0, LEARN_MS * 1.5)
        desk.tell(status(A, B, E, epoch=6))
        assert desk.known == [A, B, C, D]

    def test_a_lost_connection_is_a_reason_to_ask_soon(self):
        desk = LearningDesk()
        desk.begin(status(A, B, C))
        desk.wait(PAUSE_MS)
        desk.lose(A)
        (call,) = desk.put(ONE, timeout_ms=60_000)
        desk.wait_question(0, SPREAD_MS)
        kinds = {type(message) for where, message in desk.sent if where == B}
        assert kinds == {WriteRequest, AdminRequest}
        assert not call.done

    def test_a_diagnosis_leaves_out_what_was_learned_and_never_needed(self):
        desk = LearningDesk(up=(A, B, C, D))
        desk.begin(status(A, D))
        troubles = desk.protocol.endpoints.troubles
        assert [each.endpoint for each in troubles()] == [A, B, C]
        desk.put(ONE)
        desk.refuse(desk.next_write()[1], NOT_LEADER, hint=D)
        assert [each.endpoint for each in troubles()] == [A, B, C, D]

    def test_what_it_learns_is_bounded(self):
        desk = LearningDesk(endpoints_max=5)
        desk.begin(status(*[f"tcp://x:{port}" for port in range(1, 40)]))
        assert len(desk.known) == 5

    def test_a_client_that_does_not_learn_asks_for_nothing(self):
        desk = Desk()
        desk.put(ONE)
        desk.open()
        desk.answer(desk.next()[1], [1])
        desk.wait(60_000)
        assert not desk.sent

    @pytest.mark.parametrize(
        "body",
        [
            {},
            {"members": 7, "settings": [], "message_room": "x", "epoch": "y", "node": None},
            {"members": {"n1": {"client": 5}, "n2": None}, "settings": {"value_bytes_max": -1}},
        ],
    )
    def test_a_status_that_says_nothing_changes_nothing(self, body):
        desk = LearningDesk()
        desk.begin(body)
        assert desk.known == [A, B, C]
        (call,) = desk.put(HUGE)
        assert desk.next()[1].entry.commands == [HUGE]
        assert not call.done


class TestLimits:
    def test_a_value_above_the_limit_is_refused_before_anything_of_it_is_sent(self):
        desk = LearningDesk()
        (call,) = desk.put(HUGE)
        assert desk.tell(status(A, B, C)) == A
        assert call.failure == Refused(INVALID, WORDS, 0)
        assert not desk.sent
        assert desk.protocol.take_completed() == [call]
        assert not desk.protocol.busy

    def test_small_ones_do_not_wait_for_limits(self):
        desk = LearningDesk()
        desk.put([PUT, b"k", bytes(UNCHECKED_BYTES_MAX // 2)])
        assert isinstance(desk.next()[1], WriteRequest)

    def test_a_large_one_that_fits_is_sent_once_the_limits_are_known(self):
        desk = LearningDesk()
        (call,) = desk.put(LARGE)
        desk.tell(status(A, B, C, value_bytes_max=4 * MIB))
        desk.open()
        assert desk.next()[1].entry.commands == [LARGE]
        assert not call.done

    def test_limits_that_were_learned_earlier_refuse_nothing_for_they_may_be_raised(self):
        desk = LearningDesk()
        desk.begin(status(A, B, C))
        (call,) = desk.put(LARGE)
        desk.tell(status(A, B, C, value_bytes_max=4 * MIB))
        assert desk.next()[1].entry.commands == [LARGE]
        assert not call.done

    def test_a_question_that_was_under_way_judges_nothing_either(self):
        desk = LearningDesk()
        desk.begin(status(A, B, C))
        desk.wait_question(0, LEARN_MS * 1.5)
        (call,) = desk.put(LARGE)
        desk.tell(status(A, B, C))
        assert not call.done
        desk.tell(status(A, B, C))
        assert call.failure.code == INVALID

    def test_a_node_that_does_not_lead_judges_only_what_no_connection_carries(self):
        desk = LearningDesk()
        desk.begin(status(A, B, C, node="n2"))
        large, huge = desk.put(LARGE, HUGE)
        desk.tell(status(A, B, C, node="n2"))
        assert huge.failure == Refused(INVALID, WORDS, 0)
        assert not large.done
        assert desk.next()[1].entry.commands == [LARGE]  # for the leader to judge

    def test_others_of_the_same_pipeline_are_not_touched(self):
        desk = LearningDesk()
        first, huge, last = desk.put(ONE, HUGE, ONE)
        desk.tell(status(A, B, C))
        desk.open()
        _, message = desk.next()
        assert message.entry.commands == [ONE, ONE]
        desk.answer(message, [1, 2])
        assert (first.result, last.result) == (1, 2)
        assert huge.failure == Refused(INVALID, WORDS, 0)

    def test_what_waits_for_limits_ends_by_its_deadline(self):
        desk = LearningDesk(up=())
        (call,) = desk.put(HUGE, timeout_ms=3000)
        desk.wait(2999)
        assert not call.done
        assert desk.protocol.busy
        desk.wait(1)
        assert call.failure.code == "unreachable"

    def test_what_waits_for_limits_ends_with_the_patience(self):
        desk = LearningDesk(up=(), unreachable_ms=1000)
        (call,) = desk.put(HUGE, timeout_ms=30_000)
        desk.wait(1001)
        assert call.failure.code == "unreachable"

    def test_what_waits_for_limits_asks_the_next_one_if_one_is_silent(self):
        desk = LearningDesk()
        (call,) = desk.put(HUGE)
        assert desk.next()[0] == A
        desk.wait(1000)
        assert desk.tell(status(A, B, C)) == B
        assert call.failure == Refused(INVALID, WORDS, 0)

    def test_a_question_larger_than_a_message_is_refused(self):
        desk = LearningDesk()
        calls = [
            desk.protocol.ask(question, desk.now, 5000)
            for question in (
                ReadRequest(0, LINEARIZABLE, [[GET, bytes(17 * MIB)]]),
                ReadRequest(0, LINEARIZABLE, [[RANGE, bytes(17 * MIB), b"", 0, False, False]]),
                AdminRequest(0, "fault_add", {"name": "x" * (17 * MIB)}),
            )
        ]
        desk.turn()
        desk.tell(status(A, B, C))
        words = [call.failure.message for call in calls]
        assert words[0].endswith("the limit is 4096 (limits.key_bytes_max)")
        assert words[1].endswith(f"the limit is {16 * MIB} (limits.message_bytes_max)")
        assert words[2].endswith(f"the limit is {16 * MIB} (limits.message_bytes_max)")
        assert not desk.sent

    def test_requests_and_windows_keep_within_what_the_cluster_allows(self):
        desk = LearningDesk()
        body = status(A, B, C)
        body["settings"] |= {"commands_per_request_max": 3, "session_window_max": 5}
        desk.begin(body)
        desk.put(*[ONE] * 9)
        assert [len(message.entry.commands) for _, message in desk.sent] == [3, 2]


class TestLimitsOfStatus:
    def test_before_the_log_has_settings_those_of_the_file_count(self):
        body = status(A, file_settings={"value_bytes_max": 7, "key_bytes_max": 8})
        assert Limits.of_status(decode_status(body)).value_bytes_max == MIB
        body["settings"]["level"] = 0
        assert Limits.of_status(decode_status(body))[:2] == (8, 7)

    def test_what_is_not_said_is_no_limit(self):
        assert Limits.of_status(NodeStatus()) == Limits()
        assert Limits().message_bytes_max == NO_LIMIT
        assert ClusterInfo.of_status(NodeStatus()).members == {}

    @pytest.mark.parametrize(
        ("command", "what"),
        [
            ([PUT, b"k" * 11, b""], "key is 11 bytes; the limit is 10"),
            ([PUT, b"k", b"v" * 21], "value is 21 bytes; the limit is 20"),
            ([DELETE, b"k" * 11], "key is 11 bytes"),
            ([DELETE_RANGE, b"k", b"k" * 11], "key is 11 bytes"),
            ([CAS_VALUE, b"k", b"v" * 21, b""], "value is 21 bytes"),
            ([CAS_VALUE, b"k", None, b"v" * 21], "value is 21 bytes"),
            ([CAS_REVISION, b"k", 3, b"v" * 21], "value is 21 bytes"),
        ],
    )
    def test_each_command_names_the_limit_that_it_breaks(self, command, what):
        assert Limits(10, 20).refusal(command).startswith(what)
        assert Limits(11, 21).refusal(command) == ""

    def test_a_weight_is_never_below_the_bytes_that_are_sent(self):
        commands = [[CAS_VALUE, b"k" * 300, b"v" * 70_000, b""] for _ in range(50)]
        entry = encode_entry(Entry(1 << 40, 1 << 40, 1 << 40, commands))
        assert weight(commands) + 4096 >= len(entry)
        for question in (
            ReadRequest(1 << 40, LINEARIZABLE, [[GET, b"k"]] * 1000),
            HistoryRequest(1 << 40, b"s" * 70_000, b"e" * 300, 1 << 60, 1 << 60),
            AdminRequest(1 << 40, "verb", {"é" * 300: [None, True, 1.5, {"a": b"b" * 70_000}]}),
        ):
            assert weight(question) + 300 >= len(encode_client(question, "c" * 128))


class TestOnTheNetwork:
    """Against a daemon whose sockets end a connection that brings too much, as the real ones do."""

    @pytest.fixture
    def daemon(self):
        with FakeDaemon(message_bytes_max=16 * MIB) as fake:
            yield fake

    def test_17_mib_are_refused_at_once_with_the_limit_and_the_figures(self, daemon):
        with Client([daemon.endpoint], timeout_s=60) as client:
            for act in (
                lambda: client.put(b"k", bytes(17 * MIB)),
                lambda: client.cas_value(b"k", bytes(9 * MIB), bytes(9 * MIB)),
                lambda: client.cas_revision(b"k", 0, bytes(17 * MIB)),
                lambda: client.delete(bytes(17 * MIB)),
                lambda: client.get(bytes(17 * MIB)),
                lambda: list(client.scan(bytes(17 * MIB))),
                lambda: client.admin("fault_add", {"name": "x" * 17 * MIB}),
                lambda: client.pipeline().put(b"k", bytes(17 * MIB)).result(),
            ):
                with pytest.raises(RefusedError, match=r"bytes; the limit is \d+ \(limits\.") as e:
                    act()
                assert e.value.exit_code == 77
            assert daemon.writes == []
            assert client.put(b"k", b"v") == 1  # the connection was never broken

    def test_a_raised_limit_is_noticed_by_a_client_that_knows_the_old_one(self, daemon):
        with Client([daemon.endpoint], timeout_s=60) as client:
            with pytest.raises(RefusedError, match="value_bytes_max"):
                client.put(b"k", bytes(2 * MIB))
            daemon.status = {"settings": {"level": 1, "value_bytes_max": 3 * MIB}}
            with pytest.raises(RefusedError, match="value_bytes_max") as caught:
                client.put(b"k", bytes(2 * MIB))  # now it is the daemon that says no
            assert "the limit is 1048576" in str(caught.value)

    def test_without_an_answer_it_is_not_submitted(self, daemon):
        daemon.silent = True
        with (
            Client([daemon.endpoint], timeout_s=0.3) as client,
            pytest.raises(NotSubmittedError),
        ):
            client.put(b"k", bytes(17 * MIB))

    def test_a_client_outlives_the_replacement_of_every_node_that_it_was_given(self):
        with FakeDaemon("n1") as first, FakeDaemon("n2", follows=first) as second:
            first.transfer("n2")
            with Client([first.endpoint], timeout_s=30) as client:
                client.put(b"k", b"1")
                while second.endpoint not in client.endpoints:
                    client.turn(100)
                first.stop()
                client.put(b"k", b"2")
                assert client.get(b"k").value == b"2"


class TestPacking:
    """What waits together goes in frames that nodes take: a larger one ends the connection."""

    def sizes(self, desk, count, value_bytes):
        """Of the frames that carry so many puts, in bytes, by the wire's own encoding."""
        desk.put(*([PUT, b"k%d" % number, bytes(value_bytes)] for number in range(count)))
        sizes = []
        while desk.sent:
            _, message = desk.next()
            assert isinstance(message, WriteRequest)
            entry = encode_entry(message.entry)
            sizes.append(len(encode_client(WriteRequest(message.request_id, entry), "test")))
            desk.answer(message, [1] * len(message.entry.commands))
        return sizes

    def test_before_any_limit_is_known_no_larger_than_every_node_takes(self):
        desk = LearningDesk()
        desk.put(ONE)
        desk.open()
        desk.answer(desk.next()[1], [1])
        sizes = self.sizes(desk, 20, 10_000)
        assert len(sizes) > 1
        assert max(sizes) <= UNCHECKED_BYTES_MAX

    @pytest.mark.parametrize("value_bytes", [1, 100, 10_000])
    @pytest.mark.parametrize("least", [64 << 10, 200_000])
    def test_then_no_larger_than_what_every_member_takes(self, least, value_bytes):
        desk = LearningDesk(frame_commands_max=4096)
        desk.begin(status(A, B, C, message_bytes_least=least))
        sizes = self.sizes(desk, 4 * least // (value_bytes + 100), value_bytes)
        assert len(sizes) > 1
        assert max(sizes) <= least
        if value_bytes >= 100:
            assert max(sizes) > least // 3, "frames are used"

    def test_and_never_larger_than_its_own_bound(self):
        desk = LearningDesk()
        desk.begin(status(A, B, C))
        assert max(self.sizes(desk, 300, 10_000)) <= MIB
