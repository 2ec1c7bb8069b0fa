"""The methods that concern the cluster rather than keys, described once for both dresses
(``operations.py``)."""

from typing import Any

from paxosctl.client.operations import Steps, operation
from paxosctl.client.results import (
    Health,
    MembersResult,
    Outcome,
    SettingsResult,
    as_bytes,
    as_number,
    typed_outcome,
)
from paxosd.core.admin_verbs import is_repeatable
from paxosd.core.client.calls import Alone, Ask
from paxosd.core.commands import CHECKSUM, CLOSE, CLUSTER, FENCE, MEMBERS, OPEN, Status
from paxosd.core.requests import AdminAnswer, AdminRequest
from paxosd.host.clock import clock_ns


class ClusterMethods:
    """Outcomes, health, membership, settings, and what the admin verbs answer."""

    @operation
    def outcome(self, session: int, seq: int, *, timeout_s: float | None = None) -> Steps[Outcome]:
        """What became of a command; if it was not applied, it never will be from now on.

        >>> client.outcome(client.session, 1_000_000).state  # so far ahead that it was never sent
        'window'
        """
        call = yield Alone([FENCE, as_number(session), as_number(seq)])
        return typed_outcome(call.result)

    @operation
    def health(self, *, timeout_s: float | None = None) -> Steps[Health]:
        """Make a write that leaves nothing behind, a session opened and closed; raises if it
        does not commit. ``ms``: the time of the second commit, when the leader is known."""
        call = yield Alone([OPEN])
        began_ns = clock_ns()
        call = yield Alone([CLOSE], call.result[2])
        return Health((clock_ns() - began_ns) / 1e6, call.slot)

    @operation
    def start_checksum(self, *, timeout_s: float | None = None) -> Steps[int]:
        """Have every node compute the checksum of its state as of one slot; returns the slot.
        The admin verb ``checksum`` asks a node for it."""
        call = yield Alone([CHECKSUM])
        return call.slot

    @operation
    def change_members(
        self, epoch: int, document: bytes, *, timeout_s: float | None = None
    ) -> Steps[MembersResult]:
        """Make the membership what ``document`` says (``Membership.to_command``), if it is that of
        ``epoch`` now. Repeated until it is answered, so that CAS_MISS may be this change's own
        doing: compare what is in force. Raises RefusedError for what cannot be a membership."""
        call = yield Alone([MEMBERS, as_number(epoch), as_bytes(document)])
        status, present, slot = call.result
        return MembersResult(status, present, slot or 0)

    @operation
    def change_settings(
        self, version: int, epoch: int, document: bytes, *, timeout_s: float | None = None
    ) -> Steps[SettingsResult]:
        """Make the replicated settings what ``document`` says (``ClusterSettings.to_command``), if
        they are of ``version`` and the membership is of ``epoch`` now. Repeated until it is
        answered, as :meth:`change_members`. Raises RefusedError for what cannot be settings."""
        call = yield Alone([CLUSTER, as_number(version), as_number(epoch), as_bytes(document)])
        status, present, detail = call.result
        done = status == Status.OK
        return SettingsResult(status, present, detail if done else 0, epoch if done else detail)

    @operation
    def transfer_leader(
        self, name: str, endpoint: str, *, timeout_s: float | None = None
    ) -> Steps[None]:
        """Have the leader, at ``endpoint``, hand over to the voter ``name``, "": to the best one.
        That it has done so is seen in the status of either. Raises RefusedError in words."""
        yield ask_admin("transfer_leader", {"name": name}, endpoint)

    @operation
    def status(
        self, endpoint: str = "", *, timeout_s: float | None = None
    ) -> Steps[dict[str, Any]]:
        """What a node knows of itself and the others; works without a quorum. ``endpoint``:
        of that very node, which is tried until the deadline; "": of the first that answers.

        >>> client.status()["role"]
        'leader'
        """
        call = yield ask_admin("status", {}, endpoint)
        return admin_body(call.result)

    @operation
    def admin(
        self,
        verb: str,
        args: dict[str, Any] | None = None,
        *,
        endpoint: str = "",
        timeout_s: float | None = None,
    ) -> Steps[dict[str, Any]]:
        """An admin request to one node (see ``paxosd/replica/admin.py``); the body of its
        answer."""
        call = yield ask_admin(verb, args or {}, endpoint)
        return admin_body(call.result)


def ask_admin(
    verb: str, args: dict[str, Any], endpoint: str = "", patience_ms: int | None = None
) -> Ask:
    """The request of an admin verb."""
    return Ask(AdminRequest(0, verb, args), endpoint, is_repeatable(verb), patience_ms)


def admin_body(answer: Any) -> dict[str, Any]:
    """What it was answered."""
    assert isinstance(answer, AdminAnswer)
    return answer.body
