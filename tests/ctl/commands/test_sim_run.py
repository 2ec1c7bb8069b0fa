"""``paxosctl sim run``: what it shows in each format, what it refuses, and its exit codes."""

import json
import subprocess
import sys
from types import SimpleNamespace

import pytest

from paxosctl.cli.main import run
from paxosctl.commands import sim_run
from paxosd.sim.campaign.campaign import Summary
from paxosd.sim.campaign.run import RunReport
from paxosd.sim.campaign.workers import Crashed
from paxosd.sim.nemesis.schedule import Directive, Schedule

SHORT = ("--duration", "2s", "--operations", "20", "--jobs", "1")


@pytest.fixture
def ctl(capsys):
    """``ctl("--seed", "1") → (exit code, stdout, stderr)`` of ``paxosctl sim run``."""

    def call(*arguments):
        code = run(["sim", "run", *arguments])
        out, err = capsys.readouterr()
        return code, out, err

    return call


class TestGoodRuns:
    def test_a_table_for_people(self, ctl):
        code, out, err = ctl("--seed", "1", *SHORT)
        assert (code, err) == (0, "")
        rows = dict(line.split(maxsplit=1) for line in out.splitlines() if "  " in line)
        assert rows["seeds"].strip() == "1"
        for word in ("operations", "leader changes", "simulated time", "speed-up", "a core"):
            assert word in out

    def test_json_for_programs(self, ctl):
        code, out, _ = ctl("--seeds", "3..4", "-o", "json", *SHORT)
        found = json.loads(out)
        assert code == 0
        assert (found["first_seed"], found["last_seed"], found["runs"]) == (3, 4, 2)
        assert found["failures"] == []
        assert found["operations"] >= found["acknowledged"] > 0
        assert found["simulated_s"] >= 4

    def test_plain_has_a_line_for_each_number(self, ctl):
        code, out, _ = ctl("--seed", "1", "-o", "plain", *SHORT)
        assert code == 0
        found = dict(line.split("\t") for line in out.splitlines())
        assert found["runs"] == "1"

    def test_without_a_seed_one_is_drawn_and_told(self, ctl):
        one = json.loads(ctl("-o", "json", *SHORT)[1])["first_seed"]
        two = json.loads(ctl("-o", "json", *SHORT)[1])["first_seed"]
        assert one != two

    def test_the_number_of_jobs_does_not_change_what_happens(self, ctl):
        def numbers(jobs):
            arguments = ("--duration", "2s", "--operations", "20", "-o", "json")
            found = json.loads(ctl("--seeds", "1..4", "--jobs", jobs, *arguments)[1])
            for name in ("elapsed_s", "speed_up", "runs_per_minute_per_core", "jobs"):
                del found[name]
            return found

        assert numbers("1") == numbers("2")


class TestTrace:
    def test_the_trace_is_written_whole_and_is_the_same_each_time(self, ctl, tmp_path):
        first, second = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
        for path in (first, second):
            assert ctl("--seed", "5", "--trace", str(path), *SHORT)[0] == 0
        lines = first.read_text().splitlines()
        assert first.read_bytes() == second.read_bytes()
        assert len(lines) > 100
        times = [json.loads(line)["at"] for line in lines]
        assert times == sorted(times)

    def test_the_nodes_leave_data_directories_in_an_empty_place(self, ctl, tmp_path):
        record = ("--record", str(tmp_path / "run"))
        assert ctl("--seed", "5", *record, *SHORT)[0] == 0
        for name in ("n1", "n2", "n3"):
            assert (tmp_path / "run" / name / "recorder" / "rec-00000001.bin").stat().st_size
            assert list((tmp_path / "run" / name / "wal").glob("wal-*.log"))
        code, _, err = ctl("--seed", "5", *record, *SHORT)
        assert code == 2
        assert "is not empty" in err

    def test_a_schedule_takes_the_place_of_the_drawn_faults(self, ctl, tmp_path):
        path = tmp_path / "s.toml"
        directives = [Directive(500, "crash", "n1"), Directive(1500, "restart", "n1")]
        path.write_text(Schedule(directives).to_toml())
        trace = tmp_path / "t.jsonl"
        arguments = ("--seed", "5", "--schedule", str(path), "--trace", str(trace), *SHORT)
        assert ctl(*arguments)[0] == 0
        assert "crash" in trace.read_text()


