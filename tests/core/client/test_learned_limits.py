"""A client learns the limits of its cluster, and sends nothing that cannot pass."""

import pytest

from paxosctl.client.client import Client
from paxosctl.client.errors import NotSubmittedError, RefusedError
from paxosd.core.client.calls import Refused
from paxosd.core.client.cluster_info import NO_LIMIT, ClusterInfo, Limits, weight
from paxosd.core.client.learning import (
    LEARN_MS,
    UNCHECKED_BYTES_MAX,
)
from paxosd.core.commands import CAS_REVISION, CAS_VALUE, DELETE, DELETE_RANGE, PUT, Entry
from paxosd.core.effects import INVALID
from paxosd.core.requests import (
    GET,
    LINEARIZABLE,
    RANGE,
    AdminRequest,
    HistoryRequest,
    ReadRequest,
    WriteRequest,
)
from paxosd.core.status import NodeStatus
from paxosd.wire import encode_client, encode_entry
from paxosd.wire.status import decode_status
from tests.core.client.learning_desk import HUGE, MIB, ONE, LearningDesk, status
from tests.core.client.protocol_desk import A, B, C
from tests.ctl.fake_daemon import FakeDaemon

LARGE = [PUT, b"k", bytes(2 * MIB)]
WORDS = f"value is {17 * MIB} bytes; the limit is {MIB} (limits.value_bytes_max)"


class TestLimits:
    def test_a_value_above_the_limit_is_refused_before_anything_of_it_is_sent(self):
        desk = LearningDesk()
        (call,) = desk.put(HUGE)
        assert desk.report(status(A, B, C)) == A
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
        desk.report(status(A, B, C, value_bytes_max=4 * MIB))
        desk.open()
        assert desk.next()[1].entry.commands == [LARGE]
        assert not call.done

    def test_limits_that_were_learned_earlier_refuse_nothing_for_they_may_be_raised(self):
        desk = LearningDesk()
        desk.begin(status(A, B, C))
        (call,) = desk.put(LARGE)
        desk.report(status(A, B, C, value_bytes_max=4 * MIB))
        assert desk.next()[1].entry.commands == [LARGE]
        assert not call.done

    def test_a_question_that_was_under_way_judges_nothing_either(self):
        desk = LearningDesk()
        desk.begin(status(A, B, C))
        desk.wait_question(0, LEARN_MS * 1.5)
        (call,) = desk.put(LARGE)
        desk.report(status(A, B, C))
        assert not call.done
        desk.report(status(A, B, C))
        assert call.failure.code == INVALID

    def test_a_node_that_does_not_lead_judges_only_what_no_connection_carries(self):
        desk = LearningDesk()
        desk.begin(status(A, B, C, node="n2"))
        large, huge = desk.put(LARGE, HUGE)
        desk.report(status(A, B, C, node="n2"))
        assert huge.failure == Refused(INVALID, WORDS, 0)
        assert not large.done
        assert desk.next()[1].entry.commands == [LARGE]  # for the leader to judge

    def test_others_of_the_same_pipeline_are_not_touched(self):
        desk = LearningDesk()
        first, huge, last = desk.put(ONE, HUGE, ONE)
        desk.report(status(A, B, C))
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
        assert desk.report(status(A, B, C)) == B
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
        desk.report(status(A, B, C))
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
