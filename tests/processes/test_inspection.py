"""A scripted bad day of a real cluster, and what every verb that looks back says of it.

Under load: a slow disk, a link that lets nothing through one way, kill -9 of the leader, a new
member, a node that is wiped. Then all are killed, and the answers are compared with what was done.
"""

import contextlib
import json
import shutil
import time

import pytest

from paxosctl.cli.main import run
from tests.bench.closed_loop import ClosedLoop
from tests.processes.growing import Growing
from tests.processes.processes import wait_for

SLOW_MS = 60
LASTS_S = 1.5
"""So long each fault lasts: the verbs look at stretches of half a second."""


class BadDay:
    """What was done, and ``times``: from when until when, in µs of the wall clock."""

    def __init__(self, path, capsys):
        self.path = path
        self.capsys = capsys
        self.daemons = Growing(path)
        self.times = {}
        self.answers = {}

    @contextlib.contextmanager
    def time_of(self, what):
        begun_us = time.time_ns() // 1000
        yield
        self.times[what] = begun_us, time.time_ns() // 1000

    def put(self, key):
        with self.daemons.client(timeout_s=30.0) as client:
            client.put(key.encode(), b"value")

    def play(self):
        daemons = self.daemons
        self.first = daemons.start_founders()
        load = ClosedLoop([daemons.endpoint(name) for name in daemons.founders], clients=3,
                          pause_s=0.03)  # fmt: skip
        load.start()
        self.load = load
        wait_for(lambda: len(load.acked_s) > 40 or load.error, what="writes")
        self.last_more(1.0)
        self.put("calm")
        self.slow, self.other = daemons.followers(self.first)[:2]
        with self.time_of("disk"):
            daemons.admin(self.slow, "fault_add", name="slow", kind="disk-slow", on=self.slow,
                          ms=SLOW_MS)  # fmt: skip
            self.put("slow")
            self.last_more(LASTS_S)
            daemons.heal()
        with self.time_of("one-way"):
            daemons.fault("deaf", "partition", self.first, self.slow, oneway=True)
            self.put("deaf")
            self.last_more(LASTS_S)
            daemons.heal()
        self.last_more(1.0)
        with self.time_of("crash"):
            daemons.admin(self.first, "fault_add", name="death", kind="crash", on=self.first)
            daemons.wait_end(self.first)
            self.second = wait_for(self.another_leader, what="another leader")
            self.put("after")
        daemons.start(self.first)
        daemons.wait_up()
        with self.time_of("members"):
            daemons.join("n4")
            daemons.ctl("add", "n4", *daemons.where("n4"))
        # The newcomer: with another the recording of what went before would be gone.
        self.wiped = "n4"
        with self.time_of("wiped"):
            daemons.kill(self.wiped)
            shutil.rmtree(self.path / self.wiped)
            daemons.start(self.wiped)
            daemons.wait_event(self.wiped, "node.memory_lost")
        self.last_more(1.0)
        load.stop()
        daemons.kill()

    def another_leader(self):
        """One that all who live agree on; at first they name the dead one."""
        leader = self.daemons.leader()
        return leader if leader != self.first else ""

    def last_more(self, seconds):
        """Let so much time pass, in which writes are answered."""
        until_s = time.monotonic() + seconds
        wait_for(lambda: time.monotonic() >= until_s, seconds + 5)
        count = len(self.load.acked_s)
        wait_for(lambda: len(self.load.acked_s) > count or self.load.error, 30.0, "writes")

    def ask(self, *verb):
        if verb not in self.answers:
            (self.answers[verb],) = self.ask_lines(*verb)
        return self.answers[verb]

    def ask_lines(self, *verb, of=None):
        """The answers, one a line. ``of``: another source than the day's directory."""
        code = run([*verb, str(of or self.path), "-o", "json"])
        out, err = self.capsys.readouterr()
        assert code in (0, 1), (verb, err)
        return [json.loads(line) for line in out.splitlines()]

    def change(self, key):
        """What ``log key`` says of the only change of a key."""
        (found,) = self.ask("log", "key", key)["changes"]
        return found


def incidents(day):
    """The first of each kind and place."""
    found = {}
    for each in day.ask("why-slow")["incidents"]:
        found.setdefault((each["what"], each["node"], each["peer"]), each)
    return found


def near(span, each, slack_us=2_500_000):
    """Whether an incident was when it was done; the machine may be busy."""
    return each["since_us"] <= span[1] + slack_us and each["until_us"] >= span[0] - slack_us


def _why_slow_names_what_was_done_when_and_where(day):
    found = incidents(day)
    assert near(day.times["disk"], found["disk", day.slow, ""])
    assert near(day.times["one-way"], found["one-way", day.first, day.slow])
    assert near(day.times["crash"], found["died", day.first, ""])
    assert near(day.times["members"], found["members", "", ""])
    assert near(day.times["wiped"], found["wiped", day.wiped, ""])
    gap = found.get(("no leader", "", ""))
    if gap is not None:  # a death is noticed at once: it may be too short to be named
        # Then the first that is named is of another thing that was done.
        assert any(near(span, gap) for span in day.times.values())
        if near(day.times["crash"], gap, 0):
            assert day.first in gap["text"]
    accused = {key for key in found if key[0] not in ("busy", "machine busy")}
    assert accused <= {
        ("disk", day.slow, ""), ("one-way", day.first, day.slow), ("died", day.first, ""),
        ("died", day.wiped, ""), ("members", "", ""), ("wiped", day.wiped, ""),
        ("no leader", "", ""),
    }  # fmt: skip


