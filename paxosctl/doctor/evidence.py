"""All that the checks decide by: a configuration, this machine, and what the nodes answered."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from paxosctl.cli.survey import NodeView, leader_of, statuses_of
from paxosctl.doctor.machine import Machine
from paxosctl.member.probe import Link
from paxosd.config.schema import Config
from paxosd.core.membership import UNKNOWN, Membership
from paxosd.core.status import NodeStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """``config_path``: "" if none was given; ``config``: None if there is none, or it cannot be
    read, for the reasons in ``config_problems``. ``keys_unseen``: why it is not known whether the
    node is handed keys that the file does not name; "": it is known. ``machine``: None without a
    configuration.
    ``views``: of all nodes, those that did not answer included. ``silent``: the name of such a node
    (its endpoint, where the name is not known) → what is wrong with it. ``links``: the connections
    that nodes were asked to try. ``rules``: node → the names of its fault rules."""

    config_path: str = ""
    config: Config | None = None
    config_problems: tuple[str, ...] = ()
    keys_unseen: str = ""
    machine: Machine | None = None
    views: tuple[NodeView, ...] = ()
    silent: Mapping[str, str] = field(default_factory=dict)
    links: tuple[Link, ...] = ()
    rules: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def statuses(self) -> list[NodeStatus]:
        """Of the nodes that answered."""
        return statuses_of(self.views)

    @property
    def membership(self) -> Membership:
        """The latest that a node reports; UNKNOWN if none answered."""
        known = max(self.statuses, key=lambda status: status.epoch, default=None)
        return UNKNOWN if known is None else known.membership

    @property
    def leader(self) -> NodeStatus | None:
        """The leader's own status; None if there is none, or it did not answer."""
        name, _ = leader_of(self.views)
        return self.status(name)

    def status(self, name: str) -> NodeStatus | None:
        """What a node reports about itself; None if it did not answer."""
        return next((each for each in self.statuses if each.node == name), None)

    @property
    def own_name(self) -> str:
        """The node of the configuration; "" without one."""
        return self.config.node.name if self.config is not None else ""

    @property
    def own_status(self) -> NodeStatus | None:
        """What the node of the configuration reports, if it runs; a node of another cluster with
        its name does not count."""
        if self.config is None:
            return None
        found = self.status(self.own_name)
        return found if found is not None and found.cluster == self.config.cluster.id else None

    @property
    def is_running(self) -> bool:
        """Whether the node of the configuration runs."""
        locked = self.machine is not None and self.machine.directory.locked_by is not None
        return locked or self.own_status is not None

    @property
    def is_new(self) -> bool:
        """Whether the node of the configuration was never started."""
        machine = self.machine
        return machine is not None and not machine.directory.was_used and not self.is_running
