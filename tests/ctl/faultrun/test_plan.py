"""Plans of ``fault run``: what they say, and every way of being wrong, with its line."""

from pathlib import Path

import pytest

from paxosctl.faultrun.plan import MIX, PlanError, load_script

PLANS = sorted((Path(__file__).parents[3] / "conf" / "faults").glob("*.toml"))

GOOD = """\
duration = "10s"
seed = 4

[workload]
clients = 2
pause = "0ms"
mix = { put = 1, get = 2 }

[[fault]]
at = "1s"
kind = "isolate"
on = "@leader"
for = "500ms"
repeat = "2s"

[[crash]]
on = "n2"
at = "4s"

[[fault]]
name = "late"
kind = "delay"
ms = 5
message = ["accept", "accepted"]
"""


@pytest.fixture
def load(tmp_path):
    def read(text, duration_ms=None, seed=None):
        path = tmp_path / "plan.toml"
        path.write_text(text)
        return load_script(path, duration_ms, seed)

    return read


class TestGood:
    def test_steps_by_time_with_repetitions(self, load):
        script = load(GOOD)
        assert [(step.at_ms, step.name) for step in script.steps] == [
            (0, "late"), (1000, "isolate"), (3000, "isolate"), (4000, "crash"),
            (5000, "isolate"), (7000, "isolate"), (9000, "isolate"),
        ]  # fmt: skip
        late = script.steps[0]
        assert late.args["message_kinds"] == ["accept", "accepted"]
        assert late.for_ms == 0
        assert (script.duration_ms, script.seed) == (10_000, 4)
        assert (script.workload.clients, script.workload.pause_ms) == (2, 0)
        assert script.workload.timeout_ms == 1500
        assert script.workload.mix == {"put": 1, "get": 2}

    def test_the_command_line_wins(self, load):
        script = load(GOOD, duration_ms=3500, seed=99)
        assert (script.duration_ms, script.seed) == (3500, 99)
        assert [step.at_ms for step in script.steps] == [0, 1000, 3000]
        longer = load(GOOD, duration_ms=12_000)
        assert [step.at_ms for step in longer.steps][-2:] == [9000, 11_000]

    def test_faults_get_seeds_of_their_own_from_the_plans(self, load):
        def seeds(text, seed=None):
            return {step.name: step.args["seed"] for step in load(text, seed=seed).steps
                    if step.args}  # fmt: skip

        assert seeds(GOOD) == seeds(GOOD)
        assert seeds(GOOD) != seeds(GOOD, seed=5)
        assert len(set(seeds(GOOD).values())) == 2
        assert seeds(GOOD + "seed = 77\n")["late"] == 77

    def test_the_least(self, load):
        script = load('[[fault]]\nkind = "drop"\n')
        assert script.duration_ms == 20_000
        assert script.workload.mix == MIX
        script.check_nodes(["n1"])

    @pytest.mark.parametrize("path", PLANS, ids=lambda path: path.stem)
    def test_the_ready_ones_fit_any_three_nodes(self, path):
        script = load_script(path, None, None)
        script.check_nodes(["a", "b", "c"])
        text = path.read_text()
        assert "Needs:" in text
        assert "Expect:" in text
        assert f"conf/faults/{path.name}" in text

    def test_there_are_three(self):
        assert [path.stem for path in PLANS] == ["bad-disk", "crashes", "partitions"]


class TestWrong:
    @pytest.mark.parametrize(
        ("change", "line", "words"),
        [
            (("duration =", "duration "), 1, "Expected '='"),
            (("duration =", "duratoin ="), 1, 'unknown key "duratoin"; did you mean "duration"?'),
            (('"10s"', '"soon"'), 1, "duration is a duration in quotes"),
            (('"10s"', "10"), 1, "duration is a duration in quotes"),
            (('"10s"', '"0s"'), 1, "duration is a duration in quotes"),
            (("seed = 4", "seed = -4"), 2, "seed is a whole number"),
            (("[workload]", "[worklaod]"), 4, 'unknown key "worklaod"; did you mean "workload"?'),
            (("clients = 2", "clients = 0"), 5, "clients is a whole number from 1 to 64"),
            (("clients", "cleints"), 5, 'unknown key "cleints"; did you mean "clients"?'),
            (("put = 1", "putt = 1"), 7, 'unknown operation "putt"; did you mean "put"?'),
            (("put = 1, get = 2", "put = 0"), 7, "mix has a whole number for each"),
            (("put = 1", "put = 0.5"), 7, "mix has a whole number for each"),
            (('kind = "isolate"', 'kind = "isolat"'), 11, 'did you mean "isolate"?'),
            (('kind = "isolate"\n', "\n"), 9, "[[fault]] a name of 1 to 64"),
            (('on = "@leader"', 'on = "@leadr"'), 12, 'unknown role "@leadr"; did you mean'),
            (('on = "@leader"', 'from = "@leader"'), 12, "isolate takes no from or to"),
            (('for = "500ms"', 'for = "9 years"'), 13, "for is a duration in quotes"),
            (('for = "500ms"', 'for = "2s"'), 14, "a for that is shorter than repeat"),
            (('for = "500ms"\n', "\n"), 14, "a for that is shorter than repeat"),
            (('on = "n2"', 'on = "n1,n2"'), 17, "on is one node"),
            (('on = "n2"\n', "\n"), 16, "on is one node"),
            (('at = "4s"', 'at = "10s"'), 18, "at is not within the duration of 10s"),
            (('at = "4s"', 'att = "4s"'), 18, 'unknown key "att"'),
            (("ms = 5\n", "ms = 5.5\n"), 23, "ms is a whole number"),
            (("ms = 5\n", "\n"), 22, "delay needs ms"),
            (('["accept",', '["acept",'), 24, 'did you mean "accept"?'),
            (('name = "late"', 'name = "la te"'), 21, "a name of 1 to 64"),
        ],
        ids=lambda value: str(value)[:40],
    )
    def test_is_told_with_its_line(self, load, change, line, words):
        assert change[0] in GOOD
        with pytest.raises(PlanError) as info:
            load(GOOD.replace(*change, 1))
        text = str(info.value)
        assert words in text
        assert f":{line}: " in text or f"line {line}," in text, text
        assert "\n" not in text

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("", "nothing would happen"),
            ("fault = 5", "write [[fault]]"),
            ('[fault]\nkind = "drop"', "write [[fault]]"),
            ("workload = 5\n[[fault]]\nkind = 'drop'", "workload is a table"),
            ("[[crash]]\non = '*'", "on is one node"),
            ("[[crash]]\non = 'n1'\nrepeat = '1ms'", "repeat is at least 100ms"),
            ("[[fault]]\nkind = 'bridge'\non = '*'", "at least two nodes"),
        ],
    )
    def test_the_rest(self, load, text, words):
        with pytest.raises(PlanError) as info:
            load(text)
        assert words in str(info.value)

    def test_names_that_the_cluster_does_not_have(self, load):
        script = load(GOOD)
        script.check_nodes(["n1", "n2", "n3"])
        with pytest.raises(PlanError, match=r':16: crash: on: unknown node "n2"'):
            script.check_nodes(["n1", "n3"])

    def test_a_bridge_needs_enough_nodes(self, load):
        script = load('[[fault]]\nkind = "bridge"\non = "@leader"\n')
        script.check_nodes(["n1", "n2", "n3"])
        with pytest.raises(PlanError, match="at least two nodes"):
            script.check_nodes(["n1", "n2"])
