"""Every verb of paxosctl against nodes of another version: it works, or is refused in words.

    python -m tests.bench.version_verbs [--before LEVEL] [--show]

    paxosctl     cluster
    older        all nodes newer, the level held     newer    all nodes older
    older        all nodes newer, the level raised   newer    all nodes newer, the level held

Each verb that the program itself lists is asked, with its answer as JSON where it has one, and what
one verb has written is read by the next. ``verb_steps.py`` says which other answers are right. Exit
1 if one is wrong: another exit code, a traceback, no JSON, a refusal that does not name the feature
level, or a verb that nobody has asked.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from paxosd.core.cluster_settings import LEVEL_LATEST
from tests.bench.verb_steps import PLAN, STEPS, TRANSACTION, Step
from tests.bench.version_before import LEVELS, ROOT, Build, build
from tests.bench.version_cluster import NEW, OLD, MixedVersions, wait_role
from tests.processes.processes import clean_environ, wait_for

REFUSED = 77
LEVEL_LIMIT_S = 60.0
RUN_LIMIT_S = 30
LISTING = """
import click
from paxosctl.cli.main import cli

def walk(command, path=()):
    if not isinstance(command, click.Group):
        print(" ".join(path))
        return
    context = click.Context(command)
    for name in command.list_commands(context):
        walk(command.get_command(context, name), (*path, name))

