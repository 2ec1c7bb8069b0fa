"""A short slice of ``python -m tests.bench.version_skew``, with a seed of its own, and of the verbs
of ``version_verbs``; and what both judge by."""

import random

import pytest

from paxosctl.client.errors import EXIT_REFUSED
from paxosd.core.cluster_settings import LEVEL_KEYS, LEVEL_LATEST
from paxosd.net.key_files import key_file_text, write_secret
from tests.bench.verb_steps import STEPS, Step
from tests.bench.version_acts import short
from tests.bench.version_before import LEVELS, NoBuildError, build, build_commit
from tests.bench.version_cluster import NEW, MixedVersions
from tests.bench.version_judge import counted, locked, watched, wrong_of
from tests.bench.version_skew import run_round
from tests.bench.version_verbs import Program, Walk, restart
from tests.processes.keyed import KeyedDaemons
from tests.processes.processes import wait_for

SOME = {"put k v", "get k --prefix", "get k --revision {revision}", "incr n", "lease list",
        "lease grant 60s", "status --cluster", "hash", "cluster show", "member list",
        "log nodes", "snapshot save {dir}/saved", "snapshot status {dir}/saved"}  # fmt: skip


def built(level):
    try:
        return build(level)
    except NoBuildError as error:
        pytest.skip(f"no build of the version before: {error}")


@pytest.mark.timeout(170)
def test_clients_see_one_store_while_two_versions_run(tmp_path):
    seed = random.randrange(1 << 30)
    level = LEVELS[seed % len(LEVELS)]
    print(f"seed {seed}, from level {level}")
    outcome = run_round(tmp_path, built(level), seed=seed, act=short, report=print)
    print("\n".join(outcome.lines()))
    assert outcome.ok


@pytest.mark.timeout(170)
def test_verbs_at_nodes_of_another_version_work_or_say_why_not(tmp_path):
    before = built(3)
    steps = [step for step in STEPS if step.words in SOME]
    assert {step.words for step in steps} == SOME
    with MixedVersions(tmp_path, before, 1) as cluster:
        cluster.start_founders()
        wait_for(lambda: cluster.levels() == {3}, what="the level of the version before")
        ask(cluster, Program(), steps, 3)
        restart(cluster, "n1", NEW)
        wait_for(lambda: cluster.levels() == {LEVEL_LATEST}, what="the latest level")
        ask(cluster, Program(before), steps, LEVEL_LATEST)


def test_rights_wait_for_their_level(tmp_path):
    """Keys are there before it: nodes take them at any level of the cluster."""
    with KeyedDaemons(tmp_path, 1, protocol={"feature_level_max": LEVEL_KEYS - 1}) as daemons:
        daemons.start()
        daemons.wait_leader()
        at = lambda level: daemons.status("n1")["level"] == level  # noqa: E731 - one word for it
        wait_for(lambda: at(LEVEL_KEYS - 1), what="the level before")
        write_secret(daemons.key_path("alice"), key_file_text(daemons.alice), replace=True)
        ctl = ("paxosctl", "--key-file", str(daemons.key_path("alice")), "--timeout", "20s")
        done = daemons.run(*ctl, "auth", "init")
        assert done.returncode == EXIT_REFUSED
        assert f"no rights table below feature level {LEVEL_KEYS}" in done.stderr
        del daemons.settings["protocol"]["feature_level_max"]
        daemons.switch("n1", "done")
        wait_for(lambda: daemons.status("n1") and at(LEVEL_LATEST), what="the latest level")
        done = daemons.run(*ctl, "auth", "init")
        assert done.returncode == 0, done.stderr


def ask(cluster, program, steps, level):
    walk = Walk(cluster, program, level)
    wrong = [answer for answer in walk.answers(steps) if answer.wrong]
    assert not wrong, "\n".join(line for answer in wrong for line in answer.lines())
    assert walk.asked


def test_a_commit_that_is_not_here_is_said():
    with pytest.raises(NoBuildError, match="commit 000000000000 is not here"):
        build_commit("0" * 40)


