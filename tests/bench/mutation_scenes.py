"""The kinds of runs that are one scene each: an order of events that a seed hardly ever draws.

The scenes are those of ``tests/sim/time_scenes.py``. The seed decides what is left open: how long
messages and syncs take, who is elected. Each takes less than 2 s of processor time.
"""

from dataclasses import dataclass

from paxosd.sim.campaign.run import RunReport
from paxosd.sim.cluster.records import RunRecords
from paxosd.sim.cluster.violation import Violation
from tests.bench.processor_limit import RUN_CPU_S_MAX, processor_limit
from tests.sim.time_scenes import run_scene


@dataclass(frozen=True, slots=True)
class SceneProfile:
    """``scene``: of ``tests/sim/time_scenes.py``."""

    name: str
    scene: str

    def run(self, seed: int, records: RunRecords | None = None) -> RunReport:
        """One run; an exception and a hang are reported as violations as well. ``records``: see
        ``run_seed``; of a run that hangs there are none."""
        try:
            with processor_limit(RUN_CPU_S_MAX):
                run_scene(seed, self.scene, records)
        except TimeoutError as hang:
            return RunReport(seed=seed, ok=False, violation=f"hang: {hang}")
        except Violation as breach:
            return RunReport(seed=seed, ok=False, violation=str(breach))
        except Exception as error:  # noqa: BLE001 - whatever the mutation made of the run
            words = f"exception: {type(error).__name__}: {error}"
            return RunReport(seed=seed, ok=False, violation=words)
        return RunReport(seed=seed, ok=True)
