"""Who changed a key: from logs and snapshots made by hand, and from those of the version before."""

import json
import tarfile
from pathlib import Path

import pytest

from paxosctl.inspection.ballot_story import leadership
from paxosctl.inspection.blame import blame
from paxosctl.inspection.chosen_values import read_chosen
from paxosctl.inspection.explanation import explain_slot
from paxosctl.inspection.recordings import Window, opened
from paxosctl.inspection.request_story import key_story
from paxosctl.inspection.slot_story import slot_story
from paxosctl.inspection.story_views import key_view, slot_view
from paxosctl.inspection.wal_entries import commands_of, logged_values
from paxosd.core.cluster_settings import LEVEL_CLIENT_NAMES, LEVEL_COORDINATION, ClusterSettings
from paxosd.core.commands import (
    CAS_VALUE,
    CLOSE,
    DELETE,
    DELETE_RANGE,
    GRANT,
    MEMBERS,
    OPEN,
    PUT,
    REVOKE,
    TXN,
    Entry,
    Reign,
)
from paxosd.core.lease_bounds import FIRST_ID
from paxosd.core.membership import Member, Membership
from paxosd.core.state.machine import Machine
from paxosd.core.transactions import ADD
from paxosd.core.types import Ballot
from paxosd.snapshot.file import snapshot_name
from paxosd.storage import restored_from
from paxosd.storage.disk import RealDisk
from paxosd.storage.wal_format import ACCEPT, DECISION, HEADER_BYTES, GroupBuilder, SegmentHeader
from paxosd.wire.entry import decode_batch, encode_batch, encode_entry
from tests.ctl.inspection.made import healthy
from tests.snapshot.test_file import written

B1, B2 = Ballot(1, "n1"), Ballot(2, "n2")
BASE_MS = 1_800_000_000_000
SETTINGS = ClusterSettings(level=LEVEL_CLIENT_NAMES)
FIXTURE = Path(__file__).parents[2] / "fixtures" / "before_names.tar.xz"


class Story:
    """Values of slots, as a leader makes them."""

    def __init__(self):
        self.values = {}
        self.add(SETTINGS.to_entry(ClusterSettings(), 0))

    def add(self, *entries, leader="n1"):
        slot = len(self.values) + 1
        reign = Reign(1, leader, 10 * slot)
        self.values[slot] = encode_batch(BASE_MS + slot, map(encode_entry, entries), reign)
        return slot

    def open(self, name):
        return self.add(Entry(0, 1, 0, [[OPEN, name] if name else [OPEN]]))

    def of(self, session, seq, *commands):
        return self.add(Entry(session, seq, 0, list(commands)))

    def machine(self, until):
        machine = Machine()
        for slot in range(1, until + 1):
            machine.apply(slot, decode_batch(self.values[slot]), self.values[slot])
        return machine


def make_log(home, node, records, commit=0, torn=(), cluster="c"):
    """The log of a node: a whole group of (kind, slot, ballot, value), and one that is torn."""
    header = SegmentHeader(1, b"12345678", 1 << 16, cluster, node)
    group = GroupBuilder(header, 1, HEADER_BYTES)
    for kind, slot, ballot, value in records:
        group.add_value(kind, slot, ballot, value)
    if commit:
        group.add_commit(commit)
    group.finish()
    last = GroupBuilder(header, 2, group.offset)
    for kind, slot, ballot, value in torn:
        last.add_value(kind, slot, ballot, value)
    wal = home / node / "wal"
    wal.mkdir(parents=True, exist_ok=True)
    body = header.encode() + b"".join(bytes(each) for each in (*group.buffers, *last.buffers))
    (wal / header.name).write_bytes(body.ljust(1 << 16, b"\0"))
    return wal


def make_snapshot(wal, machine):
    disk, info = written(machine)
    (wal / snapshot_name(info.slot)).write_bytes(disk.files[snapshot_name(info.slot)].data)


def votes(story, first=1, ballot=B1):
    return [(ACCEPT, s, ballot, v) for s, v in sorted(story.values.items()) if s >= first]


def told(found):
    return [
        (e.change.slot, e.change.revision, e.op, e.change.value, e.client) for e in found.changes
    ]


