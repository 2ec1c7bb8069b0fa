"""The kinds of runs that show rules of timing: how long nothing is acknowledged after one trouble.

The other kinds ask for a right history, which a cluster has that does nothing for a second. These
take the scenes of ``tests/sim/gaps.py``, in simulated time, so that a limit is no matter of the
machine. The code as it is needs 635 to 731 ms of "stop" with the first four seeds, and 379 to 451
of "loss"; the limits lie above that.
"""

from dataclasses import dataclass

from paxosd.sim.campaign.run import RunReport
from paxosd.sim.cluster.records import RunRecords
from tests.bench.processor_limit import RUN_CPU_S_MAX, processor_limit
from tests.sim.gaps import gap_ms


@dataclass(frozen=True, slots=True)
class GapProfile:
    """``scene``: of ``tests/sim/gaps.py``. ``gap_max_ms``: a longer gap is a violation."""

    name: str
    scene: str
    gap_max_ms: float

    def run(self, seed: int, records: RunRecords | None = None) -> RunReport:
        """One run; an exception and a hang are reported as violations as well. ``records``: see
        ``run_seed``; of a run that hangs or raises there are none."""
        try:
            with processor_limit(RUN_CPU_S_MAX):
                found_ms = gap_ms(seed, self.scene, records)
        except TimeoutError as hang:
            return RunReport(seed=seed, ok=False, violation=f"hang: {hang}")
        except Exception as error:  # noqa: BLE001 - whatever the mutation made of the run
            words = f"exception: {type(error).__name__}: {error}"
            return RunReport(seed=seed, ok=False, violation=words)
        if found_ms <= self.gap_max_ms:
            return RunReport(seed=seed, ok=True)
        words = f"gap: nothing was acknowledged for {found_ms:.0f} ms ({self.scene})"
        return RunReport(seed=seed, ok=False, violation=words)
