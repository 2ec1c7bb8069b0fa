"""The replicated settings and the feature level: changed in the log, from the next slot on."""

import json

import pytest

from paxosd.core.cluster_settings import (
    BOUNDS,
    LEVEL_COORDINATION,
    LEVEL_LATEST,
    SINCE_LEVEL,
    ClusterSettings,
    SettingsError,
    UnknownLevelError,
)
from paxosd.core.commands import CLUSTER, OPEN, PUT, Batch, Entry, Reign, Status
from paxosd.core.membership import Membership
from paxosd.core.messages import Accept, Hello, Welcome
from paxosd.core.state.machine import Machine, MachineLimits
from paxosd.core.state.sessions import SessionLimits
from paxosd.core.state.snapshot import Restore, SnapshotWalk
from paxosd.core.state.snapshot_head import SnapshotError
from tests.core.changes import change_entry, grown, membership, plain, wanted
from tests.core.cluster import Cluster
from tests.core.scenes import started
from tests.core.state.parts import copy_history

FIRST = ClusterSettings(level=1)


def entry(after, version=0, epoch=0):
    return Entry(0, 1, 0, [[CLUSTER, version, epoch, after.to_command()]])


def document(**changes):
    return json.dumps(FIRST.document() | changes).encode()


class Log:
    """A machine and its log; slot by slot."""

    def __init__(self, limits=None):
        self.machine = Machine(*([limits] if limits else []))

    def apply(self, *entries, stamp_ms=0, reign=None):
        batch = Batch(stamp_ms, list(entries), reign)
        return self.machine.apply(self.machine.applied + 1, batch)

    def change(self, after):
        present = self.machine.settings.version
        return self.apply(entry(after, present))[0][0]


class TestDocument:
    def test_settings_go_there_and_back(self):
        made = ClusterSettings(level=1, sessions_max=7, genesis="ab01").to_command()
        found = ClusterSettings(version=4, level=1).follow(made)
        assert found == ClusterSettings(5, 1, sessions_max=7, genesis="ab01")
        assert ClusterSettings.from_json(found.to_json()) == found

    def test_those_of_version_0_are_in_no_log(self):
        assert ClusterSettings().to_json() == b""
        assert ClusterSettings.from_json(b"") == ClusterSettings()

    @pytest.mark.parametrize(
        "text",
        [
            b"", b"{", b"[]", b"{}", b"\xff", 5, None, b"[" * 4096, b" " * 5000,
            document(version=3), document(colour=1), document(level="1"), document(level=True),
            document(level=0), document(level=-1), document(genesis="xyz"), document(genesis="abc"),
            document(genesis=None), document(genesis="00" * 65), document(sessions_max=1.0),
            document(commands_per_request_max=100, session_window_max=99),
        ],
    )  # fmt: skip
    def test_what_is_none_is_refused(self, text):
        with pytest.raises(SettingsError):
            ClusterSettings().follow(text)

    @pytest.mark.parametrize("name", BOUNDS)
    def test_each_bound(self, name):
        least, most = BOUNDS[name]
        at_level = ClusterSettings(level=max(1, SINCE_LEVEL.get(name, 0))).document()
        for value in (least - 1, most + 1):
            with pytest.raises(SettingsError, match=f"{name} is a number from {least} to {most}"):
                ClusterSettings().follow(json.dumps(at_level | {name: value}).encode())
        extreme = {"session_window_max": 8192} if name == "commands_per_request_max" else {}
        text = json.dumps(at_level | {name: most} | extreme).encode()
        assert getattr(ClusterSettings().follow(text), name) == most

    def test_a_setting_of_a_later_level_is_in_no_document_of_an_earlier_one(self):
        """A program of before refuses it as malformed; this one must do the same."""
        before = ClusterSettings(level=LEVEL_COORDINATION - 1, leases_max=5)
        assert b"leases_max" not in before.to_command()
        assert b"leases_max" not in before._replace(version=1).to_json()
        after = ClusterSettings(level=LEVEL_COORDINATION, leases_max=5)
        assert ClusterSettings().follow(after.to_command()).leases_max == 5
        for text in (
            after._replace(level=LEVEL_COORDINATION - 1).document() | {"leases_max": 5},
            before._replace(level=LEVEL_COORDINATION - 1).document() | {"level": 4},
        ):
            with pytest.raises(SettingsError, match="settings have"):
                ClusterSettings().follow(json.dumps(text).encode())

    def test_a_level_that_is_not_known_is_said_before_anything_is_judged(self):
        for text in (document(level=99), b'{"level":99}', document(level=99, colour=1)):
            with pytest.raises(UnknownLevelError) as caught:
                ClusterSettings(3, 1).follow(text)
        assert str(caught.value) == (
            "this cluster has raised its feature level to 99; this program knows "
            f"{LEVEL_LATEST}: start a newer paxosd"
        )
        with pytest.raises(UnknownLevelError):
            ClusterSettings.from_json(b'{"level":9}')

    def test_the_genesis_is_set_once(self):
        before = ClusterSettings(1, 1).follow(document(genesis="ab"))
        assert before.follow(document(genesis="ab")).genesis == "ab"
        for other in ("", "cd"):
            with pytest.raises(SettingsError, match="genesis"):
                before.follow(document(genesis=other))