@pytest.fixture
def story():
    """Slots 2 to 9: anna puts and leaves, ben hits and misses a cas, somebody removes all."""
    story = Story()
    story.open("anna@web1")
    story.open("ben@web2")
    story.of(1, 1, [PUT, b"k", b"1"], [PUT, b"other", b"x"])
    story.of(1, 2, [PUT, b"other", b"x"], [CLOSE])
    story.of(2, 1, [CAS_VALUE, b"k", b"0", b"no"], [CAS_VALUE, b"k", b"1", b"2"])
    story.of(2, 2, [CAS_VALUE, b"k", b"1", b"2"])
    story.open("")
    story.of(3, 1, [DELETE, b"kk"], [DELETE_RANGE, b"k", b"l"])
    return story


WHOLE = [
    (4, 1, "put", b"1", "anna@web1"),
    (6, 3, "cas", b"2", "ben@web2"),
    (9, 4, "delete prefix", None, None),
]


def test_each_change_with_its_revision_and_who_made_it(tmp_path, story):
    """What missed, found nothing or came once more is no change."""
    wal = make_log(tmp_path, "n1", votes(story), commit=9)
    found = blame([wal], b"k", [])
    assert told(found) == WHOLE
    assert [each.leader for each in found.changes] == ["n1"] * 3
    assert found.changes[0].command.stamp_ms == BASE_MS + 4
    assert (found.first, found.last, found.first_ms) == (1, 9, BASE_MS + 1)
    assert "gave none" in found.changes[2].why_nameless


def test_the_keys_of_a_prefix(tmp_path, story):
    wal = make_log(tmp_path, "n1", votes(story), commit=9)
    found = blame([wal], b"", [], prefix=True)
    assert [(e.change.key, e.change.revision) for e in found.changes] == [
        (b"k", 1), (b"other", 2), (b"k", 3), (b"k", 4),
    ]  # fmt: skip
    assert told(blame([wal], b"oth", [], prefix=True))[0][:2] == (4, 2)


def test_names_outlive_the_session_and_the_part_of_the_log_that_named_it(tmp_path, story):
    """The log begins behind both OPENs; anna's session has ended before the snapshot."""
    wal = make_log(tmp_path, "n1", votes(story, first=4), commit=9)
    make_snapshot(wal, story.machine(5))
    found = blame([wal], b"k", [])
    assert told(found) == [(4, 0, "put", b"1", "anna@web1"), *WHOLE[1:]]
    assert found.present == {b"k": 1}
    (wal / snapshot_name(5)).unlink()
    without = blame([wal], b"k", [])
    assert told(without)[0] == (4, 0, "put", b"1", None)
    assert "no log and no snapshot" in without.changes[0].why_nameless


def test_the_earliest_snapshot_that_the_log_goes_on_from(tmp_path, story):
    wals = [make_log(tmp_path, name, votes(story, first=4), commit=9) for name in ("n1", "n2")]
    make_snapshot(wals[0], story.machine(7))
    make_snapshot(wals[1], story.machine(3))
    assert told(blame(wals, b"k", [])) == WHOLE
    (wals[1] / snapshot_name(3)).write_bytes(b"PXSNAP\r\n and then nothing")
    problems = []
    assert [each[1] for each in told(blame(wals, b"k", problems))] == [0, 0, 0, 0, 4]
    assert any(snapshot_name(3) in words for words in problems)


def test_a_gap_in_the_log_is_said(tmp_path, story):
    records = [each for each in votes(story) if each[1] not in (6, 7)]
    wal = make_log(tmp_path, "n1", records, commit=9)
    make_snapshot(wal, story.machine(7))
    problems = []
    assert told(blame([wal], b"k", problems)) == [WHOLE[0], WHOLE[2]]
    assert problems == ["slots 6 to 7 are in no log that was read"]


