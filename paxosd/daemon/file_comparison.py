"""What the configuration file says otherwise than the cluster, reported in the log once.

Once a cluster is founded, its settings and its members stand in the replicated log, and the file
decides nothing about them. A person who edits the file should learn that from the log of the node.
"""

from paxosd.config import file_members
from paxosd.core.membership import Membership
from paxosd.core.node import Node
from paxosd.core.state.machine import Machine
from paxosd.daemon.status import StatusReport
from paxosd.host.log import Log
from paxosd.storage.disk import Disk

NOTE_AGAIN_MS = 10_000.0
"""A note that the disk did not take is tried again so much later."""


class FileComparison:
    """``home``: the data directory, where the present membership is left as a note for ``paxosd
    --check-config``."""

    def __init__(
        self, report: StatusReport, node: Node, machine: Machine, home: Disk, log: Log
    ) -> None:
        self._report = report
        self._node = node
        self._machine = machine
        self._home = home
        self._log = log
        self._compared = False
        """Whether a difference of the settings was logged."""
        self._noted: Membership | None = None
        """The membership that the note in the data directory has."""
        self._note_due_ms = 0.0

    def report_members(self) -> None:
        """Log how the members of the file differ from those of the cluster, if they do."""
        differing = self._report.members_differ()
        if differing:
            self._log.warning(
                "config.members_differ",
                differing=differing,
                message="; ".join(file_members.words(differing)),
            )

    def tick(self, now_ms: float) -> None:
        """Now and then: compare the settings, and write the note if the membership changed."""
        self._compare_settings()
        self._note_members(now_ms)

    def _compare_settings(self) -> None:
        settings = self._machine.settings
        if not settings.level or self._compared:
            return
        differing = {
            name: {"file": value, "cluster": getattr(settings, name)}
            for name, value in self._report.file_settings().items()
            if value != getattr(settings, name)
        }
        if differing:
            self._compared = True
            self._log.warning("config.differs", differing=differing, version=settings.version)

    def _note_members(self, now_ms: float) -> None:
        membership = self._node.membership
        if membership.epoch and membership is not self._noted and now_ms >= self._note_due_ms:
            self._note_due_ms = now_ms + NOTE_AGAIN_MS
            if file_members.leave_note(self._home, membership):
                self._noted = membership
