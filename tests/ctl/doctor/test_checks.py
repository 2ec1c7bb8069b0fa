"""Each flaw that the doctor knows is found where it is planted, and nowhere else."""

import re
from dataclasses import replace

import pytest

from paxosctl.doctor.catalogue import CHECKS, FLAWS
from paxosctl.doctor.evidence import Evidence
from paxosctl.doctor.examination import examine
from paxosctl.doctor.finding import Severity
from paxosctl.doctor.machine import KeyFiles
from paxosd.core.status import SecurityStatus
from tests.ctl.doctor.planted import COMPANIONS, FRESH, PLANTED, SOUND
from tests.ctl.doctor.sound import (
    NAMES,
    silent,
    stopped,
    with_directory,
    with_machine,
    with_settings,
    with_status,
)
from tests.doctor_page import PAGE, page
from tests.test_docs import missing_commands

COMMAND = re.compile(
    r"\b(?:paxosctl [a-z]+|paxosd (?:--config|init))(?: [a-z-]+(?=[ ,;.)]|$)| --[a-z-]+)*"
)


def flaws_of(evidence):
    return {each.flaw for each in examine(evidence).findings}


def test_a_sound_cluster_has_no_finding():
    found = examine(SOUND)
    assert found.findings == ()
    assert found.skipped == ()
    assert set(found.made) == {check.id for check in CHECKS}


def test_nor_has_it_seen_from_elsewhere():
    found = examine(Evidence(views=SOUND.views, links=SOUND.links))
    assert found.findings == ()
    assert {name for name, _ in found.skipped} == {
        "config", "settings", "ports", "directory", "file-system", "memory", "core-dumps",
    }  # fmt: skip


def test_nor_a_machine_before_the_first_start_of_all():
    found = examine(FRESH)
    assert found.findings == ()
    assert "quorum" in dict(found.skipped)


def test_every_flaw_is_planted():
    assert set(PLANTED) == set(FLAWS)


@pytest.mark.parametrize("flaw", FLAWS)
def test_a_planted_flaw_is_found_with_its_remedy_and_nothing_else_is(flaw):
    found = examine(PLANTED[flaw])
    mine = [each for each in found.findings if each.flaw == flaw]
    assert mine, f"{flaw} was not found among {found.findings}"
    assert {each.flaw for each in found.findings} - {flaw} <= COMPANIONS.get(flaw, set())
    for each in mine:
        assert each.severity is FLAWS[flaw].severity
        assert each.remedy
        assert each.words
        assert not re.search(r"\bNODE\b", each.remedy) or not each.node, each
    assert found.is_well(strict=False) == (found.count(Severity.ERROR) == 0)
    assert not found.is_well(strict=True)


def test_an_error_stands_before_a_warning():
    found = examine(silent(SOUND, "n3"))
    assert [each.flaw for each in found.findings] == ["answers.silent", "quorum.last"]


@pytest.mark.parametrize("flaw", FLAWS.values(), ids=FLAWS)
def test_a_remedy_names_commands_that_there_are(flaw):
    commands = COMMAND.findall(flaw.remedy)
    assert missing_commands("".join(f"`{each}`\n" for each in commands)) == []
    assert len(commands) >= len(re.findall(r"\bpaxosctl (?!is|are)", flaw.remedy))


class TestCatalogue:
    def test_ids_are_unique_and_a_flaw_begins_with_its_check(self):
        assert len({check.id for check in CHECKS}) == len(CHECKS)
        assert len(FLAWS) == sum(len(check.flaws) for check in CHECKS)
        for check in CHECKS:
            assert all(flaw.id.startswith(f"{check.id}.") for flaw in check.flaws)

    def test_it_says_what_each_is(self):
        for flaw in FLAWS.values():
            assert flaw.what.endswith("."), flaw
            assert not flaw.remedy.endswith("."), flaw


