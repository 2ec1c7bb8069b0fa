"""A recorded run, executed again: the same, and what differs is found."""

import json

import pytest

from paxosctl.cli.main import run
from paxosctl.tracing.replaying import Point, replay_file
from paxosctl.tracing.trace_files import find_traces
from paxosd.core.acceptor import Acceptor
from paxosd.core.election import Election
from paxosd.sim.campaign.options import RunOptions
from paxosd.sim.campaign.run import run_seed
from paxosd.trace.blocks import MAGIC, TraceError
from paxosd.trace.packing import file_name, pack_trace
from paxosd.trace.reader import read_trace
from tests.trace.recorded import SEED, SHORT, record

receive_prepare = Acceptor.receive_prepare


def promise_without_memory(self, message, commit, bytes_max, persist):
    return receive_prepare(self, message, commit, bytes_max, [])


def outcomes(directory, **how):
    return [replay_file(path, **how) for path in find_traces([directory])]


class TestIdentical:
    def test_every_life_of_every_node(self, recorded):
        found = outcomes(recorded)
        assert len(found) >= 3
        assert {each.verdict for each in found} <= {"identical", "not started"}
        assert all(each.turns == each.turns_recorded for each in found if each.boot_count)
        assert sum(each.messages for each in found) > 1000

    @pytest.mark.parametrize("seed", [2, 11])
    def test_with_members_that_change(self, seed, tmp_path):
        record(tmp_path, seed, members=True, **SHORT)
        found = outcomes(tmp_path)
        assert {each.verdict for each in found} <= {"identical", "not started"}, found

    @pytest.mark.parametrize("seed", [2, 6])
    def test_with_keys_and_rights_that_change(self, seed, tmp_path):
        report = record(tmp_path, seed, rights=2, **SHORT)
        assert report.ok, report.violation
        found = outcomes(tmp_path)
        assert {each.verdict for each in found} <= {"identical", "not started"}, found

    def test_the_recording_changes_nothing_of_the_run(self, tmp_path):
        options = RunOptions(**SHORT)
        assert record(tmp_path, SEED, **SHORT).digest == run_seed(SEED, options).digest

    def test_up_to_a_slot_and_up_to_a_turn(self, recorded):
        (first, *_) = find_traces([recorded])
        by_slot = replay_file(first, Point(slot=5))
        assert by_slot.applied >= 5
        assert by_slot.turns < by_slot.turns_recorded
        assert replay_file(first, Point(turn=7)).turns == 7

    def test_what_happens_is_shown(self, recorded):
        lines = []
        replay_file(find_traces([recorded])[0], Point(slot=3), lines.append)
        text = "\n".join(lines)
        assert "message of n" in text
        assert "append to log segment 1" in text
        assert "leader.elected" in text


class TestDifferent:
    @pytest.mark.parametrize(
        ("kind", "name", "mutant"),
        [
            (Acceptor, "receive_prepare", promise_without_memory),
            (Acceptor, "receive_prepare", lambda self, *_: None),
            (Election, "tick", lambda self: None),
        ],
        ids=["promises that are not written", "a program that fails", "no elections"],
    )
    def test_another_program_is_found_out(self, recorded, monkeypatch, kind, name, mutant):
        monkeypatch.setattr(kind, name, mutant)
        found = outcomes(recorded)
        assert "different" in {each.verdict for each in found}
        (first, *_) = [each for each in found if each.verdict == "different"]
        assert first.difference["turn"] > 0
        assert first.difference["expected"] != first.difference["got"]

    def test_on_the_command_line(self, recorded, monkeypatch, capsys):
        assert run(["trace", "replay", str(recorded), "-o", "json"]) == 0
        runs = json.loads(capsys.readouterr().out)["runs"]
        assert {each["node"] for each in runs} == {"n1", "n2", "n3"}
        monkeypatch.setattr(Election, "tick", lambda self: None)
        assert run(["trace", "replay", str(recorded)]) == 1
        captured = capsys.readouterr()
        assert "FIRST DIFFERENCE" in captured.out
        assert "go another way than they were recorded" in captured.err


class TestDamage:
    def place(self, recorded, tmp_path, data):
        path = tmp_path / file_name(1)
        path.write_bytes(data)
        return path

    def two_blocks(self, recorded):
        trace = read_trace(find_traces([recorded])[0].read_bytes())
        return pack_trace(trace, 50) + pack_trace(trace, 50)

    def test_a_torn_tail_is_left_out(self, recorded, tmp_path):
        torn = replay_file(self.place(recorded, tmp_path, self.two_blocks(recorded)[:-20]))
        assert torn.verdict == "identical"
        assert torn.turns == 50
        assert "torn" in torn.notes[0]
        assert "killed" in torn.end

    def test_a_bit_that_flips_ends_it(self, recorded, tmp_path):
        data = bytearray(self.two_blocks(recorded))
        data[-100] ^= 1
        damaged = replay_file(self.place(recorded, tmp_path, bytes(data)))
        assert damaged.turns == 50
        assert "damaged" in damaged.notes[0]

    def test_what_is_no_trace(self, recorded, tmp_path):
        with pytest.raises(TraceError, match="no trace of paxosd"):
            replay_file(self.place(recorded, tmp_path, b"hello"))
        assert run(["trace", "replay", str(tmp_path)]) == 74

    def test_a_later_format(self, recorded, tmp_path):
        data = bytearray(find_traces([recorded])[0].read_bytes())
        data[len(MAGIC)] = 9
        with pytest.raises(TraceError, match="is of format 9"):
            replay_file(self.place(recorded, tmp_path, bytes(data)))

    def test_a_point_beyond_the_end_is_said(self, recorded, capsys):
        assert run(["trace", "replay", str(recorded), "--until", "slot 1"]) == 0
        assert "ends before" not in capsys.readouterr().err
        assert run(["trace", "replay", str(recorded), "--until", "slot 99999"]) == 0
        assert "every run ends before the point" in capsys.readouterr().err

    def test_nothing_there(self, tmp_path, capsys):
        assert run(["trace", "replay", str(tmp_path)]) == 74
        assert "[trace] enabled = true" in capsys.readouterr().err
