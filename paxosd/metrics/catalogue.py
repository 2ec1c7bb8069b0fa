"""Every metric of a node: its name, type, labels, meaning, and how an observation has it.

``docs/METRICS.md`` is made of this (``python -m tests.metrics_page``). Names follow Prometheus'
rules: base units, ``_total`` for what only grows; ``process_*`` are the names that all exporters
use.
"""

from collections.abc import Iterator, Mapping

from paxosd.core.admission import Readiness
from paxosd.core.effects import REFUSALS
from paxosd.core.status import PeerStatus
from paxosd.metrics.metric import Metric, Sample, counter, gauge, histogram
from paxosd.metrics.observation import Observation

ROLES = {"leader", "candidate", "follower", "learner"} | {each.role for each in Readiness}
WATCHERS = ("changes", "gaps", "learned", "progress", "refused", "withheld")
STATES = ("agreed", "diverged", "disputed")


def _counts(counts: Mapping[str, float]) -> Iterator[Sample]:
    for name, count in sorted(counts.items()):
        yield (name,), count


def _bus(seen: Observation, prefix: str) -> Iterator[Sample]:
    """The counters ``PREFIX.REST`` of the bus, by their rest."""
    for name, count in sorted(seen.status.counters.items()):
        if name.startswith(f"{prefix}."):
            yield (name.removeprefix(f"{prefix}."),), count


def _role(seen: Observation) -> Iterator[Sample]:
    role = seen.status.role
    for each in sorted(ROLES | {role}):
        yield (each,), int(each == role)


def _state(seen: Observation) -> Iterator[Sample]:
    for each in STATES:
        yield (each,), int(each == seen.status.state)


def _peers(seen: Observation) -> list[tuple[tuple[str], PeerStatus]]:
    return [((name,), peer) for name, peer in sorted(seen.status.peers.items())]


def _connections(seen: Observation, field: str) -> Iterator[Sample]:
    for port, status in sorted(seen.status.connections.items()):
        yield (port,), getattr(status, field)


def _requests(seen: Observation) -> Iterator[Sample]:
    for verb, outcomes in (("write", seen.writes), ("read", seen.reads)):
        for outcome, times in sorted(outcomes.items()):
            yield (verb, outcome), times


def _known(number: float) -> float | None:
    return None if number < 0 else number


PROTOCOL = (
    gauge("paxosd_build_info", "Always 1; who this node is, in its labels.",
          lambda s: [((s.status.version, s.status.node, s.status.cluster), 1)],
          "version", "node", "cluster"),
    gauge("paxosd_role", "1 for the role that this node has, 0 for the others.", _role, "role"),
    gauge("paxosd_is_leader", "1: this node leads.", lambda s: int(s.status.role == "leader")),
    gauge("paxosd_has_leader", "1: this node knows of a leader.",
          lambda s: int(s.status.leader != "")),
    counter("paxosd_leader_changes_total", "How often another ballot began to lead, as this node "
            "saw it when it looked, ten times a second.", lambda s: s.leader_changes),
    counter("paxosd_elections_total", "How often this node began an election.",
            lambda s: s.status.elections),
    gauge("paxosd_ballot_round", "The round of the ballot of the leader that this node follows.",
          lambda s: s.status.ballot.round),
    gauge("paxosd_promised_round", "The round of the highest ballot that this node promised.",
          lambda s: s.status.promised.round),
    gauge("paxosd_commit_slot", "Up to which slot this node knows what was chosen.",
          lambda s: s.status.commit),
    gauge("paxosd_known_commit_slot", "The highest commit index that any node reported.",
          lambda s: s.status.known_commit),
    gauge("paxosd_applied_slot", "The last applied slot.", lambda s: s.status.applied),
    gauge("paxosd_lag_slots", "How many slots the applied one is behind the highest commit index "
          "known.", lambda s: s.status.lag_slots),
    gauge("paxosd_state_age_seconds", "What is applied here holds everything that was acknowledged "
          "so long ago, or earlier.",
          lambda s: _known(s.status.age_ms / 1000)),
    gauge("paxosd_open_slots", "Slots that this leader proposed and that are not chosen yet.",
          lambda s: s.status.open_slots),
    gauge("paxosd_window_slots_max", "So many may be open at once (protocol.window_slots_max).",
          lambda s: s.window_slots_max),
    gauge("paxosd_queued_commands", "Commands that wait to be proposed.",
          lambda s: s.status.queued_commands),
    gauge("paxosd_queue_commands_max", "So many may wait; more are refused as busy "
          "(limits.queue_commands_max).", lambda s: s.queue_commands_max),
    gauge("paxosd_reads_waiting", "Linearizable reads that wait for the leader's confirmation.",
          lambda s: s.status.reads_waiting),
    counter("paxosd_votes_repeated_total", "Gaps filled: messages in which a peer repeated votes "
            "of which this node had missed the publication.", lambda s: s.votes_repeated),
    gauge("paxosd_comparison_state", "1 for what the comparison of states found: agreed, diverged "
          "(a majority has another state than this node), disputed.", _state, "state"),
    gauge("paxosd_feature_level", "The feature level of the cluster.",
          lambda s: s.status.feature_level),
)  # fmt: skip