class TestChosen:
    """Only what was chosen is somebody's doing."""

    def test_a_vote_above_the_commit_index_is_none(self, tmp_path, story):
        wal = make_log(tmp_path, "n1", votes(story), commit=5)
        found = blame([wal], b"k", [])
        assert told(found) == WHOLE[:1]
        assert found.replayed.unproven == 4

    def test_the_votes_of_a_quorum_are(self, tmp_path):
        story = Story()
        members = {name: Member(name, name, name) for name in ("n1", "n2", "n3")}
        story.add(Entry(0, 1, 0, [[MEMBERS, 0, Membership(members).to_command()]]))
        story.open("anna")
        story.of(1, 1, [PUT, b"k", b"1"])
        wals = [make_log(tmp_path, "n1", votes(story), commit=2)]
        assert told(blame(wals, b"k", [])) == []
        wals.append(make_log(tmp_path, "n2", votes(story)))
        assert told(blame(wals, b"k", [])) == [(4, 1, "put", b"1", "anna")]
        make_log(tmp_path, "n2", votes(story)[:3], torn=votes(story)[3:])
        assert told(blame(wals, b"k", [])) == [], "what is not durable is no vote"

    def test_a_decision_counts_and_an_older_vote_of_another_node_does_not(self, tmp_path, story):
        mine = encode_batch(BASE_MS, [encode_entry(Entry(1, 1, 0, [[PUT, b"k", b"lost"]]))])
        old = [(kind, s, B1, mine if s == 4 else value) for kind, s, _, value in votes(story)]
        new = [(DECISION, s, B2, value) for s, value in story.values.items()]
        wals = [make_log(tmp_path, "n1", old, commit=3), make_log(tmp_path, "n2", new)]
        assert told(blame(wals, b"k", [])) == told(blame(wals[::-1], b"k", [])) == WHOLE

    def test_logs_of_two_clusters_are_not_mixed(self, tmp_path, story):
        wals = [make_log(tmp_path, "n1", votes(story), commit=9),
                make_log(tmp_path, "n2", votes(story), commit=9, cluster="d")]  # fmt: skip
        problems = []
        assert read_chosen(wals, problems).nodes == ["n1"]
        assert "cluster d" in problems[0]


class TestVerb:
    def test_the_table_says_how_far_it_goes(self, tmp_path, story, ctl):
        make_snapshot(make_log(tmp_path, "n1", votes(story, first=4), commit=9), story.machine(5))
        code, out, _ = ctl("blame", "k", str(tmp_path))
        assert code == 0
        assert "anna@web1" in out
        words = " ".join(out.split())
        assert "from the logs of n1: slots 4 to 9" in words
        assert "up to slot 5 took effect" in words
        assert "the client of session 3 is not known, because" in words

    def test_a_name_of_blanks_is_seen(self, tmp_path, ctl):
        story = Story()
        story.open("  ")
        story.of(1, 1, [PUT, b"k", b"1"])
        make_log(tmp_path, "n1", votes(story), commit=3)
        assert ctl("blame", "k", str(tmp_path))[1].splitlines()[1].endswith('  "  "')

    def test_for_programs(self, tmp_path, story, ctl):
        make_log(tmp_path, "n1", votes(story), commit=9)
        code, out, _ = ctl("blame", "k", str(tmp_path), "-o", "json")
        body = json.loads(out)
        assert (code, body["first_slot"], body["last_revision"]) == (0, 1, 4)
        assert [each["client"] for each in body["changes"]] == ["anna@web1", "ben@web2", None]
        until = ("--until", "2027-01-15T08:00:00.004")
        code, out, _ = ctl("blame", "k", str(tmp_path), "-o", "plain", *until)
        assert (code, out.count("\n")) == (0, 1)

    def test_no_change_is_negative(self, tmp_path, story, ctl):
        make_log(tmp_path, "n1", votes(story), commit=9)
        code, _, err = ctl("blame", "never", str(tmp_path))
        assert code == 1
        assert "slots 1 to 9" in err

    def test_directories_of_the_version_before(self, tmp_path, ctl):
        """Every change is there; who made it is not, and it says why."""
        with tarfile.open(FIXTURE) as archive:
            archive.extractall(tmp_path, filter="data")
        code, out, _ = ctl("blame", "key/003", str(tmp_path / "three"), "-o", "json")
        changes = json.loads(out)["changes"]
        assert code == 0
        found = [(each["revision"], each["value"]) for each in changes]
        assert found == [(4, "value 3"), (62, "written again")]
        assert all(each["leader"] for each in changes)
        assert all("below feature level 3" in each["why_nameless"] for each in changes)
        code, out, _ = ctl("audit", str(tmp_path / "three"), "-o", "json")
        assert code == 0, out


