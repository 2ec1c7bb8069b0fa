"""What ``health`` and ``status --cluster`` say of limits that do not fit together."""

from paxosctl.cli.health import limit_words
from paxosd.core.status import NodeStatus
from paxosd.wire.status import decode_status


def test_a_member_that_ends_connections_over_large_frames_is_named_once():
    cut = [{"member": "n3", "frame_bytes": 2_000_000}]
    told = [{"node": "n1", "frames_cut": cut}, {"node": "n2", "frames_cut": cut}, {"node": "n3"}]
    (line,) = limit_words(map(decode_status, told))
    assert line.startswith("n3 ends its connection to n2 over frames of 2000000 bytes")
    assert "limits.message_bytes_max" in line


def test_of_an_earlier_version_nothing_is_known():
    assert limit_words([NodeStatus(node="n1")]) == []