MEMBERS = (
    gauge("paxosd_voters", "How many members have a vote.", lambda s: len(s.status.voters)),
    gauge("paxosd_quorum_voters", "The larger of the two quorum sizes.", lambda s: s.status.quorum),
    gauge("paxosd_fault_tolerance", "How many more voters may fail before writing stops; -1: it "
          "has stopped.", lambda s: s.status.fault_tolerance),
    gauge("paxosd_membership_epoch", "The epoch of the membership in force.",
          lambda s: s.status.epoch),
    gauge("paxosd_peer_reachable", "1: the peer was heard within two election timeouts.",
          lambda s: [(name, int(peer.reachable)) for name, peer in _peers(s)], "peer"),
    gauge("paxosd_peer_votes", "1: the peer's vote counts now.",
          lambda s: [(name, int(peer.votes)) for name, peer in _peers(s)], "peer"),
    gauge("paxosd_peer_silence_seconds", "How long nothing came from the peer; no sample: nothing "
          "ever did.",
          lambda s: [(n, _known(peer.heard_ms_ago / 1000)) for n, peer in _peers(s)], "peer"),
    gauge("paxosd_peer_lag_slots", "How far the peer's commit index, as it last said, is behind "
          "the highest one known.",
          lambda s: [(n, s.status.known_commit - peer.commit) for n, peer in _peers(s)], "peer"),
    gauge("paxosd_peer_clock_offset_seconds", "How far the peer's wall clock is ahead of this "
          "node's; no sample: not known. No wall clock decides anything.",
          lambda s: [(n, None if peer.skew_ms is None else peer.skew_ms / 1000)
                     for n, peer in _peers(s)], "peer"),
)  # fmt: skip

REQUESTS = (
    counter("paxosd_requests_total", "Requests of clients that came to this node, by kind: write, "
            "read (linearizable), stale_read, forward (a write to pass on), history, admin.",
            lambda s: _counts(s.requests), "kind"),
    counter("paxosd_refusals_total", "Requests that were refused, by the code of the refusal "
            "(docs/PROTOCOL.md).",
            lambda s: _counts(dict.fromkeys(REFUSALS, 0) | dict(s.refusals)), "code"),
    histogram("paxosd_request_duration_seconds", "From when a write or a linearizable read came to "
              "its answer; the outcome is ok or the code of the refusal. What is refused before it "
              "is handed to the protocol is in paxosd_refusals_total alone.",
              _requests, "verb", "outcome"),
    histogram("paxosd_write_stage_duration_seconds", "Where the time of a write went on the "
              "leader: queue (until proposed), persist (until its own vote is durable), quorum "
              "(until chosen), apply (until answered). Of one slot in seven.",
              lambda s: [((stage,), times) for stage, times in sorted(s.stages.items())], "stage"),
    counter("paxosd_passed_on_total", "Writes that this node passed on to the leader.",
            lambda s: s.status.counters.get("passed_on", 0)),
)  # fmt: skip

STORAGE = (
    histogram("paxosd_fsync_duration_seconds", "How long the group commits of the log took, write "
              "and fdatasync.", lambda s: s.syncs),
    counter("paxosd_wal_written_bytes_total", "Bytes written to the log.",
            lambda s: s.status.disk.written_bytes),
    gauge("paxosd_wal_bytes", "The size of all segments of the log.",
          lambda s: _known(s.status.disk.wal_bytes)),
    gauge("paxosd_wal_first_slot", "The first slot that the log still holds.",
          lambda s: s.status.disk.first_slot),
    gauge("paxosd_disk_free_bytes", "What is free on the file system of the data directory.",
          lambda s: _known(s.status.disk.free_bytes)),
    gauge("paxosd_disk_free_files", "Inodes that are free there.",
          lambda s: _known(s.status.disk.free_files)),
    gauge("paxosd_disk_low", "1: this node's disk is nearly full.",
          lambda s: int(s.status.node in s.status.low_space)),
    gauge("paxosd_storage_failed", "1: a write or a sync of the log failed; the node ends.",
          lambda s: int(s.status.disk.poisoned)),
    histogram("paxosd_snapshot_duration_seconds", "How long the snapshots of this node took, "
              "beside the traffic.", lambda s: s.snapshots),
    gauge("paxosd_snapshot_slot", "The slot of the newest snapshot; 0: there is none.",
          lambda s: s.status.snapshot.slot if s.status.snapshot else None),
    gauge("paxosd_snapshot_age_seconds", "The age of the newest snapshot; no sample: there is "
          "none.",
          lambda s: _known(s.status.snapshot.age_ms / 1000) if s.status.snapshot else None),
    gauge("paxosd_snapshot_bytes", "The size of the newest snapshot.",
          lambda s: s.status.snapshot.bytes if s.status.snapshot else None),
    counter("paxosd_snapshots_installed_total", "Snapshots of peers that took the place of this "
            "node's state.", lambda s: s.status.snapshot.installed if s.status.snapshot else None),
    counter("paxosd_damage_found_total", "Damaged segments and snapshots that were found.",
            lambda s: s.status.snapshot.scrub.found if s.status.snapshot else None),
    counter("paxosd_damage_repaired_total", "Those of them that were repaired.",
            lambda s: s.status.snapshot.scrub.repaired if s.status.snapshot else None),
)  # fmt: skip

