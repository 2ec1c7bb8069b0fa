"""docs/JSON.md says what each verb answers: compared with every verb on a real cluster."""

import io
import json
import re
import shutil
from pathlib import Path

import click
import pytest

from paxosctl.cli import survey
from paxosctl.cli.main import cli, run
from paxosctl.inspection.recordings import opened
from paxosctl.member import probe
from paxosd.core.cluster_settings import LEVEL_KEYS
from paxosd.net.key_files import key_file_text, write_secret
from paxosd.recorder.event import WRITE
from tests.processes.keyed import KeyedDaemons
from tests.processes.processes import Daemons, wait_for

PAGE = Path(__file__).parents[2] / "docs" / "JSON.md"
BLOCK = re.compile(r"^```json (answer|part): (.+?)\n(.*?)^```$", re.M | re.S)


def page():
    """(answers, parts) by name."""
    found = {"answer": {}, "part": {}}
    for kind, name, text in BLOCK.findall(PAGE.read_text(encoding="utf-8")):
        found[kind][name] = json.loads(text)
    parts = found["part"]
    parts["reached"] = parts["status"] | {
        key: parts["unreached"][key] for key in ("client", "message")
    }
    parts["reached"] |= {"reachable": "bool", "error": "null"}
    return found["answer"], parts


ANSWERS, PARTS = page()
SCALARS = {
    "text": lambda value: isinstance(value, str),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "bool": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
    "any": lambda value: True,
    "hex": lambda value: isinstance(value, str) and re.fullmatch(r"[0-9a-f]{16}", value),
    "ballot": lambda value: isinstance(value, str) and re.fullmatch(r"(\d+:)?\d+\.\S+", value),
    "data": lambda value: isinstance(value, str) or set(value or ()) == {"b64"},
}  # fmt: skip


def differences(value, schema, at="answer"):
    """What in ``value`` is not as ``schema`` says, in words; [] if all is."""
    if isinstance(schema, str):
        wrongs = [_as_one(value, name, at) for name in schema.split("|")]
        return [] if [] in wrongs else min(wrongs, key=len)
    if isinstance(schema, list):
        if not isinstance(value, list):
            return [f"{at} is no list"]
        return [
            each
            for n, item in enumerate(value)
            for each in differences(item, schema[0], f"{at}[{n}]")
        ]
    if not isinstance(value, dict):
        return [f"{at} is no map"]
    if set(schema) == {"*"}:
        return [
            each
            for key, item in value.items()
            for each in differences(item, schema["*"], f"{at}.{key}")
        ]
    needed = {key for key in schema if not key.endswith("?")}
    known = {key.removesuffix("?"): kind for key, kind in schema.items()}
    found = [f"{at}.{key} is missing" for key in sorted(needed - set(value))]
    found += [f"{at}.{key} is not in docs/JSON.md" for key in sorted(set(value) - set(known))]
    for key in set(value) & set(known):
        found += differences(value[key], known[key], f"{at}.{key}")
    return found


def _as_one(value, name, at):
    if name.startswith("@"):
        return differences(value, PARTS[name[1:]], at)
    return [] if SCALARS[name](value) else [f"{at} is {value!r:.60}, and not: {name}"]


def leaves(command, path=()):
    if isinstance(command, click.Group):
        for name in command.list_commands(click.Context(command)):
            yield from leaves(command.get_command(click.Context(command), name), (*path, name))
    else:
        yield " ".join(path)


SAME = {
    "member promote": "member add", "member demote": "member add", "member remove": "member add",
    "member replace": "member add", "member rejoin": "member add", "member update": "member add",
    "member quorum": "member add", "fault rm": "fault add", "fault clear": "fault add",
    "explain request": "explain slot", "explain put": "explain slot",
    "explain leader": "explain slot", "log tail": "log timeline",
    "shell": "put", "context use": "context add", "context rename": "context add",
    "context remove": "context add",
    "auth new": "auth init", "auth rotate": "auth init", "auth revoke": "auth init",
    "auth set": "auth init", "auth require": "auth init",
}  # fmt: skip


