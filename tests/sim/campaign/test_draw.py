"""What is drawn for a run before it begins."""

import pytest

from paxosd.sim.campaign import draw
from paxosd.sim.campaign.options import RunOptions
from paxosd.sim.nemesis.kinds import BY_REQUEST
from paxosd.sim.nemesis.schedule import Schedule
from paxosd.sim.world.world import World


@pytest.mark.parametrize("profile", [{}, {"locks": 2}, {"members": True}, {"unequal_limits": True}])
def test_what_no_cluster_survives_is_drawn_on_request_only(profile, monkeypatch):
    kinds = []

    def note(rng, names, duration_ms, allowed):
        kinds.append(allowed)
        return Schedule([])

    monkeypatch.setattr(draw, "draw_schedule", note)
    draw.draw_run(World(1), RunOptions(**profile))
    (allowed,) = kinds
    assert not (allowed or frozenset()) & BY_REQUEST