STATE = (
    gauge("paxosd_revision", "The revision of the store.", lambda s: s.status.revision),
    gauge("paxosd_keys", "Keys in the store.", lambda s: s.status.keys),
    gauge("paxosd_sessions", "Sessions of clients.", lambda s: s.status.sessions),
    gauge("paxosd_leases", "Leases.", lambda s: s.leases),
    gauge("paxosd_quota_used_bytes", "What the keys count towards the quota; no sample: there is "
          "none.", lambda s: s.status.held_bytes if s.quota_bytes_max else None),
    gauge("paxosd_quota_max_bytes", "The quota; no sample: there is none.",
          lambda s: s.quota_bytes_max or None),
    gauge("paxosd_quota_full", "1: writes are refused for the quota.",
          lambda s: int(s.status.quota == "full")),
)  # fmt: skip

BUS = (
    counter("paxosd_messages_received_total", "Messages taken in, from peers and clients.",
            lambda s: _bus(s, "received"), "from"),
    counter("paxosd_messages_sent_total", "Messages handed to ZeroMQ, to peers, clients and "
            "subscribers (events).", lambda s: _bus(s, "sent"), "to"),
    counter("paxosd_messages_unsent_total", "Messages that were dropped: client_slow, client_full "
            "and client_gone are answers, peer_full counts queues that were full, and a name is "
            "the peer for which there was no room.", lambda s: _bus(s, "unsent"), "reason"),
    counter("paxosd_messages_refused_total", "Frames that cannot be messages of this cluster.",
            lambda s: _bus(s, "refused"), "reason"),
    counter("paxosd_redials_total", "Connections to a peer that were made anew.",
            lambda s: _bus(s, "redialled"), "peer"),
    gauge("paxosd_event_bytes_waiting", "What is held for subscribers that are slow.",
          lambda s: s.event_bytes_waiting),
    counter("paxosd_watch_events_total", "What was done for watchers: changes, progress and "
            "learned are messages published; withheld are changes not published, for their queues "
            "were full; gaps are jumps over revisions; refused are subscriptions.",
            lambda s: _counts(dict.fromkeys(WATCHERS, 0) | dict(s.watchers)), "what"),
    gauge("paxosd_connections", "Open connections of each listening socket.",
          lambda s: _connections(s, "open"), "socket"),
    gauge("paxosd_connections_max", "So many may be open.",
          lambda s: _connections(s, "most"), "socket"),
    counter("paxosd_connections_refused_total", "Connections that were ended at once, for there "
            "were too many.", lambda s: _connections(s, "refused"), "socket"),
)  # fmt: skip

PROCESS = (
    counter("paxosd_turns_total", "Turns of the loop.",
            lambda s: s.status.counters.get("turns", 0)),
    counter("paxosd_slow_turns_total", "Turns that took more than half a second.",
            lambda s: s.slow_turns),
    counter("paxosd_log_lines_dropped_total", "Log lines dropped, because writing them would have "
            "blocked.", lambda s: s.status.counters.get("log_lines_dropped", 0)),
    gauge("paxosd_faults_active", "Fault rules that are active.", lambda s: s.status.fault_count),
    counter("paxosd_fault_hits_total", "How often injected faults did something.",
            lambda s: _counts(s.fault_hits), "kind"),
    counter("paxosd_recorder_lost_events_total", "Events that the flight recorder dropped.",
            lambda s: s.status.recorder.lost_events if s.status.recorder else None),
    gauge("process_resident_memory_bytes", "Resident memory.", lambda s: s.status.rss_bytes),
    counter("process_cpu_seconds_total", "Processor time of all threads.",
            lambda s: s.status.cpu_ms / 1000),
    gauge("process_open_fds", "File descriptors in use, about.",
          lambda s: s.status.descriptors.used if s.status.descriptors else None),
    gauge("process_max_fds", "File descriptors that the process may have.",
          lambda s: s.status.descriptors.total if s.status.descriptors else None),
    gauge("process_start_time_seconds", "When the process started, since 1970.",
          lambda s: None if s.status.wall_ms is None
          else (s.status.wall_ms - s.status.uptime_ms) / 1000),
)  # fmt: skip

SECTIONS: dict[str, tuple[Metric, ...]] = {
    "The protocol": PROTOCOL,
    "Members": MEMBERS,
    "Requests": REQUESTS,
    "Storage": STORAGE,
    "State": STATE,
    "Messages and watchers": BUS,
    "The process": PROCESS,
}
METRICS: tuple[Metric, ...] = tuple(each for section in SECTIONS.values() for each in section)
