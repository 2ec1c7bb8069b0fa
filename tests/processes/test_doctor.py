"""paxosctl doctor against real daemons: what is really broken is found, and its remedy named."""

import json
import shutil
import signal
import socket

import pytest

from paxosctl.cli.main import run
from tests.processes.processes import Daemons, put_some, wait_for

MACHINE = {"clock.unsynced", "core-dumps.on", "file-system.layered", "file-system.memory",
           "file-system.network", "memory.little", "space.tight", "space.full", "fsync.tail",
           "fsync.slow", "fsync.odd", "descriptors.few", "quorum.unsteady"}  # fmt: skip
"""What the machine that runs this test may have, or its load: not planted here."""
USUAL = {"faults.enabled"}
"""These daemons take fault directives."""


class Doctor:
    """Asks it; ``flaw → finding``."""

    def __init__(self, daemons, capsysbinary):
        self.daemons = daemons
        self._capsys = capsysbinary

    def __call__(self, *arguments, config=None):
        given = ["-o", "json", "--endpoints", ",".join(self.daemons.endpoints), "doctor"]
        if config:
            given += ["--config", str(self.daemons.config_path(config))]
        code = run([*given, *arguments])
        out, err = self._capsys.readouterr()
        found = json.loads(out)
        assert code == (0 if found["ok"] else 1), err
        assert all(each["remedy"] for each in found["findings"])
        return {each["flaw"]: each for each in found["findings"]}

    def until(self, *flaws, without=False, **how):
        """Ask until it finds these (``without``: not any more); the others that are not usual are
        none that were not planted."""

        def asked():
            found = self(**how)
            return found if all((each in found) != without for each in flaws) else None

        return wait_for(asked, what=f"doctor with{'out' if without else ''} {flaws}")


@pytest.fixture
def doctor(tmp_path, capsysbinary):
    with Daemons(tmp_path) as daemons:
        daemons.start()
        daemons.wait_leader()
        yield Doctor(daemons, capsysbinary)


def test_what_is_planted_in_a_running_cluster(doctor):
    daemons = doctor.daemons
    sound = doctor.until("votes.waiting", "versions.level", "quorum.last", without=True)
    assert set(sound) <= USUAL | MACHINE, sound
    with_file = doctor(config="n1")
    assert set(with_file) <= USUAL | MACHINE | {"settings.writable"}, with_file
    leader = daemons.wait_leader()
    victim = daemons.followers(leader)[0]

    daemons.fault("cut", "partition", victim, leader)
    found = doctor.until("faults.active", "reach.deaf")
    assert "cut" in found["faults.active"]["message"]
    assert "paxosctl fault clear" in found["faults.active"]["remedy"]
    daemons.heal()

    daemons.admin(victim, "fault_add", name="late", kind="clock-skew", on=victim, ms=-60_000)
    found = doctor.until("clock.off")
    assert found["clock.off"]["node"] == victim
    assert " s behind that of " in found["clock.off"]["message"]
    daemons.heal()
    doctor.until("faults.active", "clock.off", "reach.deaf", without=True)

    daemons.signal(victim, signal.SIGSTOP)
    found = doctor.until("answers.silent", "quorum.last")
    assert "hangs or is stopped" in found["answers.silent"]["message"]
    daemons.signal(victim, signal.SIGCONT)
    doctor.until("answers.silent", without=True)

    where = ("--endpoints", ",".join(daemons.endpoints))
    assert daemons.run("paxosctl", *where, "cluster", "set", "quota_bytes=20000").returncode == 0
    put_some(daemons, 20, size=700)
    found = doctor.until("quota.near")
    assert "cluster set quota_bytes=" in found["quota.near"]["remedy"]


def test_what_is_planted_while_a_node_is_down(doctor, tmp_path):
    daemons = doctor.daemons
    daemons.kill("n3")
    found = doctor.until("answers.silent", "quorum.last")
    assert "connection refused" in found["answers.silent"]["message"]
    found = doctor(config="n3")
    assert found["answers.stopped"]["message"] == "n3 does not run"

    with socket.create_server(("127.0.0.1", daemons.ports["n3"]["peer"])):
        found = doctor(config="n3")
    assert "its peer port is in use by process" in found["ports.taken"]["message"]

    file = daemons.config_path("n3")
    text = file.read_text()
    file.write_text(text.replace(str(daemons.ports["n1"]["events"]), "9"))
    assert "n1: events is" in doctor(config="n3")["membership.file"]["message"]
    file.write_text(text.replace('id = "test"', 'id = "another"'))
    found = doctor(config="n3")
    assert "belongs to node n3 of cluster test" in found["directory.foreign"]["message"]
    assert "the file of n3" in found["membership.cluster"]["message"]
    file.write_text(text + "[wall]\n")
    assert 'did you mean "wal"' in doctor(config="n3")["config.invalid"]["message"]
    file.write_text(text)

    (tmp_path / "n3").chmod(0o755)
    assert doctor(config="n3")["directory.open"]["remedy"] == f"chmod 0700 {tmp_path / 'n3'}"
    (tmp_path / "n3" / "identity").unlink()
    assert "identity file is missing" in doctor(config="n3")["directory.damaged"]["message"]

    shutil.rmtree(tmp_path / "n3")
    daemons.start("n3", arguments=("--set", "recorder.enabled=false"))
    found = doctor.until("votes.memory-lost", "recorder.off")
    assert found["votes.memory-lost"]["remedy"] == "paxosctl member rejoin n3"

    daemons.kill("n2")
    found = doctor.until("quorum.none")
    assert "start or reconnect" in found["quorum.none"]["remedy"]
