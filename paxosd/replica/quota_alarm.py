"""The log says when the store comes near its quota, when writes are refused, and when that ends.

state of the quota    ok ──► near: quota.near    any ──► full: quota.full
                      near, full ──► ok with some distance, or no quota: quota.ended
"""

from paxosd.core.state.quota import Quota
from paxosd.host.log import Log

AGAIN_PERCENT = 75
"""The alarm ends below so much of the quota, so that a store at the limit does not make a line for
each write."""
ADVICE = (
    "delete what is not needed, or raise the quota: paxosctl cluster set quota_bytes=BYTES. Writes "
    "that let the store grow are refused above it; deletes are not"
)


class QuotaAlarm:
    """What was said last."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._said = ""

    def look(self, quota: Quota) -> None:
        """Log what has changed."""
        state = quota.state
        if state == self._said:
            return
        held = quota.counted_bytes
        fields = {"held_bytes": held, "quota_bytes": quota.limit_bytes, "advice": ADVICE}
        if state == "full":
            self._log.warning("quota.full", **fields)
        elif state == "near":
            if self._said == "full":
                return  # some room, for now; it is said once there is plenty
            self._log.warning("quota.near", **fields)
        elif self._said in ("near", "full"):
            if state and 100 * held >= AGAIN_PERCENT * quota.limit_bytes:
                return
            self._log.info("quota.ended", held_bytes=held)
        self._said = state