def test_every_verb_is_on_the_page():
    assert set(leaves(cli)) - set(SAME) <= set(ANSWERS)
    assert set(ANSWERS) - set(leaves(cli)) == {
        "an error", "get --prefix", "status --cluster", "sim teach NAME",
    }  # fmt: skip


def test_the_check_bites():
    schema = {"a": "number", "b?": "text|null", "c": [{"d": "bool"}], "e": {"*": "hex"}}
    good = {"a": 1, "c": [{"d": True}], "e": {"x": "0123456789abcdef"}}
    assert differences(good, schema) == []
    for wrong in (
        {}, good | {"z": 1}, good | {"a": True}, good | {"a": "1"}, good | {"b": 1},
        good | {"c": [{}]}, good | {"c": {}}, good | {"e": {"x": "12"}}, good | {"e": []},
    ):  # fmt: skip
        assert differences(wrong, schema), wrong


PLAN = """
duration = "1s"
[workload]
clients = 1
[[fault]]
name = "slow"
kind = "delay"
from = "@leader"
ms = 5
for = "300ms"
"""


class Verbs:
    """Runs verbs, and compares what they answer; remembers which have been."""

    def __init__(self, daemons, capsys):
        self.endpoints = ",".join(daemons.endpoints)
        self.path = daemons.path
        self.seen = set()
        self._capsys = capsys

    def __call__(self, name, *arguments, exits=0, schema=None):
        given = ["--endpoints", self.endpoints, "-o", "json", *name.split()]
        code = run([*given, *map(str, arguments)])
        out, err = self._capsys.readouterr()
        assert code == exits or (exits is None and code in (0, 1)), (name, arguments, out, err)
        if code:
            error = json.loads(err.splitlines()[-1])
            assert differences(error, ANSWERS["an error"], "error") == []
            self.error = error
        verb = schema or SAME.get(name, name)
        answer = None
        for line in out.splitlines():
            answer = json.loads(line)
            assert differences(answer, ANSWERS[verb], name) == []
        self.seen.add(name)
        return answer


def test_every_verb_answers_as_the_page_says(tmp_path, monkeypatch, capsys):
    for module in (survey, probe):  # how long nodes that are down are waited for, 10 times here
        monkeypatch.setattr(module, "DOWN_MS", 100)
    with Daemons(tmp_path, trace={"enabled": True}) as daemons:
        daemons.start(*daemons.names)
        daemons.wait_leader()
        wait_for(lambda: daemons.status("n1")["level"] > 0, what="the feature level")
        monkeypatch.chdir(tmp_path)  # for the files that verbs write
        monkeypatch.setenv("PAXOSCTL_CONFIG", str(tmp_path / "contexts.toml"))
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"put k v\n")))
        ctl = Verbs(daemons, capsys)
        _without_a_cluster(ctl)
        _keys(ctl)
        _cluster(ctl, daemons)
        _members(ctl, daemons)
        _files_and_faults(ctl, daemons)
        _recordings(ctl, daemons)
    (tmp_path / "keyed").mkdir()
    with KeyedDaemons(tmp_path / "keyed", 1) as keyed:
        keyed.start()
        keyed.wait_leader()
        wait_for(lambda: keyed.status("n1")["level"] >= LEVEL_KEYS, what="the level of keys")
        write_secret(keyed.key_path("alice"), key_file_text(keyed.alice), replace=True)
        monkeypatch.setenv("PAXOSCTL_KEY_FILE", str(keyed.key_path("alice")))
        ctl.endpoints = ",".join(keyed.endpoints)
        _rights(ctl)
    assert ctl.seen == set(leaves(cli))


def _rights(ctl):
    assert ctl("auth init")["version"] == 1
    ctl("auth init", exits=1)
    ctl("auth new", "app1", "--read", "/app/")
    ctl("auth rotate", "app1", "--finish")
    ctl("auth set", "app1", "--write", "/app/")
    ctl("auth show", "app1")
    ctl("auth can-i", "put", "/other", "--as", "app1", exits=1)
    ctl("auth revoke", "app1")
    assert len(ctl("auth list")["principals"]) == 2
    assert ctl("auth require", "off")["required"] is False


