"""The narrator cites rules that are written down, and says nothing that is not so."""

import ast
import inspect

import pytest

from paxosd.core.messages import Promise
from paxosd.core.types import Ballot
from paxosd.sim.teach import narrator, narrator_2pc, narrator_paxos
from paxosd.sim.teach.narrator import Step
from paxosd.sim.teach.narrator_paxos import PaxosNarrator
from paxosd.sim.teach.rules import RULES
from paxosd.sim.teach.story import Act
from paxosd.sim.teach.teach import NAMES, play
from tests.sim.teach.plays import messages, played


def rules_named(module):
    """Every rule that a narrator may cite: by Draft(role, text, rule), rule=… and class bodies."""
    for node in ast.walk(ast.parse(inspect.getsource(module))):
        found = []
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Draft":
            found = [*node.args[2:3], *[k.value for k in node.keywords if k.arg == "rule"]]
        elif isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") in (
            "rule",
            "remembers",
        ):
            found = [node.value]
        for value in found:
            yield from (
                each.value
                for each in ast.walk(value)
                if isinstance(each, ast.Constant) and isinstance(each.value, str)
            )


def test_every_rule_that_can_be_cited_is_written_down():
    """One that is missing ends a lesson with a traceback, at a seed where it is due."""
    cited = {
        rule
        for module in (narrator, narrator_paxos, narrator_2pc)
        for rule in rules_named(module)
        if rule
    }
    assert {"stable", "rejoin", "noop", "2pc-log"} <= cited
    assert cited <= set(RULES)


def test_a_promise_says_that_its_sender_knows_what_was_chosen():
    """Up to its commit index a promise reports no votes: it knows more than that."""
    narrator = PaxosNarrator(2, set(), set())
    ballot = Ballot(2, "n3")
    narrator._durable.add(("n1", ("promise", ballot)))
    promise = narrator._promise("n1", Promise(ballot, 2, 0, 2, ()))
    assert "I know what was chosen in slot 2; ask me for it." in promise.text
    assert "I have accepted nothing above that." in promise.text
    promise = narrator._promise("n1", Promise(ballot, 2, 0, 1, ()))
    assert "I have accepted nothing there." in promise.text


@pytest.mark.parametrize("seed", [13, 14, 15])
def test_nobody_who_knows_the_value_says_that_it_accepted_nothing(seed):
    """Here n3 takes over, and asks n1 for slot 2 or above. n1 knows what was chosen there: n3 gets
    it from n1 soon after."""
    story = play("wiped-acceptor", seed)
    assert story.failure == ""
    asked = {part.ballot: part.text for part in messages(story, "Prepare")}
    promises = [part for part in messages(story, "Promise") if part.actor == "n1"]
    promises = [part for part in promises if "in slot 2 or above" in asked[part.ballot]]
    assert promises
    assert any(part.actor == "n1" for part in messages(story, "Decisions"))
    for part in promises:
        assert "I know what was chosen in slot 2; ask me for it." in part.text


@pytest.mark.parametrize("name", NAMES)
def test_stable_storage_is_not_praised_where_it_is_gone_or_another_protocol_is_at_work(name):
    emptied, act = set(), ""
    for part in played(name).parts:
        if isinstance(part, Act):
            emptied, act = set(), part.title
        if not isinstance(part, Step):
            continue
        if "IS EMPTY" in part.text:
            emptied.add(part.actor)
        if part.text.startswith("Starts"):
            assert not (part.actor in emptied and "PMS" in part.source)
            assert not (act.startswith("Two-Phase Commit") and "PMS" in part.source)
