"""A lock of real processes, whose holder is stopped and killed, and whose leader is killed."""

import random

import pytest

from tests.bench.lock_campaign import judge, run


@pytest.mark.drawn(2)
@pytest.mark.parametrize("what", ["stop", "kill"])
def test_holders_and_leaders_that_fail(tmp_path, what):
    seed = random.randrange(1 << 30)
    print(f"seed {seed}")
    kinds = {"stop": ("stop-holder",), "kill": ("kill-holder", "kill-leader")}[what]
    wrong, counts, done = run(tmp_path, 2, seed, kinds=kinds)
    assert wrong == []
    assert counts["acquired"] >= 2
    assert sum(done.values()) == 2


class TestJudge:
    def lines(self, what, at, token, **more):
        return {"what": what, "at": at, "token": token} | more

    def test_a_check_after_another_has_acquired(self):
        first = [self.lines("acquired", 1.0, 5), self.lines("check", 3.0, 5, held=True)]
        second = [self.lines("acquired", 2.0, 6)]
        (wrong,), counts = judge([first, second])
        assert "after another acquired" in wrong
        assert counts["acquired"] == 2

    def test_a_check_that_began_before(self):
        first = [self.lines("acquired", 1.0, 5), self.lines("check", 1.9, 5, held=True)]
        second = [self.lines("acquired", 2.0, 6), self.lines("check", 3.0, 6, held=True)]
        assert judge([first, second])[0] == []

    def test_a_write_of_a_former_holder(self):
        first = [self.lines("acquired", 1.0, 5), self.lines("wrote", 3.0, 5)]
        assert judge([first, [self.lines("acquired", 2.0, 6)]])[0]
