"""What was found out about the machine of one node. How: :mod:`paxosctl.doctor.facts`."""

from dataclasses import dataclass, field

UNLIMITED = -1
UNKNOWN = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Directory:
    """The data directory of the node. ``problem``: why this user cannot use it, "": it can, or the
    directory can be made. ``hidden``: it is there, and this user may not look into it. ``cluster``
    and ``node``: whose it is by its identity file; "": it was not used yet. ``damage``: what is
    wrong with what it holds. ``mode``: its permission bits, ``owner``: its user's number; UNKNOWN:
    it is not there, or that is not known.
    ``locked_by``: the process that has it locked, 0: some process; None: nobody has.
    ``held_bytes``: the size of all that is in it; ``snapshot_bytes``: of its newest snapshot."""

    path: str
    problem: str = ""
    hidden: bool = False
    cluster: str = ""
    node: str = ""
    damage: str = ""
    mode: int = UNKNOWN
    owner: int = UNKNOWN
    locked_by: int | None = None
    held_bytes: int = 0
    snapshot_bytes: int = 0

    @property
    def was_used(self) -> bool:
        """Whether a node was started in it."""
        return bool(self.cluster or self.damage)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSystem:
    """Of the data directory. ``kind``: as the kernel names it; "": not known. ``free_files``:
    UNKNOWN if it has no fixed number of them."""

    kind: str = ""
    mount: str = ""
    free_bytes: int = UNKNOWN
    free_files: int = UNKNOWN


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """An endpoint of the node that was tried while the node does not run. ``what``: peer, client,
    events or http. ``error``: why it cannot be listened on, "": it can. ``taken``: because another
    process has it, ``holder``, as far as that may be known."""

    what: str
    endpoint: str
    error: str = ""
    taken: bool = False
    holder: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """The limits of the running node, ``pid``; or, with 0, those of this very process, which the
    node would have if it were started from here. ``core_bytes``: of a core dump. ``swapped_bytes``
    and ``resident_bytes`` of the running node alone. ``memory_limit_bytes``: of its control
    group."""

    pid: int = 0
    descriptors: int = UNLIMITED
    core_bytes: int = 0
    core_pattern: str = ""
    swapped_bytes: int = 0
    resident_bytes: int = 0
    memory_limit_bytes: int = UNLIMITED


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyFiles:
    """The files of keys that the node is to use. ``public_key``: its own by its key file, in Z85;
    "": it has none, or that is not known. ``problems``: why they cannot be used; ``hidden``: those
    that this user may not read."""

    public_key: str = ""
    problems: tuple[str, ...] = ()
    hidden: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """``syncs_us``: how long writes with fdatasync took in the data directory, in microseconds;
    empty, if none were made. ``clock_synced``: whether the kernel says that a time service keeps
    the clock; None: it does not say. ``available_bytes``: of memory, without swapping.
    ``log_free_bytes``: on the file system of the node's log file; UNKNOWN without one.
    ``config_mode``: permission bits of the configuration file. ``keys``: its files of keys."""

    directory: Directory
    file_system: FileSystem = field(default_factory=FileSystem)
    ports: tuple[Port, ...] = ()
    process: Process = field(default_factory=Process)
    syncs_us: tuple[int, ...] = ()
    clock_synced: bool | None = None
    available_bytes: int = UNKNOWN
    log_free_bytes: int = UNKNOWN
    config_mode: int = UNKNOWN
    keys: KeyFiles = field(default_factory=KeyFiles)
