"""What a simulated run leaves behind: data directories and recorder files as of real nodes."""

import json
from collections import Counter, defaultdict

from paxosd.core.messages import Accepted
from paxosd.recorder.block import Losses
from paxosd.recorder.event import (
    APPLIED,
    NOTE,
    PUBLISHED,
    RECEIVED,
    SENT,
    START,
    SYNCED,
    VOTED,
    WRITE,
)
from paxosd.recorder.reader import read_events, recorder_files
from paxosd.sim.campaign.options import RunOptions
from paxosd.sim.campaign.run import run_seed
from paxosd.sim.cluster.records import RunRecords
from paxosd.sim.nemesis.schedule import Directive, Schedule
from paxosd.sim.world.trace import Trace
from paxosd.storage.disk import RealDisk
from paxosd.storage.wal_open import open_wal
from paxosd.wire import PEER_KINDS
from tests.bench.mutation_campaign import baseline_run, mutant_run

ACCEPTED = PEER_KINDS[Accepted]
SMALL = RunOptions(duration_ms=12_000, operations=200)


def events_in(directory):
    losses = Losses()
    events = list(read_events(recorder_files(directory / "recorder"), losses))
    assert losses == Losses()
    return events


def test_recording_changes_nothing(tmp_path):
    for seed in (3, 11):
        plain, recorded = Trace("all"), Trace("all")
        one = run_seed(seed, SMALL, trace=plain)
        other = run_seed(seed, SMALL, trace=recorded, records=RunRecords(tmp_path / str(seed)))
        assert plain.digest() == recorded.digest(), f"seed {seed}"
        assert one.digest == other.digest
    digest = run_seed(8, SMALL).digest
    assert run_seed(8, SMALL, records=RunRecords(tmp_path / "untraced")).digest == digest


def test_a_vote_is_published_after_the_group_commit_that_it_names(tmp_path):
    assert run_seed(8, SMALL, records=RunRecords(tmp_path)).ok
    seen = 0
    for name in ("n1", "n2", "n3"):
        synced, groups = set(), {}
        for event in events_in(tmp_path / name):
            if event.kind == START:
                synced, groups = set(), {}  # it may be another log
            elif event.kind == SYNCED:
                synced.add(event.slot)
            elif event.kind == VOTED:
                assert event.x not in synced, "it was open yet"
                groups[event.slot, event.round, event.voter] = event.x
            elif event.kind == ACCEPTED and event.code == PUBLISHED:
                for slot in range(event.slot, event.x + 1):
                    group = groups.get((slot, event.round, event.voter))
                    seen += group is not None
                    assert group is None or group in synced
    assert seen > 100


def test_the_nodes_events_fit_together(tmp_path):
    report = run_seed(8, SMALL, records=RunRecords(tmp_path))
    assert report.ok
    events = {name: events_in(tmp_path / name) for name in ("n1", "n2", "n3")}
    chains = defaultdict(set)
    for node, found in events.items():
        kinds = Counter(event.kind for event in found)
        assert min(kinds[kind] for kind in (START, APPLIED, VOTED, SYNCED, NOTE)) > 0
        assert {event.node for event in found} == {node}
        for event in found:
            if event.kind == APPLIED:
                chains[event.slot].add((event.x, event.y))
            if event.kind == NOTE:
                assert json.loads(event.text)["level"] in {"info", "warning", "error"}
    assert len(chains) > 50
    assert {len(each) for each in chains.values()} == {1}
    writes = [event for found in events.values() for event in found if event.kind == WRITE]
    assert len({(event.x, event.y) for event in writes if not event.code}) > 50
    by_number = Counter((e.kind, e.code) for found in events.values() for e in found if e.peer)
    assert any(code == SENT for _, code in by_number)
    assert any(code == RECEIVED for _, code in by_number)


def test_the_logs_are_those_of_data_directories(tmp_path):
    run_seed(8, SMALL, records=RunRecords(tmp_path))
    for name in ("n1", "n2", "n3"):
        assert json.loads((tmp_path / name / "identity").read_text())["node"] == name
        disk = RealDisk(tmp_path / name / "wal")
        wal, recovered = open_wal(disk, cluster_id="sim", node_id=name)
        wal.close()
        assert recovered.last_slot > 50


def test_each_life_has_a_file_and_a_kill_loses_what_was_not_flushed_if_it_is_to(tmp_path):
    options = RunOptions(duration_ms=6000, operations=300, faults=frozenset(), level=0)
    schedule = Schedule([Directive(3000, "crash", "n2", {"power": False})])
    last = {}
    for how in (True, False):
        directory = tmp_path / str(how)
        records = RunRecords(directory, keeps_last=how)
        assert run_seed(5, options, schedule=schedule, records=records).ok
        files = recorder_files(directory / "n2" / "recorder")
        first = list(read_events(files[:1], Losses()))
        assert len(files) == 2
        assert {e.boot_count for e in first} == {1}
        last[how] = first[-1].seq
    assert last[False] < last[True]


def test_a_mutants_run_is_recorded_as_well(tmp_path):
    mutant_run(1, "adoption", "storm", RunRecords(tmp_path / "mutant"))
    assert baseline_run(1, "storm", RunRecords(tmp_path / "code")).ok
    for run in ("mutant", "code"):
        assert sum(len(events_in(node)) for node in (tmp_path / run).iterdir()) > 1000
