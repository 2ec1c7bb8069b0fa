"""What is said of links between nodes that are broken, and of what to do."""

from types import SimpleNamespace

from paxosctl.cli.diagnose import diagnose
from paxosctl.cli.links import link_lines
from paxosctl.cli.survey import NodeView
from paxosctl.client.errors import HandshakeError, Trouble
from paxosctl.commands.cluster import _node
from paxosd.core.client.endpoints import OTHER_KEY, EndpointState
from paxosd.wire.status import decode_status

HEARD = {"reachable": True}
SILENT = {"reachable": False, "heard_ms_ago": 4000}
ADVICE = "look at fault rules (paxosctl fault list), firewalls and routes between them"
PLACE = "tcp://h3:7410"


def status(node, **peers):
    return decode_status({"node": node, "peers": peers})


def test_a_healthy_cluster_has_no_line():
    known = [status("n1", n2=HEARD, n3=HEARD), status("n2", n1=HEARD, n3=HEARD)]
    assert link_lines(known) == []
    assert link_lines(known[:1], alone=True) == []


def test_who_cannot_connect_says_why_and_those_with_one_reason_share_a_line():
    cut = {"link_problem": "n3 at tcp://h3:7411 does not know this node's key: …"}
    known = [
        status("n1", n3=cut, n2=HEARD),
        status("n2", n3=cut, n1=HEARD),
        status("n3", n1=SILENT),
    ]
    assert link_lines(known) == [
        "n1 and n2 have no connection to a peer: n3 at tcp://h3:7411 does not know this node's "
        "key: …"
    ]
    assert link_lines(known[:1], alone=True)[0].startswith("n1 has no connection to a peer: n3 at")


def test_a_link_that_works_one_way():
    known = [status("n1", n3=HEARD), status("n3", n1=SILENT)]
    words = f"n3 does not hear n1, which hears n3: what n1 sends to n3 is lost on the way; {ADVICE}"
    assert link_lines(known) == [words]
    assert link_lines(reversed(known)) == [words]


def test_two_nodes_that_are_up_and_cut_off_from_each_other():
    known = [status("n1", n3=SILENT), status("n3", n1=SILENT)]
    assert link_lines(known) == [f"n1 and n3 are both up, and do not hear each other; {ADVICE}"]


def cluster(*cut):
    """Five nodes, of whom the first of each pair does not hear the second."""
    names = [f"n{number}" for number in range(1, 6)]
    return [
        status(one, **{two: SILENT if (one, two) in cut else HEARD for two in names if two != one})
        for one in names
    ]


def test_a_node_that_is_cut_off_from_several_has_one_line():
    away = [("n2", each) for each in ("n1", "n3", "n4", "n5")]
    assert link_lines(cluster(*away, *[pair[::-1] for pair in away])) == [
        "n2 neither hears n1, n3, n4 and n5, which are up, nor do they hear n2; " + ADVICE
    ]
    assert link_lines(cluster(*away)) == [
        "n2 does not hear n1, n3, n4 and n5, which hear n2: what n1, n3, n4 and n5 send to n2 is "
        f"lost on the way; {ADVICE}"
    ]
    assert link_lines(cluster(*[pair[::-1] for pair in away], ("n1", "n5"), ("n5", "n1"))) == [
        f"n1 and n5 are both up, and do not hear each other; {ADVICE}",
        "n1, n3, n4 and n5 do not hear n2, which hears them: what n2 sends to them is lost on the "
        f"way; {ADVICE}",
    ]


def test_a_node_that_is_no_member_to_the_other_is_not_expected_to_be_heard():
    assert link_lines([status("n1"), status("n4", n1=SILENT)]) == []


def test_by_one_node_alone():
    one = status("n1", n2=SILENT, n3={"reachable": False, "heard_ms_ago": -1})
    assert link_lines([one]) == []  # the others are asked, too, and say more, or are down
    assert link_lines([one], alone=True) == [
        "n1 does not hear n2 (silent for 4 s) and n3 (never heard): down, or cut off from n1? "
        "paxosctl status --cluster asks every node, paxosctl doctor says why"
    ]
    assert _node(one).notes == link_lines([one], alone=True)


def test_who_is_waited_for_is_named_there_and_not_here():
    new = {"role": "newcomer", "unconfirmed_by": ["n2"], "node": "n1", "peers": {"n2": SILENT}}
    assert link_lines([decode_status(new)], alone=True) == []


def test_a_peer_that_reports_that_it_does_not_hear_the_node():
    one = status("n1", n3={"reachable": True, "hears": False})
    assert link_lines([one], alone=True) == [
        f"n3 does not hear n1, which hears n3: what n1 sends to n3 is lost on the way; {ADVICE}"
    ]


def test_a_node_that_does_not_answer_is_deaf_by_the_word_of_those_that_hear_it():
    deaf = {"reachable": True, "hears": False}
    known = [status("n1", n2=HEARD, n3=deaf), status("n2", n1=HEARD, n3=deaf)]
    assert link_lines(known) == [
        "n3 does not hear n1 and n2, which hear n3: what n1 and n2 send to n3 is lost on the way; "
        + ADVICE
    ]
    gone = {**SILENT, "hears": False}  # what it said before it went down
    assert link_lines([status("n1", n3=gone), status("n2", n3=gone)]) == []


def test_a_host_that_cannot_be_looked_up():
    one = decode_status(
        {"node": "n1", "names": {"db2": {"addresses": [], "error": "no such host"}}}
    )
    assert link_lines([one]) == [
        "n1 cannot look up the host db2 of a peer: no such host. Repair the name server, or "
        "/etc/hosts on the machine of n1"
    ]


class TestAClientsOwnLink:
    MESSAGE = f"n3 at {PLACE} proved itself by another key than expected"
    ERROR = HandshakeError("other_server_key", MESSAGE)

    def test_beside_name_and_endpoint_neither_is_repeated(self):
        view = NodeView("n3", PLACE, None, self.ERROR)
        assert view.why == "proved itself by another key than expected"

    def test_nor_beside_the_endpoint(self):
        trouble = Trouble(PLACE, EndpointState.DOWN, OTHER_KEY, self.MESSAGE)
        client = SimpleNamespace(timeout_s=1, troubles=lambda: [trouble])
        assert diagnose(client, self.ERROR) == [
            (PLACE, "n3 proved itself by another key than expected")
        ]
