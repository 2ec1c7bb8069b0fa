"""paxosctl doctor: what a person, a script and a program see of it."""

import json

from paxosctl.cli.main import run
from tests.ctl.fake_daemon import FakeDaemon, closed_port
from tests.processes.ports import free_ports


def write_configuration(path, daemon=None, *, cluster="c"):
    """A file of n1, whose client endpoint is that of the daemon."""
    port = free_ports(1)[0]
    client = daemon.endpoint if daemon is not None else f"tcp://127.0.0.1:{port + 1}"
    path.write_text(
        f'[cluster]\nid = "{cluster}"\n[cluster.members.n1]\npeer = "tcp://127.0.0.1:{port}"\n'
        f'client = "{client}"\nevents = "tcp://127.0.0.1:{port + 2}"\n'
        '[node]\nname = "n1"\ndata_dir = "n1"\n'
    )
    return path


def test_nobody_there_is_a_finding(ctl):
    endpoint = closed_port()
    code, out, err = ctl("doctor", endpoints=endpoint)
    assert code == 1
    assert "ERROR    answers.silent" in out
    assert f"{endpoint} does not answer: connection refused" in out
    assert f"({endpoint})" not in out, "it is named already"
    assert "  → start " in out
    assert err == "paxosctl: not well: 1 error\n"


def test_for_programs(ctl):
    code, out, err = ctl("-o", "json", "doctor", endpoints=closed_port())
    found = json.loads(out)
    assert (code, found["ok"], found["errors"]) == (1, False, 1)
    assert found["findings"][0]["flaw"] == "answers.silent"
    assert found["made"] == ["answers"]
    assert {"check": "quorum", "message": "an answer of a node"} in found["skipped"]
    assert json.loads(err)["error"] == "negative"


def test_in_lines(ctl):
    code, out, _ = ctl("-o", "plain", "doctor", endpoints=closed_port())
    assert code == 1
    assert out.split("\t")[:2] == ["error", "answers.silent"]


def test_warnings_alone_are_0_and_1_with_strict(ctl):
    with FakeDaemon() as daemon:
        daemon.status = {"faults_enabled": True, "faults": 0}
        code, out, err = ctl("doctor", endpoints=daemon.endpoint)
        assert (code, err) == (0, ""), out
        assert "WARNING  faults.enabled" in out
        code, out, err = ctl("doctor", "--strict", endpoints=daemon.endpoint)
    assert code == 1
    assert "not well: " in err


def test_a_configuration_that_the_daemon_refuses(ctl, tmp_path):
    file = tmp_path / "n1.toml"
    file.write_text("[wall]\n")
    code, out, _ = ctl("doctor", "--config", str(file), endpoints=closed_port())
    assert code == 1
    assert 'unknown section; did you mean "wal"?' in " ".join(out.split())
    assert f"paxosd --config {file} --check-config" in out.replace("\n    ", " ")


def test_the_members_of_the_configuration_are_asked(capsysbinary, tmp_path):
    with FakeDaemon() as daemon:
        file = write_configuration(tmp_path / "n1.toml", daemon)
        code = run(["-o", "json", "doctor", "--config", str(file)])
        found = json.loads(capsysbinary.readouterr().out)
    assert code == 1
    assert "quorum" in found["made"]
    flaws = {each["flaw"] for each in found["findings"]}
    assert flaws >= {"ports.other", "membership.cluster"}, "the fake one is of cluster fake"


def test_before_the_first_start_nobody_is_missed(capsysbinary, tmp_path):
    file = write_configuration(tmp_path / "n1.toml")
    run(["-o", "json", "doctor", "--config", str(file)])
    found = json.loads(capsysbinary.readouterr().out)
    flaws = {each["flaw"] for each in found["findings"]}
    assert not {each for each in flaws if each.startswith(("answers", "ports", "directory"))}
    assert "quorum" in {each["check"] for each in found["skipped"]}
    assert not (tmp_path / "n1").exists()


def test_the_words_of_a_node_do_not_move_the_cursor(ctl):
    with FakeDaemon() as daemon:
        daemon.status = {"names": {"evil\x1b[2J": {"addresses": [], "error": "no\rhost"}}}
        _, out, _ = ctl("doctor", endpoints=daemon.endpoint)
    assert "reach.name" in out
    assert "\x1b" not in out
    assert "\r" not in out


def test_a_configuration_that_cannot_be_used_does_not_lead_to_another_cluster(
    capsysbinary, tmp_path, monkeypatch
):
    """The context in use, or paxosd dev, is not what was asked about."""
    with FakeDaemon() as daemon:
        contexts = tmp_path / "contexts.toml"
        contexts.write_text(f'current = "x"\n[contexts.x]\nendpoints = ["{daemon.endpoint}"]\n')
        monkeypatch.setenv("PAXOSCTL_CONFIG", str(contexts))
        code = run(["-o", "json", "doctor"])
        assert "quorum" in json.loads(capsysbinary.readouterr().out)["made"], "it is in use"
        code = run(["-o", "json", "doctor", "--config", str(tmp_path / "none.toml")])
        out, err = capsysbinary.readouterr()
    assert code == 1
    found = json.loads(out)
    assert [each["flaw"] for each in found["findings"]] == ["config.invalid"]
    assert {"check": "quorum", "message": "an answer of a node"} in found["skipped"]
    assert b"no node was asked" in err