class TestApplied:
    def test_a_change_names_what_it_follows(self):
        log = Log()
        assert log.change(FIRST) == (Status.OK, 1, 2)
        assert log.machine.settings == FIRST._replace(version=1)
        miss = log.apply(entry(FIRST._replace(sessions_max=5)))[0][0]
        assert miss == (Status.CAS_MISS, 1, 0)
        assert log.machine.settings.sessions_max == 10_000

    def test_of_two_in_one_slot_the_first_counts(self):
        log = Log()
        one, two = FIRST._replace(sessions_max=5), FIRST._replace(sessions_max=6)
        results = log.apply(entry(one), entry(two))
        assert [each[0][0] for each in results] == [Status.OK, Status.CAS_MISS]
        assert log.machine.settings.sessions_max == 5

    def test_one_made_for_another_membership_does_nothing(self):
        """A raise that is chosen behind a change of the membership: its members were not asked."""
        log = Log()
        members = Membership({"n1": plain()})
        log.apply(change_entry(0, members.to_command()))
        assert log.apply(entry(FIRST))[0][0] == (Status.CAS_MISS, 0, 1)
        assert log.machine.settings.level == 0
        assert log.apply(entry(FIRST, epoch=1))[0][0] == (Status.OK, 1, 4)

    @pytest.mark.parametrize(
        "command",
        [[CLUSTER], [CLUSTER, 0, 0], [CLUSTER, 0, 0, b"{}"], [CLUSTER, 0, 0, 7],
         [CLUSTER, 0, 0, document(level=0)]],
    )  # fmt: skip
    def test_a_malformed_one_is_answered_so_by_all(self, command):
        log = Log()
        assert log.apply(Entry(0, 1, 0, [command]))[0][0][0] == Status.MALFORMED
        assert log.machine.settings == ClusterSettings()

    def test_it_belongs_into_session_0(self):
        log = Log()
        session = log.apply(Entry(0, 1, 0, [[OPEN]]))[0][0][2]
        results = log.apply(Entry(session, 1, 0, entry(FIRST).commands))
        assert results[0][0][0] == Status.MALFORMED

    def test_it_governs_the_next_slot_not_its_own(self):
        log = Log()
        few = entry(FIRST._replace(sessions_max=1))
        opened = log.apply(few, Entry(0, 1, 0, [[OPEN]]), Entry(0, 1, 0, [[OPEN]]))
        assert [each[0][0] for each in opened[1:]] == [Status.OK, Status.OK]
        assert log.apply(Entry(0, 1, 0, [[OPEN]]))[0][0][0] == Status.SESSIONS_FULL

    def test_a_table_that_is_too_full_shrinks_to_what_is_allowed(self):
        log = Log()
        for _ in range(5):
            log.apply(Entry(0, 1, 0, [[OPEN]]))
        log.change(FIRST._replace(sessions_max=2, session_idle_evict_ms=0))
        assert log.apply(Entry(0, 1, 0, [[OPEN]]))[0][0][0] == Status.OK
        assert len(log.machine.sessions) == 2

    def test_a_shorter_life_ends_sessions_at_the_next_slot(self):
        log = Log()
        log.change(FIRST)
        log.apply(Entry(0, 1, 0, [[OPEN]]), reign=Reign(1, "n1", 0))
        log.apply(Entry(0, 1, 0, [[OPEN]]), reign=Reign(1, "n1", 5000))
        log.change(FIRST._replace(session_ttl_ms=4000))
        log.apply(reign=Reign(1, "n1", 5000))
        assert list(log.machine.sessions.table) == [2]

    def test_a_smaller_window(self):
        log = Log()
        log.change(FIRST)
        session = log.apply(Entry(0, 1, 0, [[OPEN]]))[0][0][2]
        log.change(FIRST._replace(session_window_max=1024))
        puts = [[PUT, b"k", b"%d" % n] for n in range(1025)]
        results = log.apply(Entry(session, 1, 0, puts))[0]
        assert results[-1][0] == Status.WINDOW
        assert type(results[-2]) is int

    def test_the_level_rises_only(self):
        log = Log()
        log.change(FIRST)
        assert log.change(FIRST._replace(level=0))[0] == Status.MALFORMED

    def test_a_level_beyond_this_program_stops_it_before_the_slot(self):
        log = Log()
        log.change(FIRST)
        session = log.apply(Entry(0, 1, 0, [[OPEN]]))[0][0][2]
        before = log.machine.applied, log.machine.chain, log.machine.revision
        put = Entry(session, 1, 0, [[PUT, b"k", b"v"]])
        for version in (1, 2):  # 2: behind another change in the same batch
            raised = Entry(0, 1, 0, [[CLUSTER, version, 0, document(level=99)]])
            with pytest.raises(UnknownLevelError, match=f"to 99; .* knows {LEVEL_LATEST}"):
                log.apply(put, raised)
        assert (log.machine.applied, log.machine.chain, log.machine.revision) == before

    def test_a_raise_beyond_this_program_that_does_nothing_stops_nobody(self):
        log = Log()
        log.change(FIRST)
        late = Entry(0, 1, 0, [[CLUSTER, 0, 0, document(level=99)]])
        assert log.apply(late)[0][0][0] == Status.CAS_MISS
        elsewhere = Entry(0, 1, 0, [[CLUSTER, 1, 4, document(level=99)]])
        assert log.apply(elsewhere)[0][0][0] == Status.CAS_MISS

    def test_the_chain_tells_of_them(self):
        one, two = Log(), Log()
        one.change(FIRST)
        two.change(FIRST._replace(value_bytes_max=5))
        assert one.machine.chain != two.machine.chain

    def test_without_any_the_limits_of_the_machine_count(self):
        log = Log(MachineLimits(SessionLimits(sessions_max=3)))
        assert log.machine.settings == ClusterSettings(sessions_max=3)


