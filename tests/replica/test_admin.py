"""Admin verbs: shapes of the answers, refusals with the nearest match, guarded directives."""

import pytest

from paxosd.core.admin_verbs import ADMIN_VERBS, Permission, is_repeatable
from paxosd.core.effects import FORBIDDEN, INVALID
from paxosd.core.requests import AdminAnswer, AdminRequest, RefusalAnswer
from paxosd.faults.plan import FaultPlan
from paxosd.net.probe import ProbeError
from paxosd.replica.admin import FILE_READ_BYTES_MAX, Admin, AdminPorts
from paxosd.replica.deferred_answers import Deferred


class MachineModel:
    def __init__(self):
        self.applied = 10
        self.checksums = {7: "ab12"}

    def checksum_pending(self, slot):
        return slot == 9

    def checksum_left(self, slot):
        return 1234


class Node:
    def __init__(self, enabled=True, **ports):
        self.now_ms = 1000.7
        self.crashes = 0
        self.plan = FaultPlan(nodes=("n1", "n2", "n3"))
        self.admin = Admin(
            AdminPorts(
                status=lambda: {"role": "leader"},
                machine=MachineModel(),
                plan=self.plan,
                faults_enabled=enabled,
                now_ms=lambda: self.now_ms,
                crash=self.crash,
                **ports,
            )
        )

    def crash(self):
        self.crashes += 1

    def ask(self, verb, **args):
        answer = self.admin.handle(AdminRequest(4, verb, args))
        assert answer.request_id == 4
        return answer

    def body(self, verb, **args):
        answer = self.ask(verb, **args)
        assert isinstance(answer, AdminAnswer), answer
        return answer.body

    def refusal(self, verb, **args):
        answer = self.ask(verb, **args)
        assert isinstance(answer, RefusalAnswer), answer
        return answer


RULE = {"name": "cut", "kind": "partition", "from": "n1", "to": "n2"}


class TestLogLevel:
    def test_it_is_the_daemons(self):
        assert "cannot be changed" in Node().refusal("log_level").message
        node = Node(log_level=lambda level, for_ms: {"level": level, "left_ms": for_ms})
        assert node.body("log_level", level="debug", for_ms=5) == {"level": "debug", "left_ms": 5}
        assert node.body("log_level") == {"level": "", "left_ms": 0}

    @pytest.mark.parametrize("args", [{"level": 1}, {"for_ms": True}, {"for_ms": "1s"}])
    def test_arguments_of_another_type_are_refused(self, args):
        node = Node(log_level=lambda level, for_ms: {})
        assert node.refusal("log_level", **args).code == INVALID


class Files:
    def listed(self):
        return {"files": [], "notes": []}

    def read(self, name, offset, count):
        return {"name": name, "offset": offset, "count": count}


class TestFiles:
    """They are answered later, beside the loop; arguments are checked now."""

    def test_a_node_without_files_says_so(self):
        assert "hands out no files" in Node().refusal("file_list").message
        assert "hands out no files" in Node().refusal("file_read", name="log").message

    def test_the_work_is_handed_on(self):
        node = Node(files=Files())
        listed = node.ask("file_list")
        assert type(listed) is Deferred
        assert listed.work() == {"files": [], "notes": []}
        read = node.ask("file_read", name="log", offset=7, count=9)
        assert read.verb == "file_read"
        assert read.work() == {"name": "log", "offset": 7, "count": 9}
        assert node.ask("file_read", name="log").work()["count"] == FILE_READ_BYTES_MAX

    @pytest.mark.parametrize(
        "args",
        [
            {}, {"name": b"log"}, {"name": 1}, {"name": "log", "offset": -1},
            {"name": "log", "offset": "0"}, {"name": "log", "offset": True},
            {"name": "log", "offset": 1 << 63}, {"name": "log", "count": 0},
            {"name": "log", "count": FILE_READ_BYTES_MAX + 1}, {"name": "log", "count": 1.0},
            {"name": "log", "path": "/"},
        ],
    )  # fmt: skip
    def test_arguments_of_another_form_are_refused(self, args):
        assert Node(files=Files()).refusal("file_read", **args).code == INVALID


class TestTable:
    def test_every_verb_of_the_table_has_a_handler_and_no_other(self):
        assert Node().admin._handlers.keys() == ADMIN_VERBS.keys()

    def test_what_only_observes_may_be_repeated(self):
        observing = {v for v in ADMIN_VERBS.values() if v.permission is Permission.OBSERVE}
        assert all(verb.repeatable for verb in observing)

    def test_which_verbs_may_not_be_sent_again(self):
        """Each would act, or be refused, a second time: the client must not hide that."""
        once = {"fault_add", "fault_rm", "fault_clear", "fault_crash", "transfer_leader"}
        assert {name for name in ADMIN_VERBS if not is_repeatable(name)} == once
        assert is_repeatable("verb_of_a_later_version")

    def test_every_verb_says_what_it_does_in_a_sentence(self):
        for verb in ADMIN_VERBS.values():
            assert verb.help.endswith("."), verb.name