class TestWhoIsToBlame:
    def test_a_node_before_its_first_start_in_a_cluster_that_runs_is_not_silent(self):
        found = with_directory(stopped(SOUND), cluster="", node="", mode=-1)
        assert not flaws_of(found) & {"answers.silent", "answers.stopped"}

    def test_all_nodes_of_a_cluster_that_was_used_are_down(self):
        found = with_directory(silent(SOUND, *NAMES), locked_by=None)
        assert flaws_of(found) == {"answers.stopped", "answers.silent"}

    def test_a_clock_is_wrong_if_most_say_so(self):
        wrong = PLANTED["clock.off"]
        assert [each.node for each in examine(wrong).findings] == ["n3"]

    def test_a_deaf_node_that_cannot_be_asked_is_known_by_its_peers_word(self):
        found = silent(SOUND, "n3")
        heard = replace(found.status("n1").peers["n3"], reachable=True, hears=False)
        found = with_status(found, "n1", peers={**found.status("n1").peers, "n3": heard})
        words = [each.words for each in examine(found).findings if each.flaw == "reach.deaf"]
        assert words == ["n1 hears from n3 again and again that n3 does not hear n1"]

    def test_what_a_node_said_before_it_went_down_is_no_trouble_of_now(self):
        """It may have been deaf then; now n1 hears nothing of it."""
        found = silent(SOUND, "n3")
        gone = replace(found.status("n1").peers["n3"], reachable=False, hears=False)
        found = with_status(found, "n1", peers={**found.status("n1").peers, "n3": gone})
        assert "reach.deaf" not in flaws_of(found)

    def test_what_the_probe_cannot_reach_is_not_called_deaf_as_well(self):
        one = PLANTED["reach.closed"]
        both = replace(PLANTED["reach.deaf"], links=one.links)
        assert flaws_of(both) == {"reach.closed", "quorum.last"}

    def test_nor_what_the_other_side_says_the_reason_of(self):
        found = PLANTED["reach.deaf"]  # n1 does not hear n3
        refused = replace(found.status("n3").peers["n1"], link_problem="n1 at … has another key")
        found = with_status(found, "n3", peers={**found.status("n3").peers, "n1": refused})
        assert flaws_of(found) & {"reach.deaf", "reach.refused"} == {"reach.refused"}

    def test_a_node_that_is_no_member_to_the_other_is_not_expected_to_hear_it(self):
        found = PLANTED["reach.deaf"]
        others = {name: each for name, each in found.status("n3").peers.items() if name != "n1"}
        assert "reach.deaf" not in flaws_of(with_status(found, "n3", peers=others))

    def test_two_that_were_restored_alike_are_no_finding(self):
        origin = PLANTED["restored.clients"]
        assert flaws_of(origin) == {"restored.clients"}


def test_the_page_is_made_of_the_catalogue():
    assert PAGE.read_text(encoding="utf-8") == page(), "python -m tests.doctor_page"


class TestKeys:
    """What the running node says counts for how it runs, and the files for its next start."""

    def test_a_node_with_a_key_that_cannot_be_seen_has_no_flaw(self):
        status = SecurityStatus(key="k", rollout="done")
        found = with_status(replace(SOUND, keys_unseen="no unit"), "n1", security=status)
        assert flaws_of(found) == set()

    @pytest.mark.parametrize(
        ("running", "words"),
        [
            (SecurityStatus(key="k2", rollout="done"), "it runs with the key k2, and /a has k"),
            (SecurityStatus(), "it runs with no key, and its configuration names /a"),
            (SecurityStatus(key="k", rollout="listening"), "it runs with rollout listening, and"),
        ],
    )
    def test_files_that_were_changed_since_the_start(self, running, words):
        found = with_settings(SOUND, "security.key_file=/a", "security.trust_file=/b")
        found = with_machine(found, keys=KeyFiles(public_key="k"))
        found = with_status(found, "n1", security=running)
        said = [each for each in examine(found).findings if each.flaw == "keys.different"]
        assert words in said[0].words
        assert "restart n1" in said[0].remedy

    def test_of_other_nodes_their_status_tells(self):
        found = with_status(SOUND, "n2", security=SecurityStatus(warning="it is open"))
        assert [each[2:4] for each in examine(found).findings] == [("n2", "it is open")]
        found = with_status(SOUND, "n3", security=SecurityStatus(key="k", rollout="ready"))
        assert [each.flaw for each in examine(found).findings] == ["keys.rollout"]
