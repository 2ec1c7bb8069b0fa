"""What can be read, what is passed over, and that it is said."""

import gzip
import io
import json
import random
import struct
import zlib

import pytest

from paxosctl.cli.main import run
from paxosctl.cli.streams import StreamError
from paxosctl.inspection import recorded_files, sources
from paxosctl.inspection.follow import HOLD_US, Follower
from paxosctl.inspection.log_lines import LineLosses, read_lines
from paxosctl.inspection.recordings import Window, measure_clocks, opened
from paxosctl.inspection.sources import find_sources
from paxosd.recorder.block import MAGIC, blocks_of
from tests.ctl.fake_daemon import closed_port
from tests.ctl.inspection.made import begin, choose, elect, healthy, trio


def read(*names):
    """(events, what was passed over)."""
    with opened([str(name) for name in names]) as recordings:
        measure_clocks(recordings, Window())
        return list(recordings.events()), recordings.losses()


def lines_of(node, count):
    """A JSON log."""
    made = trio()[node]
    lines = []
    for at in range(count):
        made.at(1_000_000 + at * 1000)
        lines.append(made.line("member.up", "info", at + 1, member="n2"))
    return lines


class TestRecordings:
    def test_a_parent_a_data_directory_a_recorder_directory_and_a_file_are_the_same(self, tmp_path):
        healthy(tmp_path)
        whole = read(tmp_path)[0]
        dirs = [tmp_path / name for name in ("n1", "n2", "n3")]
        assert read(*dirs)[0] == whole
        assert read(*(each / "recorder" for each in dirs))[0] == whole
        files = [each / "recorder" / "rec-00000001.bin" for each in dirs]
        assert read(*files)[0] == whole
        assert read(*files, tmp_path, dirs[0])[0] == whole, "what is given twice is read once"
        copy = tmp_path / "copy"
        copy.write_bytes(files[0].read_bytes())
        assert read(tmp_path, copy)[0] == whole

    def test_a_line_of_the_log_has_its_own_time_and_not_that_of_the_next_turn(self, tmp_path):
        made = trio()["n1"]
        text = made.at(1_000_000).line("member.up", "info", 1, member="n2")
        made.at(5_000_000).recorder.note(text)
        made.write(tmp_path)
        (event,) = read(tmp_path)[0]
        assert event.mono_us == 1_000_000 + made.mono_us

    @pytest.mark.parametrize("dropped", ["n1", "n2"])
    def test_a_file_that_its_running_node_drops_is_named_and_the_rest_is_used(
        self, tmp_path, dropped
    ):
        healthy(tmp_path)
        file = tmp_path / dropped / "recorder" / "rec-00000001.bin"
        with opened([str(tmp_path)]) as recordings:
            measure_clocks(recordings, Window())
            file.unlink()
            assert {event.node for event in recordings.events()} == {"n1", "n2", "n3"} - {dropped}
            assert recordings.nodes[dropped].total_bytes == 0
            (words,) = recordings.losses()
        assert words.startswith(f"{file}: it is gone")

    def test_a_file_that_is_dropped_before_it_is_opened(self, tmp_path, monkeypatch):
        healthy(tmp_path)
        file = tmp_path / "n1" / "recorder" / "rec-00000001.bin"

        def find_then_drop(names, scratch):
            found = find_sources(names, scratch)
            file.unlink()
            return found

        monkeypatch.setattr("paxosctl.inspection.recordings.find_sources", find_then_drop)
        events, losses = read(tmp_path)
        assert {event.node for event in events} == {"n2", "n3"}
        assert losses == [f"{file}: it is gone: the node that runs dropped its oldest file"]

    def test_gzip_and_standard_input(self, tmp_path, monkeypatch):
        healthy(tmp_path)
        path = tmp_path / "n1" / "recorder" / "rec-00000001.bin"
        whole = read(path)[0]
        packed = tmp_path / "packed"
        packed.write_bytes(gzip.compress(path.read_bytes()))
        assert read(packed)[0] == whole
        stdin = io.TextIOWrapper(io.BytesIO(path.read_bytes()))
        monkeypatch.setattr("sys.stdin", stdin)
        assert read("-")[0] == whole

    def test_what_gzip_holds_is_bounded(self, tmp_path, monkeypatch):
        """A bomb of a foreign kind is not unpacked at all, one of a log as far as it may."""
        monkeypatch.setattr(sources, "UNPACKED_BYTES_MAX", 300_000)
        (tmp_path / "zeros.gz").write_bytes(gzip.compress(bytes(50 << 20)))
        line = json.dumps({"ts": "2026-11-29T12:00:00.000000Z", "level": "info", "event": "x.y",
                           "node": "n1", "boot_count": 1, "seq": 1, "mono_ns": 1})  # fmt: skip
        (tmp_path / "log.gz").write_bytes(gzip.compress(f"{line}\n".encode() * 100_000))
        scratch = tmp_path / "scratch"
        scratch.mkdir()
        found = find_sources([f"{tmp_path}/zeros.gz", f"{tmp_path}/log.gz"], scratch)
        (unpacked,) = scratch.iterdir()
        assert unpacked.stat().st_size == 300_000
        assert found.logs == [unpacked]
        assert "no recording and no JSON log" in found.passed_over[0]
        assert "it holds more than 293.0 KiB: what is beyond" in found.passed_over[1]

    def test_a_cut_off_block_costs_itself_and_is_counted(self, tmp_path):
        nodes = healthy(tmp_path)
        nodes["n1"].at(10_000_000).note("node.ready")
        path = nodes["n1"].write(tmp_path)
        whole = len(read(tmp_path)[0])
        path.write_bytes(path.read_bytes()[:-3])
        events, losses = read(tmp_path)
        assert len(events) == whole - 1
        assert any("1 damaged or cut-off block" in each and str(path) in each for each in losses)

    @pytest.mark.parametrize("damaged", [False, True])
    def test_what_is_of_a_time_is_found_without_a_look_at_all_before_it(
        self, tmp_path, monkeypatch, damaged
    ):
        monkeypatch.setattr(recorded_files, "NEAR_BYTES", 600)
        made = trio()["n1"]
        for at in range(300):
            made.at(1_000_000 + at * 1000).sync(at, 250)
            path = made.write(tmp_path)
        data = path.read_bytes()
        if damaged:
            middle = len(data) // 2
            path.write_bytes(data[:middle] + bytes(3000) + data[middle + 3000 :])
        opened_blocks = []

        def counted(data, losses):
            for block in blocks_of(data, losses):
                opened_blocks.append(block)
                yield block

        with opened([str(path)]) as recordings:
            files = recordings.nodes["n1"]
            whole = list(files.events())
            assert len(whole) in ((range(250, 299)) if damaged else (300,))
            monkeypatch.setattr(recorded_files, "blocks_of", counted)
            for since_us in range(whole[0].wall_us, whole[-1].wall_us, 7000):
                opened_blocks.clear()
                found = list(files.events(since_us))
                assert found == [event for event in whole if event.wall_us >= since_us]
                assert damaged or len(opened_blocks) <= len(found) + 20

    def test_a_later_version_is_named(self, tmp_path):
        nodes = healthy(tmp_path)
        path = nodes["n1"].write(tmp_path)
        data = bytearray(path.read_bytes())
        struct.pack_into("<H", data, len(MAGIC), 99)
        stored = struct.unpack_from("<I", data, 12)[0]
        crc = zlib.crc32(data[24 : 24 + stored], zlib.crc32(data[:20]))
        struct.pack_into("<I", data, 20, crc)
        path.write_bytes(bytes(data))
        events, losses = read(tmp_path)
        assert {event.node for event in events} == {"n2", "n3"}
        assert any("later version" in each for each in losses)

    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"\x7fELF" + bytes(500),
            b"hello\nworld\n",
            b'{"a": 1}\n',
            gzip.compress(b"nothing", mtime=0),  # workers that collect name a test alike
        ],
        ids=["empty", "program", "text", "json", "gzip"],
    )
    def test_a_foreign_file_is_passed_over_and_alone_it_is_an_error(self, tmp_path, content):
        healthy(tmp_path / "good")
        foreign = tmp_path / "foreign"
        foreign.write_bytes(content)
        events, losses = read(tmp_path / "good", foreign)
        assert events
        assert any(str(foreign) in each for each in losses)
        with pytest.raises(StreamError, match="foreign"):
            read(foreign)
        with pytest.raises(StreamError, match="No such file"):
            read(tmp_path / "gone")

    def test_drawn_damage(self, tmp_path):
        seed = random.SystemRandom().randrange(1 << 32)
        print("seed", seed)
        rng = random.Random(seed)
        healthy(tmp_path, slots=30)
        path = tmp_path / "n2" / "recorder" / "rec-00000001.bin"
        good = path.read_bytes()
        for _ in range(30):
            bad = bytearray(good)
            for _ in range(rng.randrange(1, 5)):
                bad[rng.randrange(len(bad))] ^= rng.randrange(1, 256)
            path.write_bytes(bytes(bad[: rng.randrange(1, len(bad))]))
            events, losses = read(tmp_path)
            assert {"n1", "n3"} <= {event.node for event in events}
            assert any("n2" in each for each in losses)