class TestVerbs:
    """What counts as a wrong answer of a verb."""

    def wrong(self, step, code, out="", err="", level=LEVEL_LATEST):
        walk = Walk.__new__(Walk)
        walk._level, walk._program = level, Program()
        return walk._wrong(step, Done(code, out, err))

    def test_of_a_verb_that_the_cluster_knows(self):
        step = Step("get k", has="v")
        assert self.wrong(step, 0, "v") == ""
        assert "does not have" in self.wrong(step, 0, "w")
        assert self.wrong(step, 1) == "the exit code"
        assert self.wrong(step, 0, "v", "Traceback (most recent call last)") == "a traceback"

    def test_of_one_that_needs_a_later_level(self):
        step = Step("incr n", since=4)
        assert self.wrong(step, 77, err="not below feature level 4", level=3) == ""
        assert "names no feature level" in self.wrong(step, 77, err="no command 15", level=3)
        assert self.wrong(step, 0, "1", level=3) == "the exit code"
        assert self.wrong(step, 77, err="feature level", level=4) == "the exit code"

    def test_of_one_whose_formats_are_of_a_later_level(self):
        step = Step("snapshot save", later="this program knows 1 to")
        assert self.wrong(step, 0) == ""
        assert self.wrong(step, 1, err="this program knows 1 to 3", level=LEVEL_LATEST + 1) == ""
        assert "not said" in self.wrong(step, 1, err="bad", level=LEVEL_LATEST + 1)
        assert "not said" in self.wrong(step, 0, level=LEVEL_LATEST + 1)

    def test_of_one_that_is_refused_for_another_reason(self):
        step = Step("auth init", exits=(77,), refused="key")
        assert self.wrong(step, 77, err="this needs the key of an admin") == ""
        assert "does not say: key" in self.wrong(step, 77, err="no")


class Done:
    """A process that has ended."""

    def __init__(self, code, out, err):
        self.returncode, self.stdout, self.stderr = code, out, err


def test_what_a_watcher_may_not_have_seen():
    rows = {b"a": b"2"}
    good = [(1, b"a", b"1"), (2, b"b", b"1"), (3, b"b", None), (4, b"a", b"2")]
    assert list(watched(good, 4, rows)) == []
    assert "out of order" in next(watched([good[1], good[0], *good[2:]], 4, rows))
    assert "twice" in next(watched([*good, good[3]], 4, rows))
    assert "missing: [3]" in next(watched([*good[:2], good[3]], 4, rows))
    assert "last values" in next(watched([*good[:3], (4, b"a", b"x")], 4, rows))
    lost = [good[0], good[3]]
    assert list(watched(lost, 4, rows, [(2, 4)])) == []
    assert "missing: [3]" in next(watched(lost, 4, rows, [(2, 3)]))
    seen = {"changes": [[1, "a", "2"]], "gaps": [], "breaches": ["lease 7 ended early"]}
    assert list(wrong_of("old", seen, 1, rows)) == ["leases (old): lease 7 ended early"]


def test_counters_have_counted_what_clients_of_all_versions_were_told():
    seen = [{"added": {"cas": 2, "incr": 1}}, {"added": {"cas": 3, "incr": 0}}]
    rows = {b"s/count/cas": b"5", b"s/count/incr": b"1"}
    assert list(counted(seen, rows, b"s/")) == []
    assert list(counted(seen, rows | {b"s/count/incr": b"2"}, b"s/")) == [
        "the counter incr is at 2, and 1 were added"
    ]


def test_a_lock_is_judged_over_the_clients_of_all_versions():
    old = [[[7, 10, "old-l0", 0]], [[7, 11, "old-l0", 0]], [[7, 12, "old-l0", 3]], []]
    new = [[[9, 20, "new-l0", 0]], [], [[9, 21, "new-l0", 5]], []]
    assert locked([{"locks": old}, {"locks": new}]).ok
    late = [old[0], old[1], [[7, 25, "old-l0", 6]], []]
    assert not locked([{"locks": late}, {"locks": new}]).ok