def _why_slow_has_the_figures_of_the_slow_disk(day):
    syncs = {each["node"]: each["syncs"] for each in day.ask("why-slow")["nodes"]}
    assert syncs[day.slow]["max_us"] >= SLOW_MS * 1000


def _explain_leader_names_the_death(day):
    changes = day.ask("explain", "leader")["explanations"]
    assert changes[0]["subject"].endswith(f".{day.first}")
    after = [each for each in changes if each["causes"]]
    assert any(
        ("died", day.first) == (cause["what"], cause["node"])
        for each in after for cause in each["causes"]
    )  # fmt: skip
    assert f"{day.first} was killed by the fault death" in str(after[0]["sentences"])


def _explain_slowest_and_the_stories_of_a_request(day):
    slowest = day.ask("explain", "slowest")
    assert slowest["requests"] > 100
    assert sum(len(each["sentences"]) for each in slowest["causes"]) == 10
    change = day.change("slow")
    name = f"{change['session']}/{change['seq']}"
    story = day.ask("log", "request", name)
    assert [each["ok"] for each in story["answers"]] == [True]
    assert story["slots"][0]["slot"] == change["slot"]
    for verb in (("explain", "request", name), ("explain", "put", "slow")):
        said = day.ask(*verb)["explanations"]
        assert [each["subject"] for each in said] == [f"request {name}", f"slot {change['slot']}"]


def _the_slow_and_the_deaf_node_chose_nothing(day):
    for key, sure in (("slow", day.first), ("deaf", day.first), ("after", day.second)):
        change = day.change(key)
        story = day.ask("log", "slot", str(change["slot"]))
        assert story["ballot"].endswith(f".{sure}"), key
        voters = story["chosen_by"]
        if key != "after":
            assert set(voters) == {day.first, day.other}, key
        else:
            assert day.first not in voters
        said = day.ask("explain", "slot", str(change["slot"]))["explanations"][0]["sentences"]
        assert any("made it chosen" in each["text"] for each in said)


def _log_ballot_has_its_promises_and_its_end(day):
    change = day.change("after")
    story = day.ask("log", "ballot", day.ask("log", "slot", str(change["slot"]))["ballot"])
    assert set(story["promises"]) == {day.slow, day.other}
    assert story["leader"] == day.second


def _the_timeline_has_every_fault_and_every_leader(day):
    hits = day.ask_lines("log", "timeline", "--kind", "fault.hit")
    assert {each["fields"]["kind"] for each in hits} == {"disk-slow", "partition", "crash"}
    elected = day.ask_lines("log", "timeline", "--kind", "leader.elected")
    leaders = list(dict.fromkeys(each["fields"]["leader"] for each in elected))
    assert leaders[:2] == [day.first, day.second]
    last = day.ask_lines("log", "tail", "-n", "50")
    assert len(last) == 50


def _log_nodes_has_all_and_their_clocks(day):
    nodes = {each["node"]: each for each in day.ask("log", "nodes")["nodes"]}
    assert set(nodes) == {"n1", "n2", "n3", "n4"}


def _a_bundle_of_what_they_left_says_the_same(day, tmp_path):
    bundle = tmp_path / "day.tar.zst"
    run(["--endpoints", day.daemons.endpoint("n1"), "debug", "bundle", "-o", str(bundle),
         "--data-dir", str(day.path)])  # fmt: skip
    said = day.capsys.readouterr().err
    assert bundle.exists(), said
    (answer,) = day.ask_lines("why-slow", of=bundle)
    said = {(each["what"], each["node"], each["peer"]) for each in answer["incidents"]}
    assert said == set(incidents(day))


def _the_audit_finds_nothing(day):
    assert day.ask("audit")["violations"] == 0


@pytest.mark.timeout(400)
def test_the_verbs_say_what_was_done(tmp_path, capsys):
    """One test: the day is as long as all the rest, and each worker would have one of its own."""
    (tmp_path / "day").mkdir()
    day = BadDay(tmp_path / "day", capsys)
    with day.daemons:
        day.play()
    _why_slow_names_what_was_done_when_and_where(day)
    _why_slow_has_the_figures_of_the_slow_disk(day)
    _explain_leader_names_the_death(day)
    _explain_slowest_and_the_stories_of_a_request(day)
    _the_slow_and_the_deaf_node_chose_nothing(day)
    _log_ballot_has_its_promises_and_its_end(day)
    _the_timeline_has_every_fault_and_every_leader(day)
    _log_nodes_has_all_and_their_clocks(day)
    _a_bundle_of_what_they_left_says_the_same(day, tmp_path)
    _the_audit_finds_nothing(day)
