"""member update: where a member is reached."""

from tests.ctl.fake_daemon import closed_port, peer_of
from tests.ctl.member.trio import changes, json_of


class TestUpdate:
    """n2 of three moves; what says where it listens is its own file."""

    def test_to_where_it_is_found(self, ctl, trio):
        there = peer_of(trio[1].endpoint)
        code, out, err = ctl("update", "n2", "--client", there, "--peer", trio[1].endpoint)
        assert (code, err) == (0, "")
        assert f"n2 is reached at client {there}" in out
        assert "epoch 1, in force from slot 2 on" in out
        assert ["n2", "client", trio[1].endpoint, there] in [x.split() for x in out.splitlines()]
        assert trio[0].membership.members["n2"][:2] == (trio[1].endpoint, there)
        assert trio[0].membership.members["n3"].client == trio[2].endpoint

    def test_a_dry_run_changes_nothing(self, ctl, trio):
        there = peer_of(trio[1].endpoint)
        found = ctl(
            "update", "n2", "--client", there, "--peer", trio[1].endpoint, "--dry-run", "-o", "json"
        )
        code, body = json_of(found)
        assert code == 0
        assert body["dry_run"] is True
        assert f"n2 is reached at client {there}" in body["change"]
        assert body["after"]["epoch"] == 1
        assert changes(trio[0]) == 0

    def test_to_where_it_is_not_is_stopped(self, ctl, trio):
        away = closed_port()
        code, out, err = ctl("update", "n2", "--client", away)
        assert code == 1
        assert f"n2 does not answer at {away}" in err
        assert "change them in its file" in err
        assert changes(trio[0]) == 0
        away = closed_port()
        code, out, err = ctl("update", "n2", "--peer", away)
        assert code == 1
        assert f"n1 does not reach the peer endpoint {away} of n2" in err
        assert "change them in its file" in err
        assert ["up", "3", "of", "3", "2", "of", "3"] in [x.split() for x in out.splitlines()]
        code, _, err = ctl("update", "n2", "--peer", away, "--force")
        assert code == 0
        assert trio[0].membership.members["n2"].peer == away

    def test_another_file_is_a_warning(self, ctl, trio):
        there = peer_of(trio[1].endpoint)
        in_file = trio[1].membership.members["n2"]
        trio[1].status = {"file_members": {"n2": in_file._asdict()}}
        code, _, err = ctl("update", "n2", "--client", there, "--peer", trio[1].endpoint)
        assert code == 0
        assert f"the file of n2 still has client {trio[1].endpoint}" in err

    def test_to_another_node_is_not_done_whatever_is_wished(self, ctl, trio, n4):
        code, _, err = ctl("update", "n2", "--client", n4.endpoint, "--force")
        assert code == 1
        assert f"the node at {n4.endpoint} is called n4, not n2" in err
        assert changes(trio[0]) == 0

    def test_so_already(self, ctl, trio):
        code, out, _ = ctl("update", "n2", "--client", trio[1].endpoint)
        assert code == 0
        assert "it is so already" in out
        assert changes(trio[0]) == 0

    def test_usage(self, ctl):
        assert ctl("update", "n2")[0] == 2
        code, _, err = ctl("update", "nn2", "--peer", "tcp://127.0.0.1:1")
        assert code == 2
        assert 'did you mean "n2"' in err
