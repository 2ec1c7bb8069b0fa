"""get of an earlier revision, without values, backwards or only counted; and what watch adds: the
value before, one kind alone, marks of progress, a line for each revision."""

import json

import pytest

from paxosctl.client.client import Client
from paxosctl.client.results import Progress
from paxosctl.commands import watch
from paxosd.core.cluster_settings import LEVEL_COORDINATION, ClusterSettings


@pytest.fixture
def ctl(daemon, ctl):
    """With three keys, of which one was changed and one deleted, by revisions 1 to 5."""
    daemon.machine.settings = ClusterSettings(1, LEVEL_COORDINATION)
    for words in (("put", "a", "1"), ("put", "b", "1"), ("put", "a", "2"), ("delete", "b"),
                  ("put", "c", "1")):  # fmt: skip
        assert ctl(*words)[0] == 0
    return ctl


class TestGet:
    def test_a_key_as_it_was(self, ctl):
        assert ctl("get", "a", "--revision", "2", "-o", "plain") == (0, "1", "")
        assert ctl("get", "b", "--revision", "3")[:2] == (0, "1\n")
        assert ctl("get", "b", "--revision", "4")[0] == 1
        found = json.loads(ctl("get", "a", "--revision", "2", "-o", "json")[1])
        assert (found["revision"], found["modify_revision"]) == (2, 1)

    def test_several_keys_as_they_were(self, ctl):
        found = json.loads(ctl("get", "a", "b", "--revision", "3", "-o", "json")[1])
        assert [(row["key"], row["value"]) for row in found["rows"]] == [("a", "2"), ("b", "1")]
        assert found["revision"] == 3

    def test_a_scan_as_it_was(self, ctl):
        scan = ("get", "", "--prefix", "-o", "plain")
        assert ctl(*scan, "--revision", "3")[:2] == (0, "a\t2\nb\t1\n")
        assert ctl(*scan)[:2] == (0, "a\t2\nc\t1\n")

    def test_a_revision_that_is_kept_no_longer_is_refused(self, ctl):
        assert ctl("cluster", "set", "history_revisions=0")[0] == 0
        ctl("put", "c", "2")  # from the next slot on
        code, out, err = ctl("get", "a", "--revision", "2")
        assert (code, out) == (77, "")
        assert "history_revisions" in err
        code, _, err = ctl("get", "a", "--revision", "2", "-o", "json")
        assert code == 77
        assert json.loads(err)["first_revision"] == 6
        assert ctl("get", "a", "--revision", "6")[0] == 0

    def test_a_revision_that_is_not_there_yet_is_no_empty_answer(self, ctl):
        code, out, err = ctl("get", "a", "--revision", "99")
        assert code not in (0, 1)
        assert out == ""
        assert "99" in err

    def test_a_scan_without_values_and_backwards(self, ctl):
        scan = ("get", "", "--prefix")
        assert ctl(*scan, "--keys-only", "-o", "plain")[:2] == (0, "a\nc\n")
        assert ctl(*scan, "--reverse", "-o", "plain")[:2] == (0, "c\t1\na\t2\n")
        assert ctl(*scan, "--reverse", "--limit", "1", "-o", "plain")[:2] == (0, "c\t1\n")
        rows = json.loads(ctl(*scan, "--keys-only", "-o", "json")[1])["rows"]
        assert [row["key"] for row in rows] == ["a", "c"]
        assert not any("value" in row for row in rows)

    def test_a_count(self, ctl):
        count = ("get", "", "--prefix", "--count-only", "-o", "plain")
        assert ctl(*count)[:2] == (0, "2\n")
        assert ctl(*count, "--revision", "2")[:2] == (0, "2\n")
        assert ctl("get", "b", *count[2:])[:2] == (0, "0\n")

    @pytest.mark.parametrize("option", ["--keys-only", "--count-only", "--reverse"])
    def test_what_is_of_scans_goes_with_prefix(self, ctl, option):
        code, _, err = ctl("get", "a", option)
        assert code == 2
        assert f"{option} goes with --prefix" in err

    @pytest.mark.parametrize("other", [["--limit", "1"], ["--meta"], ["--reverse"]])
    def test_a_count_has_no_rows(self, ctl, other):
        assert ctl("get", "", "--prefix", "--count-only", *other)[0] == 2


class TestWatch:
    FROM = ("watch", "", "--prefix", "--from-revision", "3")

    def test_with_the_value_before(self, ctl):
        out = ctl(*self.FROM, "--prev", "--count", "3", "-o", "plain")[1]
        assert out == "put\ta\t2\t1\ndelete\tb\t1\nput\tc\t1\t\n"
        lines = ctl(*self.FROM, "--prev", "--count", "3", "-o", "json")[1].splitlines()
        before = [json.loads(line)["previous"] for line in lines]
        assert [row and (row["value"], row["modify_revision"]) for row in before] == [
            ("1", 1), ("1", 2), None,
        ]  # fmt: skip
        assert "(before: 1)" in ctl(*self.FROM, "--prev", "--count", "1")[1]

    def test_without_that_there_is_no_field_of_it(self, ctl):
        out = ctl(*self.FROM, "--count", "1", "-o", "json")[1]
        assert "previous" not in json.loads(out)

    def test_one_kind_alone(self, ctl):
        only = (*self.FROM, "-o", "plain", "--only")
        assert ctl(*only, "puts", "--count", "2")[1] == "put\ta\t2\nput\tc\t1\n"
        assert ctl(*only, "deletes", "--count", "1")[1] == "delete\tb\n"

    def test_a_mark_of_progress_says_what_was_seen(self, ctl, daemon, monkeypatch):
        """What was filtered out counts as seen. A write at the first mark ends the watch."""
        view = watch._view

        def view_and_write(item):
            if isinstance(item, Progress):
                with Client([daemon.endpoint]) as client:
                    client.delete(b"c")
            return view(item)

        monkeypatch.setattr(watch, "_view", view_and_write)
        only = ("--only", "deletes", "--count", "2", "--progress", "20ms")
        lines = ctl(*self.FROM, *only, "-o", "plain")[1].splitlines()
        assert lines[:2] == ["delete\tb", "progress\t5"]
        assert lines[-1] == "delete\tc"

    def test_a_line_for_each_revision(self, ctl):
        ctl("txn", stdin=b"put x 1\nput y 1\n")
        out = ctl(*self.FROM, "--groups", "--count", "5", "-o", "json")[1]
        groups = [json.loads(line) for line in out.splitlines()]
        assert [(each["revision"], len(each["changes"]), each["last"]) for each in groups] == [
            (3, 1, True), (4, 1, True), (5, 1, True), (6, 2, True),
        ]  # fmt: skip

    def test_groups_are_for_programs(self, ctl):
        assert ctl(*self.FROM, "--groups")[0] == 2
