"""A new leader whose slots up to its floor only one node knows to be chosen; and that node dies.

Found by the mutation campaign's runs of the code as it is (profile storm, seed 1378).
"""

from paxosd.core.messages import Accepted, CatchUp, Decisions, Heartbeat
from tests.core.scenes import others, put_entry, started, value_on


def only_one_knows():
    """(cluster, session, knower, heir, third): a value was chosen by the first two, and the first
    alone knows so and has acknowledged it; the heir was made leader with the knower's promise."""
    cluster, knower, session = started()
    heir, third = others(cluster, knower)
    cluster.run(500)
    cluster.block((knower, third), (third, knower), (heir, third), (third, heir))
    cluster.filter = lambda src, dst, message: (
        not (
            {src, dst} == {knower, heir}
            and (
                isinstance(message, CatchUp | Decisions)
                or (src == knower and isinstance(message, Accepted | Heartbeat))
            )
        )
    )
    token = cluster.submit(knower, put_entry(session, 1, b"chosen"))
    cluster.run_until(lambda: token in cluster.replies, 5_000)
    assert value_on(cluster, knower) == b"chosen"
    assert value_on(cluster, heir) is None
    cluster.members[heir].node._election.campaign()
    cluster.turn(heir)
    cluster.run_until(lambda: cluster.members[heir].node.leading, 5_000)
    assert cluster.members[heir].node._context.proposer.floor == 2
    return cluster, session, knower, heir, third


class TestFloor:
    def test_a_majority_goes_on_without_the_only_node_that_knew(self):
        cluster, session, knower, heir, third = only_one_knows()
        cluster.crash(knower)
        cluster.heal()
        reply = cluster.put(session, 2, b"k", b"after")
        assert reply.slot >= 3
        assert value_on(cluster, heir) == b"after"
        cluster.run_until(lambda: value_on(cluster, third) == b"after", 5_000)
        cluster.start(knower)
        cluster.run_until(lambda: value_on(cluster, knower) == b"after", 5_000)
        cluster.check_equal()

    def test_while_that_node_can_be_asked_nobody_campaigns(self):
        cluster, session, _, heir, _ = only_one_knows()
        cluster.heal()
        cluster.filter = lambda src, dst, message: True
        before = cluster.members[heir].node.status().elections
        cluster.put(session, 2, b"k", b"after")
        cluster.run(3_000)
        assert cluster.members[heir].node.leading
        assert cluster.members[heir].node.status().elections == before

    def test_a_node_that_promises_and_tells_nothing_costs_one_reign_at_a_time(self):
        cluster, _, knower, heir, third = only_one_knows()
        cluster.block((knower, third), (third, knower))
        elections = cluster.members[heir].node.status().elections
        cluster.run(12_000)
        timeout_ms = cluster.members[heir].node._context.options.election_timeout_ms
        more = cluster.members[heir].node.status().elections - elections
        assert 1 <= more <= 12_000 / (2 * timeout_ms) + 1