def test_keys_that_went_with_their_lease(tmp_path):
    """No command of their slot names them: by whose lease they went is said."""
    story = Story()
    level = ClusterSettings(level=LEVEL_COORDINATION)
    story.values.clear()
    story.add(level.to_entry(ClusterSettings(), 0))
    story.open("anna@web1")
    story.of(1, 1, [GRANT, 1000, 0], [GRANT, 1000, 0], [PUT, b"k", b"1", FIRST_ID])
    story.of(1, 4, [PUT, b"kk", b"2", FIRST_ID + 1])
    story.of(1, 5, [REVOKE, FIRST_ID + 1])
    for _ in range(5):
        story.values[len(story.values) + 1] = encode_batch(
            BASE_MS, [], Reign(1, "n1", 300 * len(story.values))
        )
    story.of(1, 6, [PUT, b"k", b"3"])
    wal = make_log(tmp_path, "n1", votes(story), commit=len(story.values))
    slot = next(
        each.change.slot for each in blame([wal], b"k", []).changes if each.op == "lease expired"
    )
    assert told(blame([wal], b"k", [], prefix=True)) == [
        (3, 1, "put", b"1", "anna@web1"),
        (4, 2, "put", b"2", "anna@web1"),
        (5, 3, "lease revoked", None, "anna@web1"),
        (slot, 4, "lease expired", None, "anna@web1"),
        (11, 5, "put", b"3", "anna@web1"),
    ]


def test_the_story_of_a_key_says_what_changed_it(tmp_path):
    """The ends of leases are there, though no command names the key; what was refused is marked."""
    story = Story()
    story.values.clear()
    story.add(ClusterSettings(level=LEVEL_COORDINATION).to_entry(ClusterSettings(), 0))
    story.open("anna@web1")
    story.of(1, 1, [GRANT, 1000, 0], [PUT, b"k", b"1", FIRST_ID], [PUT, b"k", b"2", FIRST_ID + 9])
    story.of(1, 4, [REVOKE, FIRST_ID])
    healthy(tmp_path)
    make_log(tmp_path, "n1", votes(story)[:-1], commit=3)
    with opened([str(tmp_path)]) as recordings:
        view = key_view(key_story(recordings, b"k", Window()))
        assert [(row[1], row[2], row[4]) for row in view.rows] == [
            ("3", "1", "put"), ("3", "no change", "put"),
        ]  # fmt: skip
        assert [each["changed"] for each in view.data["changes"]] == [True, False]
        make_log(tmp_path, "n1", votes(story), commit=4)
        view = key_view(key_story(recordings, b"k", Window()))
        assert [(row[1], row[2], row[4]) for row in view.rows][-1] == ("4", "2", "lease revoked")
        found = slot_story(recordings, 3, Window(), leadership(recordings))
        assert [note for note in slot_view(found).notes if note.startswith("in it")] == [
            "in it: lease granted for 1 s, request 1/1",
            f"in it: put k (lease {FIRST_ID}), request 1/2",
            f"in it: put k (lease {FIRST_ID + 9}), request 1/3",
        ]
        said = explain_slot(leadership(recordings), found)
        assert any("In it, by the log of n1: lease granted for 1 s; put k" in each.text
                   for each in said.sentences)  # fmt: skip


def test_changes_of_a_transaction(tmp_path):
    """With a state to apply it to, what it did; without, what either branch asks for."""
    story = Story()
    story.values.clear()
    story.add(ClusterSettings(level=LEVEL_COORDINATION).to_entry(ClusterSettings(), 0))
    story.open("anna@web1")
    inner = [TXN, [], [[DELETE_RANGE, b"a", b"c"]], [[ADD, b"n", 1]]]
    slot = story.of(1, 1, [TXN, [], [[PUT, b"k", b"1"]], [[PUT, b"l", b"2"], inner]])
    wal = make_log(tmp_path, "n1", votes(story), commit=slot)
    assert told(blame([wal], b"k", [])) == [(slot, 1, "txn", b"1", "anna@web1")]
    assert not blame([wal], b"l", []).changes
    make_log(tmp_path, "n1", votes(story, first=slot), commit=slot)
    for key in (b"k", b"l", b"b", b"n"):
        assert [e.change.revision for e in blame([wal], key, []).changes] == [0]
        (command,) = commands_of(logged_values(wal, []), key)
        assert (command.concerns(key), command.op) == (True, "txn")
    assert not any(map(command.concerns, (b"c", b"kk", b"m")))


def test_of_a_restored_cluster_it_says_where_that_came_from(tmp_path, story, ctl):
    wal = make_log(tmp_path, "n1", votes(story, first=7), commit=9)
    make_snapshot(wal, story.machine(6))
    restored_from.write(RealDisk(tmp_path / "n1"), "old-cluster", 6, 3)
    _, out, _ = ctl("blame", "k", str(tmp_path))
    assert "restored from a snapshot of old-cluster as of slot 6 and revision 3; its " in out
    assert "were given back" not in out