def _without_a_cluster(ctl):
    ctl("context add", "prod", "--key-file", "k")
    assert ctl("context use", "prod")["in_use"] is True
    assert ctl("context use", "--none")["context"] is None
    ctl("context rename", "prod", "p")
    assert [each["context"] for each in ctl("context list")["contexts"]] == ["p"]
    assert ctl("context show")["from"] == "flag"
    ctl("context show", "p", schema="context add")
    ctl("context remove", "p")
    ctl("context remove", "p", exits=1)
    ctl("completion", "bash")
    assert ctl("man", "put")["page"] == "paxosctl-put.1"
    ctl("man", "--write", "share")


def _keys(ctl):
    assert ctl("put", "k", "v") == {"revision": 1}
    ctl("put", "bytes", "\udcff")
    ctl("get", "k")
    ctl("get", "bytes", "--stale")
    assert ctl("get", "missing", exits=1)["value"] is None
    ctl("get", "k", "--prefix", schema="get --prefix")
    ctl("get", "k", "--prefix", "--stale", schema="get --prefix")
    ctl("cas", "k", "w", "--expect-value", "v")
    ctl("cas", "k", "w", "--expect-value", "v", exits=1)
    ctl("outcome", 99, 1, exits=1)
    ctl("watch", "k", "--from-revision", 1, "--count", 1)
    assert ctl("export", "-o", "keys")["keys"] == 2
    assert ctl("import", "keys", "--skip-existing")["skipped"] == 2
    ctl("import", "keys", "--dry-run")
    ctl("shell")
    ctl("delete", "bytes")
    ctl("delete", "bytes", exits=1)
    ctl("delete", "b", "--prefix")
    ctl("put", "", "v", exits=77)
    ctl("put", "k", exits=2)
    _leases(ctl)
    _transactions(ctl)
    ctl("elect", "primary", exits=1)
    ctl("elect", "primary", "n1", "--", "true")
    ctl("lock", "jobs", "--", "true")


def _leases(ctl):
    lease = ctl("lease grant", "60s")["lease"]
    ctl("put", "leased", "v", "--lease", lease)
    ctl("lease keepalive", lease)
    ctl("lease keepalive", lease, 7, exits=1)
    assert ctl("lease ttl", lease, "--keys")["keys"] == ["leased"]
    ctl("lease ttl", 7, exits=1)
    assert len(ctl("lease list")["leases"]) == 1
    assert ctl("lease revoke", lease)["deleted"] == 1
    ctl("lease revoke", lease, exits=1)
    ctl("put", "leased", "v", "--lease", lease, exits=1)


def _transactions(ctl):
    Path("txn").write_text("if absent n\nput n 5\nget k\nelse\nscan n limit 1\n")
    assert ctl("txn", "txn")["results"][0] == 1
    assert ctl("txn", "txn", exits=1)["succeeded"] is False
    assert ctl("incr", "n", "--by", "-2") == {"value": 3}
    ctl("incr", "k", exits=77)
    ctl("put", "n", "v", "--fence", "lock:1", exits=76)


def _cluster(ctl, daemons):
    ctl("status")
    ctl("status", "--cluster", schema="status --cluster")
    ctl("leader")
    ctl("health")
    assert ctl("top", "--once", "--interval", "300ms")["leader"]
    assert ctl("doctor", "--config", daemons.config_path("n1"), exits=None)["made"]
    assert ctl("hash")["agree"] is True
    ctl("cluster show")
    ctl("node log-level")
    ctl("cluster set", "sessions_max=9000")
    ctl("bench put", "--count", 20)
    ctl("bench get", "--count", 20, "--keys", 10)
    ctl("bench mixed", "--count", 20, "--keys", 10)
    ctl("bench watch", "--watchers", 6, "--duration", "200ms", exits=None)
    ctl("check perf", "--duration", "300ms", exits=None)  # as fast as this machine is
    ctl("sim run", "--seed", 1, "--duration", "1s", "--operations", 10)
    ctl("sim teach")
    ctl("sim teach", "happy-path", schema="sim teach NAME")


