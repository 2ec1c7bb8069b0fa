"""What is a command of leases, and what is none: below the level, without a session, malformed."""

import pytest

from paxosd.core.cluster_settings import LEVEL_COORDINATION
from paxosd.core.commands import GRANT, KEEPALIVE, PUT, REVOKE, Entry, Status
from paxosd.core.lease_bounds import FIRST_ID, IDS_PER_KEEPALIVE_MAX, TTL_MS_MAX
from paxosd.core.state.lease_walk import lease_pieces
from tests.core.state.test_leases import FIRST, MALFORMED, LeaseLog


class TestForms:
    BAD = (
        [GRANT], [GRANT, 5000], [GRANT, 999, 0], [GRANT, TTL_MS_MAX + 1, 0], [GRANT, 5000, -1],
        [GRANT, 5000, FIRST_ID], [GRANT, "5000", 0], [GRANT, True, 0], [GRANT, 5000, 0, 0],
        [KEEPALIVE], [KEEPALIVE, []], [KEEPALIVE, 5], [KEEPALIVE, [0]], [KEEPALIVE, [b"1"]],
        [KEEPALIVE, [1 << 63]], [KEEPALIVE, [1] * (IDS_PER_KEEPALIVE_MAX + 1)], [KEEPALIVE, [1], 1],
        [REVOKE], [REVOKE, 0], [REVOKE, b"x"], [REVOKE, 1, 2],
        [PUT, b"k", b"v", 0], [PUT, b"k", b"v", b"1"], [PUT, b"k", 5, 1], [PUT, 5, b"v", 1],
        [PUT, b"k", b"v", 1, 1],
    )  # fmt: skip

    @pytest.mark.parametrize("command", BAD, ids=repr)
    def test_what_is_malformed_changes_nothing(self, command):
        log = LeaseLog()
        log.grant(wanted=1)
        assert log.do(command) == MALFORMED
        assert log.keys() == []

    @pytest.mark.parametrize(
        "command", [[GRANT, 5000, 0], [KEEPALIVE, [1]], [REVOKE, 1], [PUT, b"k", b"v", 1]]
    )
    def test_below_the_level_all_are_malformed_as_to_earlier_programs(self, command):
        log = LeaseLog(LEVEL_COORDINATION - 1)
        assert log.do(command) == MALFORMED
        assert log.apply(Entry(0, 1, 0, [command]))[0][0][0] in (
            Status.MALFORMED, Status.SESSION_UNKNOWN if command[0] == PUT else Status.MALFORMED,
        )  # fmt: skip
        assert list(lease_pieces(log.machine.leases)) == []

    def test_they_need_a_session(self):
        log = LeaseLog()
        for command in ([GRANT, 5000, 0], [KEEPALIVE, [1]], [REVOKE, 1], [PUT, b"k", b"v", 1]):
            assert log.apply(Entry(0, 1, 0, [command]))[0][0][0] == Status.SESSION_UNKNOWN

    def test_a_command_that_is_sent_again_is_answered_as_before(self):
        log = LeaseLog()
        again = Entry(log.session, 1, 0, [[GRANT, 5000, 0], [KEEPALIVE, [FIRST, 5]]])
        assert log.apply(again) == log.apply(again)
        assert len(log.machine.leases) == 1
