"""Fault rules that survive a restart: ``faults.json`` in the data directory.

    {"format": 1, "rules": [{"name": …, "kind": …, …, "ends_wall_ms": 0}, …]}

``ends_wall_ms``: when the rule heals by itself, on the wall clock, which alone goes on while
the node is down; 0: never. A node that does not come up because of such a rule (a disk that
fails at start-up) is healed by removing the file by hand.
"""

import json
from typing import Any

from paxosd.faults.plan import FaultError, FaultPlan
from paxosd.storage.disk import Disk
from paxosd.storage.small_files import read_file, replace_file

FILE = "faults.json"
FORMAT = 1


class FaultStore:
    """Writes and reads the persistent rules of one plan."""

    def __init__(self, disk: Disk) -> None:
        """``disk``: the data directory itself."""
        self._disk = disk

    def save(self, plan: FaultPlan, now_ms: float, wall_ms: int) -> None:
        """Write the persistent rules of the plan durably. Raises OSError."""
        rules = []
        for args in plan.persistent(now_ms):
            left_ms = args.pop("for_ms")
            rules.append(args | {"ends_wall_ms": wall_ms + left_ms if left_ms else 0})
        if rules:
            text = json.dumps({"format": FORMAT, "rules": rules}, indent=1) + "\n"
            replace_file(self._disk, FILE, text)
        else:
            if self._disk.exists(FILE):
                self._disk.unlink(FILE)
            self._disk.sync_dir()  # also if it was removed before, and only that sync failed
        plan.unsaved = False

    def restore(self, plan: FaultPlan, now_ms: float, wall_ms: int) -> list[str]:
        """Add the rules of the file to the plan. Returns what could not be added, and why.
        A rule whose time is over is left out. Raises OSError."""
        if not self._disk.exists(FILE):
            return []
        try:
            found: Any = json.loads(read_file(self._disk, FILE))
            rules = found["rules"] if found["format"] == FORMAT else None
        except (ValueError, KeyError, TypeError, RecursionError):
            rules = None
        if not isinstance(rules, list):
            return [f"{FILE} is damaged or of another version: no rule of it is in force"]
        problems = []
        for rule in rules:
            problem = _add(plan, rule, now_ms, wall_ms)
            if problem:
                problems.append(problem)
        plan.unsaved = False
        return problems


def _add(plan: FaultPlan, stored: Any, now_ms: float, wall_ms: int) -> str:
    """Add one stored rule. Returns why it cannot be added; "" if it was."""
    if not isinstance(stored, dict):
        return f"{FILE}: {stored!r:.60} is no rule"
    args = dict(stored)
    ends_wall_ms = args.pop("ends_wall_ms", 0)
    if type(ends_wall_ms) is not int:
        return f'{FILE}: rule "{args.get("name")!s:.64}": ends_wall_ms is no number'
    if ends_wall_ms:
        left_ms = ends_wall_ms - wall_ms
        if left_ms <= 0:
            return ""
        args["for_ms"] = left_ms
    try:
        plan.add_args(args, now_ms, restored=True)
    except FaultError as error:
        return f'{FILE}: rule "{args.get("name")!s:.64}": {error}'
    return ""
