"""What a backup does to rights, and a node that takes everybody in a cluster that requires them; as
docs/SECURITY.md says it."""

from paxosctl.client.errors import ClientError
from paxosd.daemon import exits
from paxosd.net.key_files import make_key
from tests.processes.keyed import KeyedDaemons
from tests.processes.test_keyed_clients import begin


def renamed(daemons, cluster):
    """New keys, as a restored cluster wants them: a key is for one cluster."""
    daemons.keys = {name: make_key(name, "peer", cluster) for name in daemons.names}
    daemons.alice = make_key("rescue", "admin", cluster, daemons.servers())
    for name in daemons.names:
        daemons.write_key(name)
    daemons.write_trust()


def may_write(daemons, key, at):
    with daemons.client(key=key._replace(cluster="second", servers=daemons.servers())) as client:
        try:
            client.put(at, b"x")
        except ClientError as error:
            return type(error).__name__
        return "yes"


def test_a_restored_cluster_has_the_rights_of_then(tmp_path):
    saved = tmp_path / "saved.paxsnap"
    (tmp_path / "old").mkdir()
    with KeyedDaemons(tmp_path / "old") as old:
        typed = begin(old)
        app = typed.new("app1", "--read", "/app/", "--write", "/app/jobs/")
        typed("put", "/app/x", "1")
        typed("snapshot", "save", saved)
        typed("auth", "revoke", "app1")
        later = typed.new("app2", "--write", "/app/jobs/")
        for key in (app, later, *old.keys.values(), old.alice):
            assert key.secret_key not in saved.read_bytes()

        old.kill("n3")
        old.rollouts["n3"] = "ready"
        old.write_config("n3")
        code, said = old.fails_to_start("n3")
        assert code == exits.CONFIG, said
        assert "n3 would take whoever reaches its ports, without a key" in said

    (tmp_path / "new").mkdir()
    with KeyedDaemons(tmp_path / "new", cluster={"id": "second"}) as new:
        renamed(new, "second")
        for name in new.names:
            done = new.run(
                "paxosctl", "snapshot", "restore", str(saved), "--data-dir",
                str(tmp_path / "new" / name), "--cluster-id", "second", "--node", name,
            )  # fmt: skip
            assert done.returncode == 0, done.stderr
        new.founded = True
        new.start()
        new.wait_leader()
        assert may_write(new, app, b"/app/jobs/1") == "yes", "it is good again"
        assert may_write(new, app, b"/other") == "ForbiddenError"
        assert may_write(new, later, b"/app/jobs/1") == "HandshakeError"
