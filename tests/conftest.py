"""What all tests share: what a run costs, and that neither the load of the machine nor the shell
that began it decides how it ends."""

import compileall
import gc
import os
import random
import signal
import sys
from collections import Counter
from pathlib import Path
from zlib import crc32

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).parent.parent

# pytest keeps the tests with their rewritten assertions in __pycache__, also where
# PYTHONDONTWRITEBYTECODE is set: to rewrite them takes each worker a third of a minute.
sys.dont_write_bytecode = False

# How long an example takes says how busy the machine is.
settings.register_profile("any load", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any load")


CAMPAIGNS = (
    "core/test_chaos.py",
    "core/test_membership_chaos.py",
    "ctl/audit/test_mutations.py",
    "sim/test_gaps.py",
    "sim/test_mutations.py",
    "sim/campaign/test_run.py",
    "sim/cluster/test_watchers.py",
    "sim/test_crash_points.py",
    "sim/test_regressions.py",
)
"""Files of many whole simulated runs, most of them from fresh seeds."""
SLOW = (
    "bench/",
    "bus/test_bus.py",
    "bus/test_full_queue.py",
    "bus/test_half_open.py",
    "bus/test_intruders.py",
    "bus/test_names.py",
    "bus/test_peers.py",
    "bus/test_pollers.py",
    "check/test_ages.py",
    "check/test_linearizability_drawn.py",
    "check/test_total_order.py",
    "core/client/test_learned_limits.py",
    "core/client/test_protocol_faults.py",
    "core/client/test_watch.py",
    "core/state/test_checksum.py",
    "core/state/test_kv.py",
    "core/state/test_machine.py",
    "core/state/test_memory.py",
    "core/state/test_removal.py",
    "core/state/test_sessions.py",
    "core/state/test_snapshot.py",
    "core/test_cluster.py",
    "core/test_flow.py",
    "ctl/audit/",
    "ctl/audit/test_live_sockets.py",
    "ctl/cli/test_colour.py",
    "ctl/cli/test_diagnose.py",
    "ctl/cli/test_exit_codes.py",
    "ctl/cli/test_main.py",
    "ctl/cli/test_shells.py",
    "ctl/cli/test_streams.py",
    "ctl/cli/test_tables.py",
    "ctl/client/test_deadlines.py",
    "ctl/client/test_interrupted.py",
    "ctl/client/test_load.py",
    "ctl/client/test_names.py",
    "ctl/client/test_owner.py",
    "ctl/client/test_silence.py",
    "ctl/client/test_watch_members.py",
    "ctl/commands/test_bench.py",
    "ctl/commands/test_cluster.py",
    "ctl/commands/test_fault.py",
    "ctl/commands/test_kv.py",
    "ctl/commands/test_sim_run.py",
    "ctl/commands/test_sim_teach.py",
    "ctl/commands/test_man.py",
    "ctl/commands/test_shell.py",
    "ctl/commands/test_snapshot.py",
    "ctl/diagram/test_browser.py",
    "ctl/inspection/test_diagnosis.py",
    "ctl/load/",
    "ctl/member/",
    "daemon/test_commits.py",
    "dev/test_supervisor.py",
    "host/test_toml.py",
    "replica/test_commit_at_once.py",
    "replica/test_quarantine.py",
    "sim/campaign/",
    "sim/cluster/test_ballot_box.py",
    "sim/cluster/test_clients.py",
    "sim/cluster/test_clock_checks.py",
    "sim/cluster/test_process.py",
    "sim/cluster/test_process_disks.py",
    "sim/cluster/test_records.py",
    "sim/nemesis/",
    "sim/teach/",
    "sim/test_budget.py",
    "sim/test_client_names.py",
    "sim/test_divergence.py",
    "sim/test_members.py",
    "sim/test_passing_on.py",
    "sim/test_pitfalls.py",
    "sim/test_slow_link.py",
    "sim/test_snapshots.py",
    "sim/test_tolerance.py",
    "sim/test_turns.py",
    "sim/world/test_frame_limits.py",
    "snapshot/test_keeper.py",
    "snapshot/test_scrub.py",
    "storage/test_wal_model.py",
    "test_log_events.py",
    "trace/test_regression.py",
    "trace/test_what_if.py",
    "wire/test_wire.py",
)
"""Files and folders whose tests take seconds each: ``-m "not slow"`` leaves them out, with all
campaigns and real processes."""


CHUNK = 4
"""So many tests a worker is given at a time (``--maxschedchunk``)."""


def pytest_addoption(parser):
    """``--record``: tests that compare with recorded files write these anew instead. ``--undrawn``:
    the whole suite without a draw."""
    parser.addoption("--record", action="store_true", help="write the recorded files anew")
    parser.addoption("--undrawn", action="store_true", help="run also what is drawn, all of it")


def draw(config, items):
    """Of the tests that are marked ``drawn(n)`` one in n, others in each run: fixed seeds of whole
    simulated runs, which end as the last time unless the code has changed. Who names a file or a
    test gets all of it."""
    if config.option.undrawn or config.args_source is config.ArgsSource.ARGS:
        return
    # All workers of a run must collect the same tests.
    lot = os.environ.get("PYTEST_XDIST_TESTRUNUID") or str(random.getrandbits(64))
    left_out = [
        item
        for item in items
        for mark in [item.get_closest_marker("drawn")]
        if mark is not None and crc32(f"{lot} {item.nodeid}".encode()) % mark.args[0]
    ]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        out = set(left_out)
        items[:] = [item for item in items if item not in out]


def pytest_collection_modifyitems(config, items):
    """Where a test is says what it costs. The longest come first, lest a worker begins one when
    the others are done; among them those that wait are mixed with those that compute, a few of a
    file at a time, so that there is work for each core whenever there is any."""
    draw(config, items)
    order = {}
    begun: Counter[str] = Counter()
    for item in items:
        place = item.path.relative_to(ROOT / "tests").as_posix()
        marks = {
            "processes": place.startswith(("processes/", "hosts/")),
            "campaign": place.startswith(CAMPAIGNS),
            "slow": place.startswith(("processes/", "hosts/", *CAMPAIGNS, *SLOW)),
        }
        for name in (name for name, given in marks.items() if given):
            item.add_marker(getattr(pytest.mark, name))
        few = f"{place} {begun[place] // CHUNK}"
        begun[place] += 1
        order[item] = not marks["campaign"], not marks["slow"], marks["slow"] * crc32(few.encode())
    items.sort(key=order.__getitem__)


def pytest_configure(config):
    """The package is compiled once. Hundreds of daemons and clients are started, each of them two
    and a half times as long if it must compile what it imports: so it is in a clean checkout where
    PYTHONDONTWRITEBYTECODE is set."""
    if config.args_source is not config.ArgsSource.ARGS and not config.option.markexpr:
        # pytest alone: the others are a command of their own
        config.option.markexpr = "not processes and not campaign"
    if not hasattr(config, "workerinput"):
        for package in ("paxosd", "paxosctl"):
            compileall.compile_dir(ROOT / package, quiet=2)
    for name in (
        "PAXOSCTL_ENDPOINTS",
        "PAXOSCTL_CONTEXT",
        "PAXOSCTL_KEY_FILE",
        "PAXOSCTL_CLIENT_NAME",
    ):
        os.environ.pop(name, None)
    os.environ["PAXOSCTL_CONFIG"] = os.devnull + "/none"  # no contexts of whoever runs this
    # A shell's background job ignores the one, what runs under nohup the other; and so would each
    # command that a test interrupts.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pytest_collection_finish():
    """The garbage collector does not look at thousands of collected tests again and again, which
    takes a fifth of a simulation's time: they live until the end."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
