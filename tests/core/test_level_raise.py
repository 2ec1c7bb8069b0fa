"""Up to which level a node goes along, and a leader raises it."""

from types import SimpleNamespace

import pytest

from paxosd.core.cluster_settings import ClusterSettings
from paxosd.core.level_raise import LevelRaise
from paxosd.core.messages import Hello, Welcome
from paxosd.core.types import Ballot
from tests.core.cluster import Cluster


def leader_of(members, *, offered, levels):
    """A leader n1 that takes the level ``offered``, of these members; ``levels``: of the others.
    Returns it, and the entries that it proposes."""
    proposed = []
    context = SimpleNamespace(
        node="n1",
        level_offered=offered,
        options=SimpleNamespace(
            level_known=5, level_target=offered, founding_settings=ClusterSettings()
        ),
        peers={
            name: SimpleNamespace(level=level, directory_id=7) for name, level in levels.items()
        },
        membership=SimpleNamespace(members=dict.fromkeys(members)),
        machine=SimpleNamespace(settings=ClusterSettings(1, 1, genesis="00000000000000aa")),
        proposer=SimpleNamespace(
            leading=True,
            ballot=Ballot(1, "n1"),
            enqueue=lambda waiting: proposed.append(waiting.entry) or True,
        ),
        epoch=1,
        genesis="",
        codec=SimpleNamespace(encode_entry=lambda entry: b""),
        outbox=SimpleNamespace(notice=lambda *_, **__: None),
    )
    return LevelRaise(context, 7), proposed


@pytest.mark.parametrize(
    ("members", "offered", "levels", "raised_to"),
    [
        (["n1", "n2", "n3"], 5, {"n2": 5, "n3": 5}, 5),
        (["n1", "n2", "n3"], 5, {"n2": 3, "n3": 5}, 3),
        (["n1", "n2", "n3"], 3, {"n2": 5, "n3": 5}, 3),
        (["n1", "n2", "n3"], 5, {"n2": 0, "n3": 5}, None),
        (["n1", "n2", "n3"], 5, {"n2": 5}, None),  # n3 was not heard
        (["n2", "n3"], 3, {"n2": 5, "n3": 5}, 3),  # it is leaving: it applies the log until then
        ([], 4, {}, 4),
    ],
)
def test_no_further_than_every_member_and_the_leader_itself_takes(
    members, offered, levels, raised_to
):
    leader, proposed = leader_of(members, offered=offered, levels=levels)
    leader.check()
    levels_proposed = [ClusterSettings().follow(entry.commands[0][3]).level for entry in proposed]
    assert levels_proposed == ([] if raised_to is None else [raised_to])


@pytest.mark.parametrize(("target", "level", "offered"), [(0, 2, 0), (1, 2, 2), (3, 2, 3)])
def test_what_a_node_offers(target, level, offered):
    """A ceiling below what the log has holds nothing back; a program that knows of no levels offers
    none, whatever the log says."""
    cluster = Cluster(3, options={"level_target": target, "level_known": target and 5})
    leader = cluster.elect()
    cluster.submit(leader, ClusterSettings(level=level).to_entry(ClusterSettings(), 0))
    cluster.run_until(lambda: cluster.members[leader].machine.settings.level == level)
    said = []

    def listen(source, _target, message):
        if source == leader and isinstance(message, Welcome):
            said.append(message.level)
        return True

    cluster.filter = listen
    other = next(name for name in cluster.members if name != leader)
    cluster.members[leader].node.step(other, 1, Hello(level=5))
    cluster.run(500)
    assert set(said) == {offered}