class TestVerbs:
    def test_status_is_the_daemons(self):
        assert Node().body("status") == {"role": "leader"}

    @pytest.mark.parametrize(
        ("slot", "checksum", "pending"),
        [(7, "ab12", False), (9, "", True), (11, "", True), (8, "", False)],
        ids=["known", "being computed", "not applied yet", "none there"],
    )
    def test_checksum(self, slot, checksum, pending):
        body = Node().body("checksum", slot=slot)
        progress = {9: -1234, 11: 10}.get(slot)
        assert body.pop("progress", None) == progress
        assert body == {"slot": slot, "checksum": checksum, "pending": pending}

    @pytest.mark.parametrize("slot", [None, "7", 0, -1, True, 1 << 63])
    def test_checksum_of_no_slot_is_refused(self, slot):
        assert Node().refusal("checksum", slot=slot).code == INVALID

    @pytest.mark.parametrize(("verb", "nearest"), [("statsu", "status"), ("fault_ad", "fault_add")])
    def test_an_unknown_verb_is_refused_with_the_nearest(self, verb, nearest):
        refusal = Node().refusal(verb)
        assert refusal.code == INVALID
        assert nearest in refusal.message

    def test_an_unknown_argument_is_refused_with_the_nearest(self):
        refusal = Node().refusal("checksum", slto=3)
        assert refusal.code == INVALID
        assert '"slto"' in refusal.message
        assert "slot" in refusal.message
        assert Node().refusal("status", verbose=True).code == INVALID


class Asked:
    """Stands in for the probes."""

    def __init__(self):
        self.asked = []

    def ask(self, endpoints):
        self.asked.append(endpoints)
        if "busy" in endpoints[0]:
            raise ProbeError("busy with another probe, try again")
        return {"pending": True, "results": {}}


class TestMembers:
    def test_leadership_is_handed_over(self):
        asked = []
        node = Node(transfer=lambda name: asked.append(name) or "")
        assert node.body("transfer_leader", name="n2") == {"transferring": "n2"}
        assert node.body("transfer_leader") == {"transferring": ""}
        assert asked == ["n2", ""]

    def test_why_not_is_said(self):
        node = Node(transfer=lambda name: f"{name} has no vote, so it cannot lead")
        refusal = node.refusal("transfer_leader", name="n4")
        assert refusal.code == INVALID
        assert refusal.message == "transfer_leader: n4 has no vote, so it cannot lead"
        assert node.refusal("transfer_leader", name=4).code == INVALID

    def test_a_probe_is_begun(self):
        probes = Asked()
        node = Node(probes=probes)
        endpoints = ["tcp://a:1", "tcp://b:1"]
        assert node.body("probe", endpoints=endpoints) == {"pending": True, "results": {}}
        assert probes.asked == [endpoints]
        assert "busy" in node.refusal("probe", endpoints=["tcp://busy:1"]).message

    @pytest.mark.parametrize("endpoints", [None, [], "tcp://a:1", [1], ["tcp://a:1"] * 33])
    def test_a_probe_of_nothing_is_refused(self, endpoints):
        probes = Asked()
        node = Node(probes=probes)
        assert "a list of 1 to 32 texts" in node.refusal("probe", endpoints=endpoints).message
        assert probes.asked == []

    def test_a_node_that_cannot_says_so(self):
        assert "cannot hand over" in Node().refusal("transfer_leader").message
        assert "cannot probe" in Node().refusal("probe", endpoints=["tcp://a:1"]).message


class TestFaults:
    def test_a_rule_is_added_listed_and_removed(self):
        node = Node()
        assert node.body("fault_add", **RULE, for_ms=500) == {"added": "cut"}
        listed = node.body("fault_list")
        assert listed["enabled"] is True
        (rule,) = listed["rules"]
        assert (rule["name"], rule["kind"], rule["left_ms"]) == ("cut", "partition", 500)
        assert node.body("fault_rm", name="cut") == {"removed": 1, "hits": 0}
        assert node.body("fault_list")["rules"] == []

    def test_the_plan_runs_on_the_clock_that_was_given(self):
        node = Node()
        node.body("fault_add", **RULE, for_ms=500)
        node.now_ms += 500
        assert node.body("fault_list")["rules"] == []

    def test_clear_says_how_many(self):
        node = Node()
        node.body("fault_add", **RULE)
        node.body("fault_add", **RULE | {"name": "cut2"})
        assert node.body("fault_clear") == {"removed": 2}

    def test_a_bad_rule_is_refused_in_words(self):
        refusal = Node().refusal("fault_add", **RULE | {"kind": "partitoin"})
        assert refusal.code == INVALID
        assert "partition" in refusal.message
        assert Node().refusal("fault_rm", name="nothing").code == INVALID
        assert Node().refusal("fault_rm").code == INVALID

    def test_crash_is_asked_for_once_and_answered(self):
        node = Node()
        assert node.body("fault_crash") == {"crashing": True}
        assert node.crashes == 1

    @pytest.mark.parametrize(
        ("verb", "args"),
        [
            ("fault_add", RULE),
            ("fault_rm", {"name": "x"}),
            ("fault_clear", {}),
            ("fault_crash", {}),
        ],
    )
    def test_directives_are_forbidden_unless_enabled(self, verb, args):
        node = Node(enabled=False)
        refusal = node.refusal(verb, **args)
        assert refusal.code == FORBIDDEN
        assert "[faults] enabled" in refusal.message
        assert node.crashes == 0
        assert not node.plan.active

    def test_the_list_is_open_and_says_that_faults_are_off(self):
        assert Node(enabled=False).body("fault_list") == {"enabled": False, "rules": []}
