"""How a watch begins, in any dress: the cluster is asked for its limits and its members first."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from paxosctl.client.cluster_calls import admin_body, ask_admin
from paxosctl.client.errors import RefusedError
from paxosctl.client.operations import Steps
from paxosctl.client.results import as_bytes
from paxosctl.client.transport import Transport
from paxosctl.client.watch_items import WatchWants
from paxosctl.client.watch_nodes import WatchNodes
from paxosctl.client.watch_session import WatchSession
from paxosd.core.client.cluster_info import ClusterInfo
from paxosd.core.commands import DELETE
from paxosd.core.effects import INVALID
from paxosd.wire.status import decode_status


class WatchPlan(NamedTuple):
    """What is to be watched: see :meth:`paxosctl.client.client.Client.watch`."""

    key: bytes
    prefix: bool = False
    from_revision: int | None = None
    history: str = ""
    prev: bool = False
    only: str | None = None
    progress_s: float | None = None
    groups: bool = False

    def steps(self, endpoints: Sequence[str]) -> Steps[Callable[[Transport], WatchSession]]:
        """Requests to carry out, and in the end what makes the session. Raises RefusedError for a
        key that is no key, TypeError for text."""
        key = as_bytes(self.key)
        WatchWants.of(self.only, self.progress_s, groups=self.groups)  # raises what is wrong
        call = yield ask_admin("status", {})
        info = ClusterInfo.of_status(decode_status(admin_body(call.result)))
        if words := info.limits.refusal([DELETE, key]):
            raise RefusedError(INVALID, words)
        nodes = WatchNodes(endpoints)
        nodes.learn(info)
        return lambda transport: WatchSession(
            transport,
            nodes,
            key,
            prefix=self.prefix,
            from_revision=self.from_revision,
            history=self.history,
            prev=self.prev,
            wanted=WatchWants.of(self.only, self.progress_s, groups=self.groups),
        )
