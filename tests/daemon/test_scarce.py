"""A node that lacks room beside its log, or descriptors, goes on as far as it safely can."""

import pytest

from tests.daemon.processes import Daemons, wait_for


@pytest.fixture
def daemons(tmp_path):
    with Daemons(tmp_path) as started:
        started.start()
        started.wait_leader()
        yield started


class TestFullDirectory:
    def test_peers_go_on_when_another_starts_anew_and_hear_it_once_there_is_room(self, daemons):
        for name in ("n1", "n2"):
            daemons.admin(name, "fault_add", name="full", kind="home-full", on=name)
        daemons.kill("n3")
        with daemons.client("n1", "n2") as client:
            client.put(b"one", b"1")
            daemons.start("n3")
            for name in ("n1", "n2"):
                line = daemons.wait_event(name, "storage.life_unwritten", source="n3")
                assert "No space left on device" in line["detail"]
                assert "free some space" in line["detail"]
            client.put(b"two", b"2")
        assert not daemons.events("n3", "node.confirmed")[1:], "it is heard by nobody yet"
        daemons.heal()
        wait_for(
            lambda: len(daemons.events("n3", "node.confirmed")) == 2, what="n3 votes once more"
        )
        daemons.check_equal()
