"""Running nodes as a source, and a bundle of nodes that are gone, with their directories."""

import json
import shutil

from paxosctl.cli.main import run
from tests.processes.processes import Daemons, wait_for
from tests.processes.test_recorder import notes_of, writes_of

VERBS = (
    ["log", "timeline"], ["log", "slot", "9"], ["explain", "leader"], ["explain", "put", "key"],
    ["log", "key", "key"], ["why-slow"], ["audit"],
)  # fmt: skip


def test_the_answers_are_those_of_the_data_directories(tmp_path, capsys):
    """From running nodes one of which is dead, and from a bundle of all that they left behind."""
    home, made = tmp_path / "nodes", tmp_path / "b.tar.zst"
    home.mkdir()
    with Daemons(home) as daemons:

        def ctl(*arguments, exits=0):
            given = ["--endpoints", ",".join(daemons.endpoints), "-o", "json"]
            code = run([*given, *map(str, arguments)])
            out, err = capsys.readouterr()
            assert code == exits, err
            return out, err

        daemons.start()
        leader = daemons.wait_leader()
        with daemons.client() as client:
            for number in range(20):
                client.put(b"key", b"%d" % number)
        daemons.kill(leader)
        others = [name for name in daemons.names if name != leader]
        with daemons.client() as client:
            client.put(b"other", b"value")
        second = daemons.wait_leader()
        wait_for(lambda: writes_of(daemons, second), what="the answer is on the disk")
        assert "leader.elected" in notes_of(daemons, second)

        found, said = ctl("log", "key", "other")
        assert json.loads(found)["changes"], "the logs are fetched as well"
        assert f"{leader} does not answer" in said
        left = ctl("debug", "bundle", "-o", made, exits=3)
        assert f"it has no recording of {leader}" in left[1]
        nodes = json.loads(ctl("log", "nodes", made)[0])["nodes"]
        assert [each["node"] for each in nodes] == others

        for name in others:
            daemons.kill(name)
        # What they recorded last is in the directories alone.
        ctl("debug", "bundle", "-o", made, "--force", "--wal", "--data-dir", home)
        want = [ctl(*verb, home)[0] for verb in VERBS]
        shutil.rmtree(home)
        got = [ctl(*verb, made)[0] for verb in VERBS]
        # The auditor names its files.
        assert got.pop().replace(f"{made}:", "") == want[-1].replace(f"{home}/", "")
        assert got == want[:-1]
        assert json.loads(want[-1])["violations"] == 0