def _members(ctl, daemons):
    leader = daemons.wait_leader()
    other = daemons.followers(leader)[0]
    ctl("member list")
    ctl("member config", other)
    ctl("member demote", other)
    ctl("member promote", other)
    ctl("member quorum", "--majority")
    ctl("member update", other, "--peer", daemons.endpoint(other, "peer"))
    ctl("member rejoin", other, exits=1)
    ctl("member remove", other, "--dry-run")
    where = [
        "--peer", "tcp://127.0.0.1:1", "--client", "tcp://127.0.0.1:2", "--events",
        "tcp://127.0.0.1:3",
    ]  # fmt: skip
    ctl("member replace", other, "n9", *where, "--dry-run")
    ctl("member add", "n9", *where)
    ctl("member remove", "n9")
    ctl("member transfer-leader", other)


def _files_and_faults(ctl, daemons):
    ctl("snapshot save", "saved")
    ctl("snapshot status", "saved")
    ctl("snapshot restore", "saved", "--data-dir", "new", "--cluster-id", "new", "--node", "n1")
    (ctl.path / "left").mkdir()
    shutil.copytree(daemons.path / "n1" / "wal", ctl.path / "left" / "wal")
    ctl("snapshot salvage", "left", "salvaged")
    (ctl.path / "backups").mkdir()
    ctl("backup take", "backups", "--keep", 1)
    ctl("backup list", "backups")
    ctl("backup verify", "backups")
    ctl("fault add", "f", "--kind", "drop", "--from", "n1", "--probability", 0.01)
    ctl("fault list")
    ctl("fault rm", "f")
    (ctl.path / "plan.toml").write_text(PLAN)
    ran = ctl("fault run", "plan.toml")
    ctl("check history", ran["history"])
    victim = daemons.followers(daemons.wait_leader())[0]
    ctl("fault crash", victim)
    daemons.wait_end(victim)
    ctl("fault clear", exits=1)
    found = ctl("status", "--cluster", schema="status --cluster")
    assert [each["reachable"] for each in found["nodes"]].count(False) == 1
    ctl("member list")
    assert ctl("hash", exits=3)["missing"] == [victim]
    ctl("fault list")


def _recordings(ctl, daemons):
    """Of the daemons while they run."""
    ctl("put", "read", "back")
    read = ctl("get", "read")["applied"]
    where = [daemons.path / name for name in daemons.names]
    wait_for(lambda: _is_recorded(where, read), what="the recordings")
    assert len(ctl("log nodes", *where)["nodes"]) == 3
    ctl("log timeline", *where, "--last", "5s")
    ctl("log tail", "-n", 5, *where)
    picture = daemons.path / "run.html"
    assert ctl("log diagram", *where, "-o", picture)["bytes"] == picture.stat().st_size
    change = ctl("log key", "read", *where)["changes"][-1]
    request = f"{change['session']}/{change['seq']}"
    for verb, name in (("slot", change["slot"]), ("request", request)):
        ctl(f"log {verb}", name, *where)
        ctl(f"explain {verb}", name, *where)
    blamed = ctl("blame", "read", *where)["changes"][-1]
    assert (blamed["slot"], blamed["client"]) == (change["slot"], change["client"])
    ctl("log ballot", change["ballot"], *where)
    ctl("explain put", "read", *where)
    ctl("explain leader", *where)
    assert ctl("explain slowest", *where)["causes"]
    assert ctl("why-slow", *where)["requests"] > 20
    ctl("log slot", 1 << 40, *where, exits=1)
    runs = ctl("trace replay", where[0])["runs"]
    assert {each["verdict"] for each in runs} == {"identical"}
    assert ctl("trace to-test", where[0], "-o", daemons.path / "test_run.py")["runs"] >= 1
    # One node was crashed: its recording is missing.
    ctl("debug bundle", "-o", "b.tar.zst", exits=3)
    ctl("debug bundle", "--inspect", "b.tar.zst")
    assert not [each for each in ctl("audit", *where)["rules"] if each["verdict"] == "violated"]


def _is_recorded(where, slot):
    with opened([str(path) for path in where]) as recordings:
        events = recordings.events(keep=lambda row: row[1] == WRITE)
        return any(event.kind == WRITE and event.slot >= slot for event in events)


@pytest.mark.parametrize("name", ["level", "incarnation", "leader_endpoint", "fault_tolerance"])
def test_names_of_the_wire_are_not_on_the_page(name):
    assert f'"{name}"' not in PAGE.read_text(encoding="utf-8")