def snapshot(machine, **changes):
    walk = SnapshotWalk(machine, {})
    restore = Restore(walk.head._replace(**changes))
    while rows := walk.sessions():
        restore.sessions(rows)
    copy_history(walk, restore)
    while not walk.done:
        restore.rows(tuple(walk.rows(10, 1 << 20)))
    return restore.finish()


class TestSnapshots:
    def test_settings_and_stopwatch_are_in_them(self):
        log = Log()
        log.change(FIRST._replace(sessions_max=77, session_ttl_ms=5000))
        log.apply(Entry(0, 1, 0, [[OPEN]]), reign=Reign(1, "n1", 40))
        log.apply(Entry(0, 1, 0, [[OPEN]]), reign=Reign(1, "n1", 70))
        again = snapshot(log.machine)
        assert again.settings == log.machine.settings
        assert again.sessions.limits == log.machine.sessions.limits
        for machine in (log.machine, again):
            machine.apply(4, Batch(0, [], Reign(1, "n1", 8000)))
        assert again.log_time_ms == log.machine.log_time_ms == 7960
        assert again.chain == log.machine.chain
        assert list(again.sessions.table) == list(log.machine.sessions.table) == []

    def test_more_sessions_than_are_allowed_now(self):
        log = Log()
        for _ in range(5):
            log.apply(Entry(0, 1, 0, [[OPEN]]))
        log.change(FIRST._replace(sessions_max=2))
        assert len(snapshot(log.machine).sessions) == 5

    @pytest.mark.parametrize(
        "changes",
        [{"settings": b"{}"}, {"settings": "x"}, {"reign": (1, "n1")}, {"reign": None},
         {"reign": (1, 2, 3)}, {"reign": (-1, "n1", 3)}, {"reign": (1, "n1", 1.5)}],
    )  # fmt: skip
    def test_impossible_ones_are_refused(self, changes):
        log = Log()
        log.change(FIRST)
        with pytest.raises(SnapshotError):
            snapshot(log.machine, **changes)

    def test_those_of_a_level_beyond_this_program_are_no_damage(self):
        log = Log()
        log.change(FIRST)
        with pytest.raises(UnknownLevelError):
            snapshot(log.machine, settings=b'{"level":99}')


