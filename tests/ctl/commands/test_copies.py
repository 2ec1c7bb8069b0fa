"""export and import: any bytes there and back, files that are cut off, imports that end early."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paxosctl.cli.progress_line import left_words
from paxosctl.client.client import Client
from paxosctl.commands import copies
from paxosctl.commands.key_lines import (
    KeyLine,
    KeyLineError,
    end_line,
    head_line,
    read_lines,
    row_line,
)
from paxosd.core.cluster_settings import LEVEL_COORDINATION, ClusterSettings
from paxosd.core.commands import KeyValue
from tests.ctl.fake_daemon import closed_port


def lines(*rows):
    """As export writes them."""
    body = [row_line(KeyValue(key, value, 1, 1, 1)) for key, value in rows]
    return [head_line("c", b"", 1), *body, end_line(len(rows), 1)]


class TestFormat:
    @given(st.lists(st.tuples(st.binary(min_size=1), st.binary())))
    def test_any_bytes_come_back(self, rows):
        expected = [KeyLine(n, key, value) for n, (key, value) in enumerate(rows, 2)]
        assert list(read_lines(lines(*rows))) == expected

    def test_it_is_one_line_for_a_key_in_plain_json(self):
        written = row_line(KeyValue("ä".encode(), b"a\nb\xff", 3, 5, 2))
        assert written.count(b"\n") == 1
        assert json.loads(written) == {
            "key": "ä", "value": {"b64": "YQpi/w=="}, "create_revision": 3, "modify_revision": 5,
            "version": 2,
        }  # fmt: skip

    def test_lines_of_other_programs_need_key_and_value_alone(self):
        given_lines = [b'{"key":"a","value":"1","ttl":5}\n', b"\n", b'{"value":"","key":"b"}']
        assert list(read_lines(given_lines)) == [KeyLine(1, b"a", b"1"), KeyLine(3, b"b", b"")]

    @pytest.mark.parametrize(
        ("line", "words"),
        [
            (b"{", "line 2 is no JSON"), (b"[1]", "line 2 is no JSON object"),
            (b"\xff", "line 2 is no text in UTF-8"), (b"{}", "line 2: key must be text"),
            (b'{"key":"a"}', "line 2: value must be text"),
            (b'{"key":"","value":""}', "line 2: the key is empty"),
            (b'{"key":"a","value":5}', "line 2: value must be text"),
            (b'{"key":"a","value":{"b64":"?"}}', "value is not base64"),
            (b'{"key":"a","value":{"b64":"","x":1}}', "line 2: value must be text"),
            (b'{"key":"\\ud800","value":""}', "half a surrogate pair"),
            (b'{"format":"other","version":1}', "not the beginning"),
            (b'{"end":true,"keys":9}', "was to have 9 keys, and has 1"),
            (b'{"key":"b","value":"1","value":"2"}', "^line 2: it has 'value' twice"),
            (b'{"key":"b","value":{"b64":"","b64":"AA=="}}', "^line 2: it has 'b64' twice"),
        ],
    )  # fmt: skip
    def test_what_is_no_such_line_is_named(self, line, words):
        rows = read_lines([b'{"key":"a","value":""}', line])
        assert next(rows).key == b"a"
        with pytest.raises(KeyLineError, match=words):
            list(rows)

    def test_a_file_that_is_cut_off_is_noticed(self):
        whole = lines((b"a", b"1"), (b"b", b"2"))
        for count in range(1, len(whole)):
            with pytest.raises(KeyLineError, match="cut off"):
                list(read_lines(whole[:count]))
        with pytest.raises(KeyLineError, match="something follows"):
            list(read_lines([*whole, b'{"key":"c","value":""}']))
        with pytest.raises(KeyLineError, match="not the beginning"):
            list(read_lines(whole[:-1] + whole))


ODD = {b"app/text": b"plain", b"app/\xff": b"\x00\n\x1b[2J", b"app/\n": b"", b"other": b"no"}


def fill(daemon, rows=ODD):
    with Client([daemon.endpoint]) as client:
        for key, value in rows.items():
            client.put(key, value)


def held(daemon):
    with Client([daemon.endpoint]) as client:
        return {row.key: row.value for row in client.scan(b"")}


class TestVerbs:
    def test_what_was_exported_is_imported_byte_for_byte(self, ctl, daemon, tmp_path):
        fill(daemon)
        code, out, err = ctl("export", "--prefix", "app/")
        assert (code, err) == (0, "3 keys exported, as of revision 4\n")
        target = tmp_path / "keys"
        assert ctl("export", "--prefix", "app/", "-o", str(target))[0] == 0
        assert target.read_text() == out
        assert ctl("export", "-o", str(target))[0] == 1  # it exists
        assert ctl("delete", "app/", "--prefix")[0] == 0
        assert ctl("import", str(target))[:2] == (0, "3 keys imported, 0 skipped\n")
        assert held(daemon) == ODD
        code, _, _ = ctl("delete", "", "--prefix", "--all")
        assert ctl("import", stdin=out.encode("utf-8", "surrogateescape"))[0] == 0
        assert held(daemon) == {k: v for k, v in ODD.items() if k != b"other"}

    def test_keys_that_exist_can_be_left_alone(self, ctl, daemon, tmp_path):
        fill(daemon, {b"a": b"mine"})
        file = tmp_path / "keys"
        file.write_bytes(b"".join(lines((b"a", b"1"), (b"b", b"2"))))
        code, out, _ = ctl("import", "--skip-existing", str(file), "-o", "json")
        assert (code, json.loads(out)) == (
            0, {"imported": 1, "skipped": 1, "keys": 2, "lines": 3, "dry_run": False}
        )  # fmt: skip
        assert held(daemon) == {b"a": b"mine", b"b": b"2"}
        assert ctl("import", str(file))[0] == 0
        assert held(daemon) == {b"a": b"1", b"b": b"2"}

    def test_a_dry_run_reads_all_and_writes_nothing(self, ctl, daemon, tmp_path):
        file = tmp_path / "keys"
        file.write_bytes(b"".join(lines((b"a", b"1"))))
        assert ctl("import", "--dry-run", str(file))[:2] == (
            0, "1 key can be imported; nothing was written\n"
        )  # fmt: skip
        file.write_bytes(file.read_bytes()[:-5])
        assert ctl("import", "--dry-run", str(file))[0] == 1
        assert held(daemon) == {}

    def test_one_that_ends_early_says_how_far_it_came(self, ctl, daemon):
        code, _, err = ctl("import", stdin=b'{"key":"a","value":"1"}\n{"key":"b"}\n')
        assert code == 1
        assert "line 2: value must be text" in err
        assert held(daemon) in ({}, {b"a": b"1"})
        rows = b'{"key":"a","value":"1"}\n{"key":"%s","value":"1"}\n' % (5000 * b"k")
        code, _, err = ctl("import", stdin=rows)
        assert code == 77
        assert "everything up to line 1 is written (1 key, 0 skipped)" in err

    def test_of_one_key_twice_the_last_line_counts(self, ctl, daemon):
        rows = b"".join(b'{"key":"a","value":"%d"}\n' % n for n in range(600))
        assert ctl("import", stdin=rows)[0] == 0
        assert held(daemon) == {b"a": b"599"}

    def test_many_are_under_way_and_none_is_lost(self, ctl, daemon, monkeypatch):
        monkeypatch.setattr(copies, "UNDER_WAY_MAX", 50)
        rows = b"".join(b'{"key":"%d","value":"v"}\n' % n for n in range(700))
        assert ctl("import", stdin=rows)[:2] == (0, "700 keys imported, 0 skipped\n")
        assert len(held(daemon)) == 700

    def test_nobody_there(self, ctl):
        rows = b'{"key":"a","value":"1"}\n'
        code, _, err = ctl("import", stdin=rows, endpoints=closed_port())
        assert code == 69
        assert "nothing is known to be written" in err
        assert ctl("import", "--dry-run", stdin=rows, endpoints=closed_port())[0] == 0

    def test_a_file_that_is_not_there(self, ctl):
        code, _, err = ctl("import", "/nonexistent/file")
        assert code == 74
        assert "cannot be read" in err


class TestOneRevision:
    @pytest.fixture
    def beside(self, daemon, monkeypatch):
        """Makes an export of ``count`` keys beside writes, which come after its first page."""

        def prepare(count, history_revisions, writes):
            daemon.machine.settings = ClusterSettings(
                1, LEVEL_COORDINATION, history_revisions=history_revisions
            )
            fill(daemon, {b"k/%03d" % number: bytes([number]) * 99 for number in range(count)})
            waiting = [writes]

            def line(row):
                if waiting:
                    with Client([daemon.endpoint]) as client:
                        waiting.pop()(client)
                return row_line(row)

            monkeypatch.setattr(copies, "row_line", line)

        return prepare

    def test_what_is_written_meanwhile_is_not_in_it(self, ctl, daemon, beside, tmp_path):
        def writes(client):
            client.put(b"k/059", b"later")
            client.delete(b"k/030")
            client.put(b"k/after", b"later")

        beside(60, 1000, writes)
        target = tmp_path / "keys"
        assert ctl("export", "-o", str(target))[0] == 0
        first, *_, last = map(json.loads, target.read_bytes().splitlines())
        assert (first["revision"], last["revision"], last["keys"]) == (60, 60, 60)
        assert ctl("delete", "", "--prefix", "--all")[0] == 0
        assert ctl("import", str(target))[0] == 0
        assert held(daemon) == {b"k/%03d" % number: bytes([number]) * 99 for number in range(60)}

    def test_a_history_that_is_too_short_is_an_error_and_no_file(self, ctl, beside, tmp_path):
        def writes(client):
            for number in range(40):  # a slot for each: history goes by slots
                client.put(b"other", b"%d" % number)

        beside(60, 16, writes)
        target = tmp_path / "keys"
        code, _, err = ctl("export", "-o", str(target))
        assert code == 77, err
        assert "the scan is of revision 60, and took too long" in err
        assert "history_revisions=N` keeps more" in err
        assert list(tmp_path.iterdir()) == []


def test_the_time_that_is_left():
    assert left_words(30.0, 0.25) == ", 25%, 90 s left"
    assert left_words(30.0, 0.0) == left_words(30.0, 1.5) == ""