class TestRefused:
    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (["--faults", "dropp"], 'there is no fault kind "dropp"; did you mean "drop"?'),
            (["--faults", ","], "name some kinds"),
            (["--seeds", "5..2"], "the last seed is below the first"),
            (["--seeds", "7"], "two numbers are needed"),
            (["--seed", "1", "--seeds", "1..2"], "not both"),
            (["--seeds", "1..2", "--trace", "x"], "one --seed"),
            (["--seeds", "1..2", "--record", "x"], "one --seed"),
            (["--nodes", "9"], "9"),
            (["--duration", "soon"], "is not a duration"),
        ],
    )
    def test_usage(self, ctl, arguments, words):
        code, out, err = ctl(*arguments)
        assert (code, out) == (2, "")
        assert words in " ".join(err.split())

    def test_a_file_that_is_no_schedule(self, ctl, tmp_path):
        path = tmp_path / "s.toml"
        path.write_text("[[directive]]\nat_ms = 1\nverb = 'explode'\n")
        code, _, err = ctl("--seed", "1", "--schedule", str(path))
        assert code == 2
        assert 'unknown verb "explode"' in err

    def test_known_kinds_pass(self, ctl):
        for kinds in ("none", "all", "drop,crash"):
            assert ctl("--seed", "1", "--faults", kinds, *SHORT)[0] == 0


@pytest.fixture
def broken(monkeypatch):
    """As if every run with a crash of n2 broke a promise."""
    schedule = Schedule([Directive(100 * n, "pause", "n1") for n in range(9)]
                        + [Directive(1300, "crash", "n2")])  # fmt: skip

    def fake_run(seed, options=None, *, schedule=schedule, trace=None, records=None):
        schedule = schedule or Schedule()
        bad = any(each.verb == "crash" for each in schedule)
        if trace is not None:
            trace.clock = SimpleNamespace(now_ms=2000.0)
            trace.add("n2", "chosen", {"slot": 3, "ballot": "1.n1"})
        return RunReport(
            seed=seed,
            ok=not bad,
            violation="one-value: n2 has another value for slot 3" if bad else "",
            operations=10,
            schedule=schedule,
        )

    def fake_campaign(seeds, options, *, jobs=1, on_done=None):
        summary = Summary(jobs=jobs)
        for seed in seeds:
            summary.add(Crashed(seed, "killed") if seed == 99 else fake_run(seed))
        return summary

    monkeypatch.setattr("paxosd.sim.campaign.campaign.run_seed", fake_run)
    monkeypatch.setattr("paxosd.sim.campaign.story.run_seed", fake_run)
    monkeypatch.setattr(sim_run, "run_campaign", fake_campaign)


@pytest.mark.usefixtures("broken")
class TestViolations:
    def test_the_story_is_told_and_the_exit_code_is_1(self, ctl):
        code, out, err = ctl("--seed", "8")
        assert code == 1
        assert "seed 8 breaks it: one-value" in out
        assert "of the 10 that the seed drew" in out
        assert "1. at 1.000 s n2 is killed" in out
        assert "n2 is down" in out
        assert "learns that slot 3 is chosen" in out
        assert "paxosctl sim run --seed 8" in out
        assert err == "paxosctl: 1 of 1 runs failed\n"

    def test_as_json(self, ctl):
        code, out, err = ctl("--seeds", "8..9", "-o", "json")
        assert (code, json.loads(err)["message"]) == (1, "2 of 2 runs failed")
        failures = json.loads(out)["failures"]
        assert [each["seed"] for each in failures] == [8, 9]
        assert failures[0]["schedule"] == [
            {"at_ms": 1000, "verb": "crash", "node": "n2", "args": {}}
        ]

    def test_only_the_first_few_are_made_small_the_others_are_named(self, ctl):
        _, out, _ = ctl("--seeds", "1..5")
        assert out.count("breaks it") == sim_run.STORIES_MAX
        assert "seed 5: one-value" in out

    def test_the_small_schedule_can_be_kept(self, ctl, tmp_path):
        path = tmp_path / "small.toml"
        _, out, _ = ctl("--seed", "8", "--save", str(path))
        assert [each.verb for each in Schedule.from_toml(path.read_text())] == ["crash"]
        assert f"--schedule {path}" in out

    def test_a_simulator_that_crashed_is_told_with_its_seed(self, ctl):
        code, out, _ = ctl("--seed", "99")
        assert code == 1
        assert "seed 99: crashed: killed" in out


def test_a_run_that_could_not_be_judged_is_not_ok(ctl, monkeypatch):
    def campaign(seeds, options, *, jobs=1, on_done=None):
        summary = Summary(jobs=jobs)
        for seed in seeds:
            checked = "not checked" if seed == 4 else "ok"
            summary.add(RunReport(seed=seed, ok=True, checked=checked))
        return summary

    monkeypatch.setattr(sim_run, "run_campaign", campaign)
    code, out, err = ctl("--seeds", "3..5")
    assert code == 1
    assert "3: 2 ok, 0 failed" in out
    assert "too hard to decide: seeds 4" in out
    assert err == "paxosctl: 1 of 3 runs could not be judged\n"


def test_nothing_but_the_table_goes_to_a_pipe():
    done = subprocess.run(
        [sys.executable, "-m", "paxosctl", "sim", "run", "--seeds", "1..2", *SHORT],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0
    assert done.stderr == ""
    assert "\x1b" not in done.stdout