def levels(cluster, level=1, *, but=()):
    """Every node hears that every other understands ``level``, but those of ``but``."""
    for member in cluster.up():
        for name in cluster.members:
            if name not in but:
                member.node.peer_level(name, level)


def raised(cluster):
    return all(member.machine.settings.level == 1 for member in cluster.up())


RAISING = {"level_target": 1, "founding_settings": ClusterSettings(value_bytes_max=999)}


class TestRaising:
    def test_once_all_members_understand_it(self):
        cluster = Cluster(3, options=RAISING)
        leader = cluster.elect()
        cluster.run(1000)
        assert not raised(cluster)
        assert cluster.members[leader].node.status().feature_level_lagging != ()
        levels(cluster)
        cluster.run_until(lambda: raised(cluster))
        cluster.run(1000)
        settings = cluster.members[leader].machine.settings
        assert settings == ClusterSettings(1, 1, value_bytes_max=999)
        assert cluster.members[leader].node.status().feature_level == 1
        logged = [notice.event for _, _, notice in cluster.notices]
        assert logged.count("cluster.settings") == 3
        cluster.check_equal()

    def test_not_while_one_does_not_understand_it(self):
        """A learner counts like a voter: it applies the log, too."""
        cluster, _ = grown(3, options=RAISING)
        levels(cluster, but=["n9"])
        cluster.run(3000)
        assert not raised(cluster)
        levels(cluster)
        cluster.run_until(lambda: raised(cluster))

    def test_one_that_was_started_with_an_older_program_again_counts_as_such(self):
        cluster = Cluster(3, options=RAISING)
        leader = cluster.elect()
        node = cluster.members[leader].node
        for name in cluster.members:
            node.peer_level(name, 1)
            node.peer_level(name, 0)
        cluster.run(2000)
        assert not raised(cluster)

    def test_to_the_highest_level_that_all_take(self):
        """A program that knows 3, members at 2: the level is 2, and not 0."""
        cluster = Cluster(3, options=RAISING | {"level_target": 3})
        leader = cluster.elect()
        levels(cluster, 2)
        cluster.run_until(lambda: cluster.members[leader].machine.settings.level == 2)
        assert len(cluster.members[leader].node.status().feature_level_lagging) == 2
        cluster.run(2000)
        assert cluster.members[leader].machine.settings == ClusterSettings(
            1, 2, value_bytes_max=999
        )
        levels(cluster, 3)
        cluster.run_until(lambda: cluster.members[leader].machine.settings.level == 3)
        cluster.check_equal()

    def test_a_leader_that_is_held_raises_it_no_further(self):
        options = RAISING | {"level_target": 1, "level_known": 3}
        cluster = Cluster(3, options=options)
        leader = cluster.elect()
        levels(cluster, 3)
        cluster.run_until(lambda: raised(cluster))
        cluster.run(2000)
        status = cluster.members[leader].node.status()
        assert raised(cluster)
        assert (status.feature_level_lagging, status.feature_level_known) == ((leader,), 3)

    def test_a_ceiling_below_the_present_level_holds_nothing_back(self):
        """The node has come along, and says so: it must not seem to be an older program."""
        cluster = Cluster(3, options=RAISING | {"level_target": 1, "level_known": 3})
        leader = cluster.elect()
        first = ClusterSettings(level=2).to_entry(ClusterSettings(), 0)
        cluster.submit(leader, first)
        node = cluster.members[leader].node
        cluster.run_until(lambda: node.status().feature_level == 2)
        welcomes = []
        cluster.filter = lambda src, dst, message: (
            welcomes.append(message.level) if src == leader and isinstance(message, Welcome) else 1
        )
        node.step(next(n for n in cluster.members if n != leader), 1, Hello(level=3))
        cluster.run(500)
        assert set(welcomes) == {2}

    def test_a_lone_node_raises_it_at_once(self):
        cluster = Cluster(1, options=RAISING)
        cluster.elect()
        cluster.run_until(lambda: raised(cluster), 500)
        assert len(cluster.chosen) == 1

    def test_without_a_target_nobody_does(self):
        cluster, *_ = started()
        levels(cluster)
        cluster.run(2000)
        assert not any(member.machine.settings.level for member in cluster.up())

    def test_again_in_the_next_reign_if_it_was_lost(self):
        cluster = Cluster(3, options=RAISING)
        leader = cluster.elect()
        cluster.isolate(leader)
        levels(cluster)
        cluster.run_until(lambda: not cluster.members[leader].node.leading)
        cluster.heal()
        levels(cluster)
        cluster.run_until(lambda: raised(cluster))
        cluster.check_equal()

    def test_only_once_a_reign(self):
        cluster = Cluster(3, options=RAISING)
        leader = cluster.elect()
        cluster.filter = lambda src, dst, message: not isinstance(message, Accept)
        levels(cluster)
        cluster.run(1000)
        queued = cluster.members[leader].node.status()
        assert queued.open_slots + queued.queued_commands == 1

    def test_a_raise_behind_a_change_of_the_membership_does_nothing(self):
        """Who joins by it was not asked."""
        cluster = Cluster(3, options=RAISING)
        leader = cluster.elect()
        cluster.join("n4")
        cluster.filter = lambda src, dst, message: not isinstance(message, Accept)
        _, after = wanted(cluster, learners=["n4"])
        cluster.submit(leader, change_entry(0, after.to_command()))
        levels(cluster, but=["n4"])
        cluster.run_until(lambda: cluster.members[leader].node.status().queued_commands == 1, 1000)
        cluster.filter = lambda src, dst, message: True
        cluster.run_until(lambda: membership(cluster).epoch == 1)
        cluster.run(3000)
        assert cluster.members[leader].machine.applied >= 2
        assert not any(member.machine.settings.level for member in cluster.up())
        levels(cluster)
        cluster.run_until(lambda: raised(cluster))

    def test_a_raise_behind_another_change_of_the_settings_is_made_again_in_the_same_reign(self):
        """It named a version that was over (crash points, 1:twice:49:171886868: never again)."""
        cluster = Cluster(3, options=RAISING | {"level_target": 2})
        leader = cluster.elect()
        ballot = cluster.members[leader].node.promised
        cluster.filter = lambda src, dst, message: not isinstance(message, Accept)
        cluster.submit(leader, FIRST.to_entry(ClusterSettings(), 0))
        cluster.run_until(lambda: cluster.members[leader].node.status().open_slots == 1, 1000)
        levels(cluster, 2)
        cluster.run_until(lambda: cluster.members[leader].node.status().open_slots == 2, 1000)
        cluster.filter = lambda src, dst, message: True
        cluster.run_until(lambda: cluster.members[leader].machine.settings.level == 2)
        assert cluster.members[leader].machine.settings.version == 2
        assert cluster.members[leader].node.promised == ballot
