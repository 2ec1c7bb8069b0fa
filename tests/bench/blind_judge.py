"""What the verbs claim of a run, and whether it is what was done: the judge of ``blind_runs.py``.

It reads nothing but the JSON answers of the verbs. A claim is ``(what, node, peer)``.
"""

import json
import re
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, field

from tests.processes.processes import clean_environ

ALL = 3
"""If so many daemons were starved from outside, one that was to be starved does not stand out."""
NOTABLE_US = 100_000
"""A slowest request is a claim only if it took so long."""
_LABELS = (
    (re.compile(r"^(\S+)'s disk$"), "disk"),
    (re.compile(r"^(\S+) is busy$"), "busy"),
    (re.compile(r"^(\S+) stood still$"), "still"),
    (re.compile(r"^the link to (\S+)$"), "link to"),
    (re.compile(r"^the link (?:from|between) (\S+) (?:to|and) \S+$"), "link to"),
    (re.compile(r"^(\S+) was cut off$"), "cut"),
    (re.compile(r"^(\S+) died$"), "died"),
)
_LINK = frozenset(("slow link", "lossy link", "one-way"))
_RELATED = {
    # What a request waited for is said of one node, what happened may concern two.
    "link to": lambda claim, node: (
        (claim[0] in _LINK and node in claim[1:]) or (claim[0] == "cut off" and node)
    ),
    "cut": lambda claim, node: claim[:2] == ("cut off", node),
    "died": lambda claim, node: claim[:2] == ("died", node),
    "busy": lambda claim, node: claim[0] == "busy" and claim[1] == node,
    "disk": lambda claim, node: claim[0] == "disk" and claim[1] == node,
    "still": lambda claim, node: claim[0] == "still" and claim[1] == node,
}


def _answer(directory, *verb):
    command = [sys.executable, "-m", "paxosctl", *verb, str(directory), "-o", "json"]
    done = subprocess.run(command, capture_output=True, text=True, env=clean_environ(), check=False,
                          timeout=200)  # fmt: skip
    if done.returncode not in (0, 1):
        raise RuntimeError(f"{verb} ended with {done.returncode}: {done.stderr}")
    return done.stdout.strip()


def ask(directory, *verb):
    """The JSON answer of a verb; None if there is none to give."""
    answer = _answer(directory, *verb)
    return json.loads(answer) if answer else None


def ask_lines(directory, *verb):
    """The answer of a verb that gives one JSON value a line."""
    return [json.loads(line) for line in _answer(directory, *verb).splitlines()]


@dataclass
class Answers:
    """``incidents``: what ``why-slow`` says, ``changes``: ``explain leader``, one list of causes
    for each change; ``slowest``: causes of slow requests, with the longest of each;
    ``violations``: of ``audit``."""

    incidents: list = field(default_factory=list)
    changes: list = field(default_factory=list)
    slowest: list = field(default_factory=list)
    violations: int = 0


def answers_of(directory):
    """Ask the verbs about a directory of data directories."""
    slow = ask(directory, "why-slow") or {}
    leaders = ask(directory, "explain", "leader") or {"explanations": []}
    slowest = ask(directory, "explain", "slowest") or {"causes": []}
    audit = ask(directory, "audit") or {"rules": []}
    return Answers(
        incidents=slow.get("incidents", []),
        changes=[each.get("causes", []) for each in leaders["explanations"][1:]],
        slowest=[(each["cause"], each["longest_us"]) for each in slowest["causes"]],
        violations=sum(len(rule["violations"]) for rule in audit["rules"]),
    )


def _key(incident):
    return incident["what"], incident["node"], incident["peer"]


@dataclass
class Verdict:
    """``found``: per fault ``right``, ``not known`` or ``wrong``; ``false``: claims that fit
    nothing that was done; ``noted``: of the faults that are right, whether a log says so."""

    found: dict = field(default_factory=dict)
    false: list = field(default_factory=list)
    inferred: set = field(default_factory=set)
    busy: bool = False


def judge(answers, truths, starved=()):
    """Compare. ``starved``: the daemons that had too little of the processors by what the kernel
    said from outside: what is said of that is true, drawn or not."""
    verdict = Verdict()
    claimed = {}
    for each in answers.incidents:
        claimed.setdefault(_key(each), []).append(each)
    for causes in answers.changes:
        for each in causes:
            claimed.setdefault(_key(each), []).append(each)
    true = set().union(*(truth["claims"] for truth in truths)) if truths else set()
    seen = {("busy", node, "") for node in starved}
    if starved:
        seen.add(("machine busy", "", ""))
    # What follows from the rest accuses nobody of its own; that nothing passed between two nodes is
    # true of a link that lets nothing through one way, for TCP then ends, but it is no full answer.
    seen |= {key for key in claimed if key[0] == "no leader"}
    seen |= {("cut link", *sorted(key[1:])) for key in true if key[0] == "one-way"}
    if len(starved) >= ALL:
        for truth in truths:
            if truth["name"] == "busy":
                truth["claims"].add(("machine busy", "", ""))
    verdict.busy = bool(starved)
    for key in claimed:
        if key not in true | seen:
            verdict.false.append(" ".join(key).strip())
    for label, longest_us in answers.slowest:
        if longest_us >= NOTABLE_US and not _label_fits(label, true | seen):
            verdict.false.append(f"slowest: {label}")
    if answers.violations:
        verdict.false.append(f"{answers.violations} violations")
    for truth in truths:
        hits = [one for key in truth["claims"] for one in claimed.get(key, ())]
        verdict.found[truth["name"]] = (
            "right" if hits else "wrong" if verdict.false else "not known"
        )
        if any(not one["noted"] for one in hits):
            verdict.inferred.add(truth["name"])
    return verdict


def _label_fits(label, true):
    for pattern, what in _LABELS:
        match = pattern.match(label)
        if match:
            node = match.group(1)
            return any(_RELATED[what](claim, node) for claim in true)
    return True


def table(rows):
    """``rows``: (name, silent, verdict, inferred) of all faults, as lines."""
    lines = [f"{'fault':24} {'right':>6} {'not known':>10} {'wrong':>6} {'without notes':>14}"]
    for silent, title in ((True, "unknown to the daemons"), (False, "fault rules, logged")):
        mine = [row for row in rows if row[1] == silent]
        for name in sorted({row[0] for row in mine}):
            lines.append(_line(name, [row for row in mine if row[0] == name]))
        lines.append(_line(title, mine))
    lines.append(_line("all", rows))
    return lines


def _line(name, rows):
    count = Counter(row[2] for row in rows)
    inferred = sum(row[3] for row in rows)
    return (f"{name:24} {count['right']:6} {count['not known']:10} {count['wrong']:6} "
            f"{inferred:14}")  # fmt: skip