class TestLogs:
    def test_half_of_the_lines_are_damaged(self, tmp_path):
        lines = lines_of("n1", 40)
        mixed = [line if at % 2 else line[: len(line) // 2] for at, line in enumerate(lines)]
        path = tmp_path / "n1.log"
        path.write_text("\n".join(mixed) + "\n")
        events, losses = read(path)
        assert len(events) == 20
        assert losses == [f"{path}: 20 lines that are no JSON"]

    def test_lines_of_others_are_counted(self, tmp_path):
        path = tmp_path / "n1.log"
        path.write_text("\n".join([*lines_of("n1", 3), '{"level": "info"}', "[1]"]) + "\n")
        assert read(path)[1] == [f"{path}: 2 lines that are not a daemon's"]

    def test_journald(self, tmp_path):
        lines = lines_of("n1", 3)
        as_json = tmp_path / "journal.json"
        entries = [{"__REALTIME_TIMESTAMP": "1", "MESSAGE": line} for line in lines[:2]]
        entries.append({"__REALTIME_TIMESTAMP": "1", "MESSAGE": list(lines[2].encode())})
        entries.append({"__REALTIME_TIMESTAMP": "1", "MESSAGE": "Started paxosd."})
        entries.append({"__REALTIME_TIMESTAMP": "1", "MESSAGE": None})
        as_json.write_text("".join(json.dumps(each) + "\n" for each in entries))
        export = tmp_path / "journal.export"
        raw = b""
        for at, line in enumerate(lines):
            raw += b"__CURSOR=s=%d\n__REALTIME_TIMESTAMP=1\n_PID=1\n" % at
            message = line.encode()
            if at == 1:
                raw += b"MESSAGE\n" + struct.pack("<Q", len(message)) + message + b"\n\n"
            else:
                raw += b"MESSAGE=" + message + b"\n\n"
        export.write_bytes(raw)
        trimmed = tmp_path / "trimmed.export"  # as logrotate or head leave it
        trimmed.write_bytes(raw[raw.index(b"\n") + 1 :])
        for path in (as_json, export, trimmed):
            losses = LineLosses()
            assert [event.seq for event in read_lines(path, losses)] == [1, 2, 3]
            assert losses.foreign == (2 if path is as_json else 0)
            assert len(read(path)[0]) == 3

    def test_a_line_that_is_in_the_recording_too_is_shown_once(self, tmp_path):
        nodes = trio()
        begin(nodes)
        text = nodes["n1"].at(5_000_000).note("leader.elected", leader="n1", ballot="1.n1")
        nodes["n1"].write(tmp_path)
        more = nodes["n1"].at(5_000_100).line("log.level", "info", 9)
        (tmp_path / "n1.log").write_text(f"{text}\n{more}\n")
        texts = [event.text for event in read(tmp_path)[0] if event.text]
        assert texts == [text, more]


class TestCommand:
    def test_what_is_passed_over_is_said_and_the_rest_is_used(self, tmp_path, capsys):
        healthy(tmp_path / "good")
        foreign = tmp_path / "foreign"
        foreign.write_bytes(b"hello\n")
        assert run(["log", "timeline", str(tmp_path / "good"), str(foreign)]) == 0
        out, err = capsys.readouterr()
        assert "leader.elected" in out
        assert err.count("passed over") == 1
        assert run(["log", "timeline", str(foreign)]) == 74
        capsys.readouterr()
        assert run(["--endpoints", closed_port(), "log", "timeline"]) == 69, "nobody is there"
        assert "name data directories" in capsys.readouterr().err

    @pytest.mark.parametrize("options", [
        ["--kind", "nonsense"], ["--node", "n9"], ["--slot", "9..1"], ["--ballot", "x"],
        ["--since", "24:00"], ["--since", "08:60"], ["--since", "08:00:61"],
        ["--since", "noon"], ["--since", "08:00:05", "--until", "08:00:01"], ["--last", "-1s"],
    ])  # fmt: skip
    def test_wrong_options(self, tmp_path, options):
        healthy(tmp_path)
        assert run(["log", "timeline", str(tmp_path), *options]) == 2

    @pytest.mark.parametrize("verb", [["log", "timeline"], ["log", "nodes"], ["log", "tail"]])
    def test_the_name_of_a_node_moves_no_cursor(self, tmp_path, capsys, verb):
        path = tmp_path / "n1.log"
        lines = [json.loads(line) for line in lines_of("n1", 3)]
        path.write_text("".join(json.dumps(e | {"node": "n\x1b[2J1"}) + "\n" for e in lines))
        assert run([*verb, str(path)]) == 0
        out = capsys.readouterr().out
        assert ("n\\x1b[2J1" in out, "\x1b" in out) == (True, False)

    def test_filters(self, tmp_path, capsys):
        healthy(tmp_path, slots=9)

        def ids(*options):
            assert run(["-o", "json", "log", "timeline", str(tmp_path), *options]) == 0
            return [json.loads(line) for line in capsys.readouterr()[0].splitlines()]

        assert {e["kind"] for e in ids("--kind", "voted", "--kind", "applied")} == {
            "voted", "applied"}  # fmt: skip
        found = ids("--slot", "4..5", "--node", "n2")
        assert {e["slot"] for e in found} == {4, 5}
        assert {e["node"] for e in found} == {"n2"}
        assert {e["ballot"] for e in ids("--ballot", "1.n1")} <= {"1.n1", None}
        assert ids("--kind", "leader.elected")[0]["fields"]["leader"] == "n1"
        assert ids("--key", "k") == [], "no log, no slots of the key"
        assert 0 < len(ids("--last", "10ms")) < len(ids())

    @pytest.mark.parametrize("output", ["table", "json", "plain"])
    def test_every_verb_in_every_format(self, tmp_path, output, capsys):
        healthy(tmp_path)
        where = str(tmp_path)
        for verb in ("log nodes", "log timeline", "log tail", "log slot 2", "log ballot 1.n1",
                     "log request 7/2", "explain slot 2", "explain request 7/2",
                     "explain leader", "explain leader 1.n1", "explain slowest",
                     "why-slow"):  # fmt: skip
            assert run(["-o", output, *verb.split(), where]) == 0, verb
            out = capsys.readouterr()[0]
            assert out
            if output == "json":
                assert all(json.loads(line) for line in out.splitlines())
        for verb in ("log slot 99", "log ballot 9.n1", "log request 7/99", "log key k",
                     "explain slot 99", "explain put k"):  # fmt: skip
            assert run(["-o", output, *verb.split(), where]) == 1, verb


class TestTail:
    @pytest.mark.parametrize("lines", [0, 1, 30, 400])
    def test_the_last_lines_are_those_of_the_whole(self, tmp_path, capsys, lines):
        made = trio()["n1"]
        for at in range(300):
            made.at(1_000_000 + at * 100_000).note("member.up", member=f"m{at}")
        made.write(tmp_path)
        assert run(["log", "tail", "-n", str(lines), str(tmp_path)]) == 0
        shown = capsys.readouterr().out.splitlines()
        assert len(shown) == min(lines, 300)
        expected = range(300 - len(shown), 300)
        assert [line.split("member=m")[1].split()[0] for line in shown] == list(map(str, expected))


class TestFollow:
    def test_new_blocks_of_all_nodes_come_in_order_and_late_ones_are_waited_for(self, tmp_path):
        nodes = healthy(tmp_path)
        ballot = elect(nodes, "n1", 1_000_000)
        for node in nodes.values():
            node.write(tmp_path)
        with opened([str(tmp_path)]) as recordings:
            follower = Follower(recordings)
            shown = [event for event in recordings.events() if follower.is_new(event)]
            assert shown
            assert list(follower.poll(0)) == []
            choose(nodes, ballot, 4, 2_000_000)
            nodes["n2"].write(tmp_path)
            assert list(follower.poll(100_000)) == [], "n1 and n3 may still write of that time"
            nodes["n1"].write(tmp_path)
            nodes["n3"].write(tmp_path, number=2)  # a new file
            got = list(follower.poll(200_000))
            got += list(follower.poll(200_000 + 2 * HOLD_US))
            assert {event.node for event in got} == {"n1", "n2", "n3"}
            assert [event.wall_us for event in got] == sorted(event.wall_us for event in got)
            assert list(follower.poll(9_000_000)) == []

    def test_a_line_that_comes_in_the_log_and_in_the_recording_comes_once(self, tmp_path):
        nodes = healthy(tmp_path)
        log = tmp_path / "n1.log"
        log.write_text(nodes["n1"].line("node.starting", "info", 1) + "\n")
        with opened([str(tmp_path)]) as recordings:
            follower = Follower(recordings)
            list(filter(follower.is_new, recordings.events()))
            text = nodes["n1"].at(9_000_000).note("node.ready")
            nodes["n1"].write(tmp_path)
            with open(log, "a") as file:
                file.write(text.replace('"seq": 1', '"seq": 2') + "\n")
            got = [*follower.poll(1_000_000), *follower.poll(9_000_000)]
            assert ["node.ready" in event.text for event in got].count(True) == 1

    def test_a_block_that_is_half_written_is_read_when_it_is_whole(self, tmp_path):
        nodes = healthy(tmp_path)
        path = tmp_path / "n1" / "recorder" / "rec-00000001.bin"
        with opened([str(tmp_path)]) as recordings:
            follower = Follower(recordings)
            list(filter(follower.is_new, recordings.events()))
            nodes["n1"].at(9_000_000).note("node.ready")
            (block,) = nodes["n1"].blocks()
            with open(path, "ab") as file:
                file.write(block[:50])
                file.flush()
                assert list(follower.poll(0)) == []
                file.write(block[50:])
            got = [*follower.poll(1_000_000), *follower.poll(9_000_000)]
            assert [event.seq for event in got] != []
