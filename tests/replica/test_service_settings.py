"""Admission goes by the replicated settings once the log has some, and judges changes of them."""

import json

import pytest

from paxosd.core.cluster_settings import LEVEL_CLIENT_NAMES, LEVEL_LATEST, ClusterSettings
from paxosd.core.commands import CLUSTER, OPEN, PUT, Entry
from paxosd.core.message_room import MessageRoom
from paxosd.core.requests import GET, STALE, ReadRequest, RefusalAnswer, WriteRequest
from paxosd.core.state.machine import Machine
from paxosd.replica.service import Service
from paxosd.wire import EntryLimits, encode_entry

LEVEL_1 = ClusterSettings(1, 1, key_bytes_max=8, value_bytes_max=20, commands_per_request_max=2)


class Limits:
    """Every member takes everything."""

    def refusal(self, entry_bytes):
        return ""


class Node:
    """Takes what is submitted."""

    leader = "n1"
    leading = True
    limits = Limits()

    def __init__(self):
        self.submitted = []

    def submit(self, token, entry, blob):
        self.submitted.append(entry)

    def up_to_date_age_ms(self):
        return 0.0


class Desk:
    """A service with its node, machine and answers."""

    def __init__(self, settings=LEVEL_1, room=None):
        self.machine, self.node, self.answers = Machine(), Node(), []
        self.machine.settings = settings
        self.service = Service(
            self.node,
            self.machine,
            self,
            limits=EntryLimits(64, 64, 4),
            read_bytes_max=1 << 20,
            history=None,
            admin=None,
            room=room,
        )

    def answer(self, client, message):
        self.answers.append(message)
        return True

    def refusal(self, entry):
        """Why an entry was refused; "" if it was submitted."""
        self.service.receive(b"c", WriteRequest(1, encode_entry(entry)))
        if self.node.submitted:
            self.node.submitted.clear()
            return ""
        (answer,) = self.answers
        self.answers.clear()
        assert isinstance(answer, RefusalAnswer)
        return answer.message

    def change(self, version=1, **changes):
        document = self.machine.settings.document() | changes
        text = json.dumps(document).encode()
        return self.refusal(Entry(0, 1, 0, [[CLUSTER, version, 0, text]]))


def put(key=b"k", value=b"v", count=1):
    return Entry(5, 1, 0, [[PUT, key, value]] * count)


class TestLimits:
    def test_at_level_0_the_file_counts(self):
        desk = Desk(ClusterSettings())
        assert desk.refusal(put(b"k" * 64, b"v" * 64, 4)) == ""
        assert "the limit is 64" in desk.refusal(put(value=b"v" * 65))

    def test_the_replicated_ones_count_from_level_1_on(self):
        desk = Desk()
        assert desk.refusal(put(b"k" * 8, b"v" * 20, 2)) == ""
        assert "the limit is 8" in desk.refusal(put(b"k" * 9))
        assert "the limit is 20" in desk.refusal(put(value=b"v" * 21))
        assert "the limit is 2" in desk.refusal(put(count=3))

    def test_they_change_while_it_runs(self):
        desk = Desk()
        assert desk.refusal(put(value=b"v" * 30)) != ""
        desk.machine.settings = LEVEL_1._replace(version=2, value_bytes_max=30)
        assert desk.refusal(put(value=b"v" * 30)) == ""
        desk.machine.settings = LEVEL_1._replace(version=3, value_bytes_max=10)
        assert desk.refusal(put(value=b"v" * 30)) != ""

    def test_an_open_with_a_name_is_refused_below_its_level(self):
        """There a client opens without one; decided nevertheless, it opens nothing on any node."""
        desk = Desk()
        entry = Entry(0, 1, 0, [[OPEN, "anna@web1"]])
        assert desk.refusal(entry) == "open takes 0 arguments, not 1"
        desk.machine.settings = LEVEL_1._replace(version=2, level=LEVEL_CLIENT_NAMES)
        assert desk.refusal(entry) == ""

    def test_reads_know_them_too(self):
        desk = Desk()
        desk.service.receive(b"c", ReadRequest(1, STALE, [[GET, b"k" * 9]]))
        (answer,) = desk.answers
        assert "the limit is 8" in answer.message


class TestChanges:
    def test_one_is_submitted(self):
        assert Desk().change(value_bytes_max=99) == ""

    def test_at_level_0_it_says_what_is_missing(self):
        words = Desk(ClusterSettings()).change(0, level=1)
        assert "feature level 0" in words
        assert "paxosctl cluster show" in words

    @pytest.mark.parametrize("changes", [{"genesis": "ab"}, {"level": 99}, {"level": 0}])
    def test_the_level_and_the_genesis_are_not_for_clients(self, changes):
        assert Desk().change(**changes) != ""

    def test_a_level_that_nobody_knows_reaches_no_log(self):
        """It would stop every node."""
        for version in (0, 1, 7):
            assert f"this program knows {LEVEL_LATEST}" in Desk().change(version, level=99)

    def test_what_is_none_is_said_in_words(self):
        assert "sessions_max is a number from 1" in Desk().change(sessions_max=0)

    def test_of_another_version_the_log_says_so(self):
        assert Desk().change(0, value_bytes_max=99) == ""

    def test_it_comes_alone(self):
        command = [CLUSTER, 1, 0, LEVEL_1.to_command()]
        assert "alone" in Desk().refusal(Entry(0, 1, 0, [command, [OPEN]]))

    def test_what_does_not_fit_into_messages(self):
        desk = Desk(room=MessageRoom(65_536, 1024))
        assert desk.change(value_bytes_max=30_000) == ""
        assert "limits.message_bytes_max" in desk.change(value_bytes_max=31_000)
        wide = Desk(room=MessageRoom(65_536, 50_000))
        assert "limits.message_bytes_max" in wide.change(value_bytes_max=12_000)
