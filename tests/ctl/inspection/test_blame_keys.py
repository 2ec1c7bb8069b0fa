"""Who changed a key where clients have keys: the principal is by the key, not by the name."""

import pytest

from paxosctl.inspection.blame import blame
from paxosctl.inspection.blame_view import blame_view
from paxosd.core.cluster_settings import LEVEL_KEYS, ClusterSettings
from paxosd.core.commands import OPEN, PUT, RIGHTS, Entry
from paxosd.core.rights import CLIENT, Principal, RightsTable, admin_of
from paxosd.net.key_files import key_text
from tests.ctl.inspection.test_blame import Story, make_log, make_snapshot, votes

ROOT, APP, GONE = b"r" * 32, b"a" * 32, b"g" * 32


def table(version, *more):
    return RightsTable(version, True, tuple(sorted((admin_of("root", (ROOT,)), *more))))


def holder(name, *keys):
    return Principal(name, CLIENT, (b"",), (b"",), keys)


class KeyedStory(Story):
    """Slot 2: the first table; from 3 on APP opens session 1 as "backup", and writes."""

    def __init__(self):
        super().__init__()
        self.values.clear()
        self.add(ClusterSettings(level=LEVEL_KEYS).to_entry(ClusterSettings(), 0))
        self.rights(0, table(1, holder("app1", APP)), b"")
        self.add(Entry(0, 1, 0, [[OPEN, "backup", APP]]))
        self.of(1, 1, [PUT, b"k", b"1"])

    def rights(self, version, next_table, key):
        self.add(Entry(0, 1, 0, [[RIGHTS, version, next_table.to_command(), key]]))


@pytest.fixture
def story():
    return KeyedStory()


def logged(tmp_path, story, first=1):
    return make_log(tmp_path, "n1", votes(story, first), commit=len(story.values))


def test_the_principal_stands_beside_the_name_that_the_client_gave(tmp_path, story):
    found = blame([logged(tmp_path, story)], b"k", [])
    view = blame_view(found, found.changes)
    assert view.columns[-2:] == ("client", "principal")
    assert [row[-2:] for row in view.rows] == [("backup", "app1")]
    [change] = view.data["changes"]
    assert (change["client"], change["principal"]) == ("backup", "app1")
    assert change["public_key"] == key_text(APP)
    assert view.notes[-1].startswith("the principal is who has the key")


def test_it_is_who_had_the_key_then(tmp_path, story):
    """The key was revoked afterwards, and given to nobody."""
    story.rights(1, table(2), ROOT)
    found = blame([logged(tmp_path, story)], b"k", [])
    assert [each.principal for each in found.changes] == ["app1"]


def test_a_key_that_was_nobodys_is_named_itself(tmp_path):
    story = Story()
    story.values.clear()
    story.add(ClusterSettings(level=LEVEL_KEYS).to_entry(ClusterSettings(), 0))
    story.add(Entry(0, 1, 0, [[OPEN, "backup", GONE]]))  # rights were not required yet
    story.of(1, 1, [PUT, b"k", b"1"])
    found = blame([logged(tmp_path, story)], b"k", [])
    assert blame_view(found, found.changes).rows[0][-1] == f"key {key_text(GONE)}"
    assert blame_view(found, found.changes).data["changes"][0]["principal"] is None


def test_it_is_known_from_a_snapshot_where_the_open_is_gone(tmp_path, story):
    machine = story.machine(4)
    story.of(1, 2, [PUT, b"k", b"2"])
    wal = logged(tmp_path, story, first=4)
    make_snapshot(wal, machine)
    found = blame([wal], b"k", [])
    assert [(e.change.revision, e.principal) for e in found.changes] == [(0, "app1"), (2, "app1")]


def test_without_keys_there_is_no_such_column(tmp_path):
    story = Story()
    story.open("anna")
    story.of(1, 1, [PUT, b"k", b"1"])
    found = blame([logged(tmp_path, story)], b"k", [])
    view = blame_view(found, found.changes)
    assert view.columns[-1] == "client"
    assert view.rows[0][-1] == "anna"
    assert view.plain.endswith(b"\tanna\t-\n")
    assert view.data["changes"][0]["public_key"] is None
