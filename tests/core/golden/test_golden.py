"""Each transcript still says what the core does, and each notices when a rule of it is broken."""

import difflib
from pathlib import Path

import pytest

from paxosd.core.election import Election
from paxosd.core.node import Node
from tests.bench.mutation import applied, instead, nothing
from tests.bench.mutation_tables import MUTATIONS
from tests.core.golden import driver

HERE = Path(__file__).parent
FILES = sorted(HERE.glob("*.txt"))
HINT = "if this change is meant, run: pytest tests/core/golden --record, and read the diff"

BROKEN_RULES = {
    "adoption": ["adoption"],
    "catch_up": ["catch-up"],
    "duel": ["accept-ballot-check"],
    "election": ["phase-1-quorum", "phase-2-quorum", "prepare-durable-first"],
    "hand_over": [instead(Election, "receive_transfer", nothing)],
    "lost_vote": ["vote-gap-filling"],
    "membership": ["same-ballot", "old-voters-decide"],
    "noop": ["noop-fill"],
    "old_leader": ["read-unconfirmed", "accept-ballot-check"],
    "read_index": ["read-unconfirmed", "read-not-applied"],
    "rejoin": ["wiped-and-pinned"],
    "restart": ["promise-before-fsync", "forgets-promise"],
    "session_retry": ["session-dedup"],
    "snapshot": [instead(Node, "install", nothing)],
}
"""Which rules each transcript stands for: names of mutations (``tests/bench``), or patches."""


def is_recording(request):
    return request.config.getoption("--record")


@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
def test_the_core_does_what_the_transcript_says(path, request):
    want = path.read_text()
    got = driver.read(path).played()
    if is_recording(request):
        path.write_text(got)
        return
    if got != want:
        diff = difflib.unified_diff(
            want.split("\n"), got.split("\n"), path.name, "the core now", lineterm=""
        )
        pytest.fail("\n".join([HINT, *diff]), pytrace=False)


def test_each_transcript_names_the_rules_it_stands_for():
    assert sorted(BROKEN_RULES) == [path.stem for path in FILES]


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        pytest.param(name, rule, id=f"{name}-{rule if isinstance(rule, str) else rule.name}")
        for name, rules in BROKEN_RULES.items()
        for rule in rules
    ],
)
def test_it_notices_a_broken_rule(name, rule, request):
    if is_recording(request):
        pytest.skip("the transcripts are being recorded")
    path = HERE / f"{name}.txt"
    patches = MUTATIONS[rule].patches if isinstance(rule, str) else (rule,)
    with applied(*patches):
        try:
            got = driver.read(path).played()
        except AssertionError as error:
            print(f"noticed: {error}")
            return
    assert got != path.read_text(), "nothing in the transcript depends on this rule"
