"""Looks at every node again and again, in a thread of its own: each as soon as it is due, however
long another one takes to answer."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from paxosctl.cli.survey import DOWN_MS, Answer
from paxosctl.client.client import Client
from paxosctl.top.model import Sighting
from paxosd.core.client.calls import Call
from paxosd.core.status import NodeStatus

TURN_MS = 100
"""The thread looks for what is due at least so often."""
ANSWER_S = 1.0
"""A node that has not answered by then counts as silent."""

Rules = tuple[dict[str, Any], ...]


@dataclass(slots=True)
class _Target:
    """A node, or, until one has answered, an endpoint."""

    endpoint: str
    due_s: float = 0.0
    call: Call | None = None
    rules_call: Call | None = None


class Poller:
    """``on_sighting`` is called for each look, ``on_rules(node, rules)`` for the fault rules of a
    node, ``on_notice`` with what became of :meth:`end_fault`; all of them in the thread."""

    def __init__(
        self,
        client: Client,
        interval_s: float,
        *,
        on_sighting: Callable[[Sighting], object],
        on_rules: Callable[[str, Rules], object],
        on_notice: Callable[[str], object],
    ) -> None:
        self._client = client
        self._interval_s = interval_s
        self._on_sighting, self._on_rules, self._on_notice = on_sighting, on_rules, on_notice
        self._targets = {each: _Target(each) for each in client.endpoints}
        self._epoch = -1
        self._ends: list[tuple[str, str, Call]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="paxosctl-top", daemon=True)

    def __enter__(self) -> "Poller":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def end_fault(self, name: str, endpoints: dict[str, str]) -> None:
        """Remove the rule at these nodes, node → endpoint."""
        for node, at in endpoints.items():
            call = self._start(at, "fault_rm", {"name": name})
            self._ends.append((name, node, call))

    def _run(self) -> None:
        while not self._stop.is_set():
            now_s = time.monotonic()
            for target in self._targets.values():
                if target.call is None and now_s >= target.due_s:
                    target.due_s = now_s + self._interval_s
                    target.call = self._start(target.endpoint, "status")
            due_s = min((t.due_s for t in self._targets.values() if t.call is None), default=now_s)
            wait_ms = (
                max(1, min(TURN_MS, int((due_s - now_s) * 1000))) if due_s > now_s else TURN_MS
            )
            self._client.turn(wait_ms)
            self._take_answers(time.monotonic())

    def _start(self, endpoint: str, verb: str, args: dict[str, Any] | None = None) -> Call:
        return self._client.start_admin(
            verb, args, endpoint=endpoint, patience_ms=DOWN_MS, timeout_s=ANSWER_S
        )

    def _take_answers(self, now_s: float) -> None:
        for name, target in list(self._targets.items()):
            if target.call is not None and target.call.done:
                answer, target.call = Answer(self._client, target.call), None
                self._take_status(name, target, answer, now_s)
            if target.rules_call is not None and target.rules_call.done:
                answer, target.rules_call = Answer(self._client, target.rules_call), None
                if answer.error is None:
                    self._on_rules(name, tuple(answer.body.get("rules", ())))
        for each in [each for each in self._ends if each[2].done]:
            self._ends.remove(each)
            name, node, call = each
            error = Answer(self._client, call).error
            failed = "" if error is None else f": {error}"
            self._on_notice(f"fault {name} {'not ended' if failed else 'ended'} on {node}{failed}")

    def _take_status(self, name: str, target: _Target, answer: Answer, now_s: float) -> None:
        status = answer.status
        self._on_sighting(Sighting(name, target.endpoint, status, answer.error, now_s))
        if status is None:
            return
        if status.node != name:
            del self._targets[name]
            known = self._targets.get(status.node)
            if known is None or known.endpoint == target.endpoint:
                self._targets[status.node] = target
        if status.epoch >= self._epoch:
            self._follow(status)
        if status.fault_count and target.rules_call is None:
            target.rules_call = self._start(target.endpoint, "fault_list")

    def _follow(self, status: NodeStatus) -> None:
        """Look at the members of the latest membership, too, and no more at those that left."""
        self._epoch = status.epoch
        asked = {target.endpoint for target in self._targets.values()}
        for name, member in status.members.items():
            if name not in self._targets and member.client and member.client not in asked:
                self._targets[name] = _Target(member.client)
        for name in [each for each in status.membership.departed if each in self._targets]:
            del self._targets[name]