walk(cli)
"""


THIS = Build(ROOT, LEVEL_LATEST)


class Answer(NamedTuple):
    """What a step came to; ``wrong``: in words, "" if nothing is."""

    step: Step
    code: int
    out: str
    err: str
    wrong: str

    def lines(self):
        """For people."""
        yield f"  {self.step.words}: {self.code}{self.wrong and f': WRONG: {self.wrong}'}"
        yield from (f"      {line}" for line in (self.out + self.err).splitlines()[-12:])


class Program:
    """paxosctl of one version. ``level``: the latest feature level that it knows."""

    def __init__(self, build=THIS):
        self.level = build.level
        self._environ = build.environ(clean_environ())

    def run(self, *arguments, stdin=""):
        """Run it to its end; the exit code and what it wrote."""
        return self._python("-m", "paxosctl", *arguments, stdin=stdin)

    def verbs(self):
        """All that it knows, by its own word."""
        return set(self._python("-c", LISTING).stdout.splitlines())

    def _python(self, *arguments, stdin=""):
        command = ["timeout", str(RUN_LIMIT_S), sys.executable, "-P", *arguments]
        return subprocess.run(
            command, input=stdin, text=True, capture_output=True, env=self._environ, check=False
        )


class Walk:
    """The steps, by one program at one cluster. ``level``: that of the cluster."""

    def __init__(self, cluster, program, level):
        self.asked = set()
        self._cluster, self._program = cluster, program
        self._level = level
        self._verbs = program.verbs()
        folder = Path(tempfile.mkdtemp(dir=cluster.path))
        (folder / "plan.toml").write_text(PLAN)
        (folder / "txn").write_text(TRANSACTION)
        (folder / "backups").mkdir()
        leader = cluster.wait_leader()
        follower = next(iter(cluster.followers(leader)), leader)
        self._names = {
            "dir": str(folder), "leader": leader, "follower": follower,
            "peer": cluster.endpoint(follower, "peer"),
            "sources": " ".join(str(cluster.path / name) for name in cluster.names),
            "source": str(cluster.path / leader),
            "config": str(cluster.config_path(leader)), "lease": "1", "history": "none",
            "revision": "1", "slot": "3", "ballot": "1.n1", "session": "1", "seq": "1",
            "where": "--peer tcp://127.0.0.1:1 --client tcp://127.0.0.1:2 "
                     "--events tcp://127.0.0.1:3",
        }  # fmt: skip

    def answers(self, steps=STEPS):
        """One after the other: those of verbs that the program has."""
        for step in steps:
            if step.verb in self._verbs and step.command <= self._program.level:
                self.asked.add(step.verb)
                yield self.answer(step)

    def unasked(self):
        """Verbs that no step has."""
        return sorted(self._verbs - self.asked)

    def answer(self, step):
        """Ask it."""
        options = ["--endpoints", ",".join(self._cluster.endpoints), "--timeout", "10s"]
        if not step.plain:
            options += ["-o", "json"]
        words = [word.format_map(self._names) for word in step.words.split()]
        words = [each for word in words for each in word.split()]
        done = self._program.run(*options, *words, stdin=step.stdin)
        wrong = self._wrong(step, done) or self._keep(step, done.stdout)
        if step.crashes:
            victim = self._names["follower"]
            self._cluster.wait_end(victim)
            self._cluster.start(victim)
            wait_role(self._cluster, victim)
        return Answer(step, done.returncode, done.stdout, done.stderr, wrong)

    def _wrong(self, step, done):
        said = done.stdout + done.stderr
        too_low = self._level < step.since
        if "Traceback" in said:
            return "a traceback"
        if step.later and self._level > self._program.level:
            return "" if done.returncode and step.later in said else f"not said: {step.later}"
        if done.returncode not in ((REFUSED,) if too_low else step.exits):
            return "the exit code"
        if done.returncode == REFUSED and "feature level" not in said:
            if too_low or not step.refused:
                return "the refusal names no feature level"
            return "" if step.refused in said else f"the refusal does not say: {step.refused}"
        if done.returncode == 0 and step.has not in done.stdout:
            return f"it does not have: {step.has}"
        return ""

    def _keep(self, step, out):
        """Take its JSON in; what is wrong with it."""
        if step.plain:
            return ""
        try:
            found = [json.loads(line) for line in out.splitlines()]
        except ValueError as error:
            return f"no JSON: {error}"
        if found and step.keeps:
            self._names |= {name: str(dig(found[-1], path)) for name, path in step.keeps.items()}
        return ""


def dig(value, path):
    """The part of JSON at ``path``, such as "changes.-1.slot"."""
    for part in path.split("."):
        value = value[int(part) if part.lstrip("-").isdigit() else part]
    return value


def newer_refused(cluster):
    """What needs a later level than the cluster has, asked by this version; yields what is wrong
    with the answers."""
    level = cluster.before.level
    walk = Walk(cluster, Program(), level)
    for answer in walk.answers([step for step in STEPS if step.since > level]):
        if answer.wrong:
            yield "\n".join(answer.lines())


def walk_all(path, before, report, *, show=False):
    """All programs at all clusters of the table above; whether all was right."""
    older, newer = Program(before), Program()
    good = True

    def walk(cluster, what, program, level):
        nonlocal good
        report(f"{what} paxosctl, {level_words(cluster, level)}")
        walking = Walk(cluster, program, level)
        for answer in walking.answers():
            good = good and not answer.wrong
            if show or answer.wrong:
                report("\n".join(answer.lines()))
        report(f"  {len(walking.asked)} verbs asked")
        if walking.unasked():
            good = False
            report(f"  WRONG: nobody has asked: {', '.join(walking.unasked())}")

    with MixedVersions(path, before, 3, trace={"enabled": True}, snapshots={}) as cluster:
        cluster.start_founders()
        wait_for(lambda: cluster.levels() == {before.level}, LEVEL_LIMIT_S, "the first level")
        walk(cluster, "newer", newer, before.level)
        for name in cluster.names:
            cluster.hold(name)
            restart(cluster, name, NEW)
        walk(cluster, "newer", newer, before.level)
        walk(cluster, "older", older, before.level)
        for name in cluster.names:
            cluster.release(name)
            restart(cluster, name, NEW)
        wait_for(lambda: cluster.levels() == {LEVEL_LATEST}, LEVEL_LIMIT_S, "the latest level")
        walk(cluster, "older", older, LEVEL_LATEST)
    return good


def level_words(cluster, level):
    """Of what nodes the cluster is."""
    return f"nodes {'older' if OLD in cluster.programs.values() else 'newer'}, level {level}"


def restart(cluster, name, program):
    """As that program."""
    cluster.kill(name)
    cluster.run_as(name, program)
    cluster.start(name)
    wait_role(cluster, name)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--before", type=int, choices=LEVELS, help="all, if left out")
    parser.add_argument("--show", action="store_true", help="all answers, not the wrong ones alone")
    options = parser.parse_args()
    good = True
    for level in [options.before] if options.before else LEVELS:
        with tempfile.TemporaryDirectory() as path:
            report = lambda line: print(line, flush=True)  # noqa: E731 - one word for it
            good = walk_all(Path(path), build(level), report, show=options.show) and good
    print("ok" if good else "WRONG")
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
