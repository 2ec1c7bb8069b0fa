"""Nodes of a new cluster that were restored with different jumps of the revision do not serve as
one: the odd one finds out that its state is not the majority's."""

from paxosctl.cli.main import run
from paxosd.core.cluster_settings import LEVEL_LATEST
from tests.processes.processes import Daemons, wait_for


def test_a_node_that_was_restored_with_another_jump_is_found_out(tmp_path):
    saved = str(tmp_path / "saved.paxsnap")
    (tmp_path / "old").mkdir()
    with Daemons(tmp_path / "old", 1) as old:
        old.start()
        wait_for(lambda: (old.status("n1") or {}).get("level") == LEVEL_LATEST, what="the level")
        with old.client() as client:
            client.put(b"k", b"v")
        endpoints = ",".join(old.endpoints)
        assert run(["--endpoints", endpoints, "snapshot", "save", saved]) == 0
    (tmp_path / "new").mkdir()
    with Daemons(tmp_path / "new", cluster={"id": "second"}) as new:
        for name, bump in (("n1", 1000), ("n2", 1000), ("n3", 999)):
            home = str(tmp_path / "new" / name)
            assert run(["snapshot", "restore", saved, "--data-dir", home, "--cluster-id", "second",
                        "--node", name, "--bump-revision", str(bump)]) == 0  # fmt: skip
        new.start()
        with new.client() as client:
            assert client.put(b"k", b"w") == 1002
        assert new.wait_event("n3", "state.diverged")["members"] == ["n1", "n2"]
        with new.client() as client:
            assert client.get(b"k").modify_revision == 1002
