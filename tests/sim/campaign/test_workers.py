"""Runs on all cores: order, an early end, exceptions, dead workers, Ctrl-C."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from paxosd.sim.campaign.workers import Crashed, cores, run_seeds


def square(seed):
    return seed * seed


def slow_at_first(seed):
    """The first seeds end last."""
    time.sleep(max(0.0, 0.2 - seed * 0.05))
    return seed


def sick(seed):
    if seed == 3:
        raise ValueError("seed three")
    if seed == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    if seed == 6:
        os._exit(7)
    return seed


class TestOrder:
    @pytest.mark.parametrize("jobs", [1, 2, 3])
    def test_results_come_in_the_order_of_the_seeds(self, jobs):
        assert list(run_seeds(slow_at_first, [4, 0, 1, 9], jobs=jobs)) == [4, 0, 1, 9]

    def test_no_seeds_no_results(self):
        assert list(run_seeds(square, [], jobs=2)) == []

    @pytest.mark.parametrize("jobs", [1, 3])
    def test_it_ends_after_the_first_wanted_result_in_that_order(self, jobs):
        """With three jobs seed 2 ends before seed 1, yet seed 1 is the first in order."""
        found = list(run_seeds(slow_at_first, range(100), jobs=jobs, until=lambda r: r >= 1))
        assert found == [0, 1]

    @pytest.mark.parametrize("jobs", [1, 2])
    def test_the_end_of_each_run_is_reported_at_once(self, jobs):
        ended = []
        list(run_seeds(square, range(6), jobs=jobs, on_done=ended.append))
        assert sorted(ended) == [0, 1, 4, 9, 16, 25]

    def test_there_is_a_core_at_least(self):
        assert cores() >= 1


class TestTrouble:
    @pytest.mark.parametrize("jobs", [1, 2])
    def test_an_exception_belongs_to_its_seed(self, jobs):
        found = list(run_seeds(sick, [2, 3, 4], jobs=jobs))
        assert found[0] == 2
        assert found[2] == 4
        assert isinstance(found[1], Crashed)
        assert found[1].seed == 3
        assert "ValueError: seed three" in found[1].reason

    def test_a_worker_that_dies_is_reported_with_its_seed_and_replaced(self):
        found = list(run_seeds(sick, range(4, 12), jobs=2))
        dead = {result.seed: result.reason for result in found if isinstance(result, Crashed)}
        assert list(dead) == [5, 6]
        assert "SIGKILL" in dead[5]
        assert "exit code 7" in dead[6]
        assert [r for r in found if not isinstance(r, Crashed)] == [4, 7, 8, 9, 10, 11]

    def test_the_caller_may_stop_in_the_middle(self):
        results = run_seeds(square, range(1000), jobs=2)
        assert next(results) == 0
        results.close()  # ends the workers; a hang would be seen by the time-out of the test


class TestInterrupt:
    def test_ctrl_c_ends_all_processes_and_nothing_is_printed_by_them(self, tmp_path):
        script = tmp_path / "campaign.py"
        script.write_text(
            textwrap.dedent(
                """
                import os, sys, time
                from paxosd.sim.campaign.workers import run_seeds

                def forever(seed):
                    os.write(1, b"up\\n")  # one write: two processes share the pipe
                    time.sleep(600)

                if __name__ == "__main__":
                    try:
                        list(run_seeds(forever, range(9), jobs=2))
                    except KeyboardInterrupt:
                        sys.exit(130)
                """
            )
        )
        with subprocess.Popen(
            [sys.executable, str(script)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            process_group=0,
        ) as process:
            try:
                assert process.stdout.readline() == "up\n"
                assert process.stdout.readline() == "up\n"
                path = Path(f"/proc/{process.pid}/task/{process.pid}/children")
                children = path.read_text().split()
                os.killpg(process.pid, signal.SIGINT)
                _, errors = process.communicate(timeout=30)
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
        assert process.returncode == 130
        assert errors == ""
        assert len(children) >= 2
        limit = time.monotonic() + 20
        while [pid for pid in children if Path(f"/proc/{pid}").exists()]:
            assert time.monotonic() < limit, "a process outlived the campaign"
            time.sleep(0.01)
