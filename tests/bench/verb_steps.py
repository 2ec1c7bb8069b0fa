"""The verbs of ``version_verbs.py``, in an order in which each finds what it needs."""

from typing import NamedTuple

from paxosd.core.cluster_settings import LEVEL_COORDINATION, LEVEL_KEYS

PLAN = """
duration = "1s"
[workload]
clients = 1
[[fault]]
name = "slow"
kind = "delay"
from = "@leader"
ms = 5
for = "300ms"
"""
TRANSACTION = "if absent t\nput t 5\nget k\nelse\nscan t limit 1\n"


class Step(NamedTuple):
    """One verb. ``words``: behind ``paxosctl``, with names in braces. ``exits``: which exit codes
    are right. ``since``: the feature level that the cluster needs; below it it has to be refused,
    and the refusal to name the level. ``command``: the level from which on paxosctl has it.
    ``refused``: what a refusal for another reason says. ``has``: a part of what it prints when it
    ends with 0. ``later``: what it says instead where the cluster has a later level than it knows.
    ``keeps``: name → where in its JSON, for the words of later steps. ``plain``: it has no JSON.
    ``crashes``: the follower ends."""

    words: str
    exits: tuple = (0,)
    since: int = 0
    command: int = 0
    refused: str = ""
    has: str = ""
    later: str = ""
    keeps: dict = {}  # noqa: RUF012 - never changed
    plain: bool = False
    stdin: str = ""
    crashes: bool = False

    @property
    def verb(self):
        """Its name as paxosctl lists it."""
        first, *more = self.words.split()
        return f"{first} {more[0]}" if first in GROUPS else first


GROUPS = {
    "member", "cluster", "node", "fault", "snapshot", "bench", "check", "log", "explain", "trace",
    "debug", "sim", "lease", "auth", "backup", "context",
}  # fmt: skip
C, K = LEVEL_COORDINATION, LEVEL_KEYS
CLIENT = (
    Step("put k v", keeps={"revision": "revision"}),
    Step("get k", has='"v"', keeps={"slot": "applied"}),
    Step("get k --prefix", has='"v"'),
    Step("get k --stale", has='"v"'),
    Step("cas k w --expect-value v"),
    Step("cas k w --expect-value v", exits=(1,)),
    Step("outcome 99 1", exits=(1,)),
    Step("watch k --from-revision {revision} --count 2", has='"w"'),
    Step("put doomed v"),
    Step("delete doomed"),
    Step("delete doomed", exits=(1,)),
    Step("delete doom --prefix"),
    Step("put", exits=(2,), plain=True),
    Step("put k " + "v" * 70_000, exits=(77,), refused="value"),
    Step("get k k", command=C),
    Step("get k --revision {revision}", since=C, command=C),
    Step("get k --prefix --count-only", exits=(0, 77), command=C),
    Step("watch k --prev --from-revision {revision} --count 1", since=C, command=C),
    Step("export -o {dir}/keys", command=C),
    Step("import {dir}/keys --skip-existing", command=C),
    Step("txn {dir}/txn", exits=(0, 1), since=C),
    Step("incr n", since=C),
    Step("put k w --prev", since=C, command=C),
    Step("put k w --fence lock:1", exits=(76,), since=C, command=C),
    Step("lease grant 60s", since=C, keeps={"lease": "lease"}),
    Step("put leased v --lease {lease}", since=C, command=C),
    Step("lease keepalive {lease}", since=C),
    Step("lease ttl {lease}", exits=(0, 1, 77)),
    Step("lease list", exits=(0, 77)),
    Step("lease revoke {lease}", since=C),
    Step("lock jobs --wait 10s -- true", since=C),
    Step("elect primary n1 -- true", since=C),
    Step("shell", stdin="put shell v\n", plain=True),
)
CLUSTER = (
    Step("status"),
    Step("status --cluster"),
    Step("leader"),
    Step("health"),
    Step("hash"),
    Step("top --once --interval 300ms"),
    Step("doctor", exits=(0, 1)),
    Step("auth list", exits=(0, 77)),
    Step("auth show me", exits=(1, 77)),
    Step("auth can-i put k --as me", exits=(0, 1, 77)),
    *(
        Step(f"auth {words}", exits=(0, 1, 77), refused="key")
        for words in (
            "init",
            "new app",
            "rotate app",
            "set app --read /a",
            "revoke app",
            "require off",
        )
    ),
    Step("cluster show"),
    Step("cluster set sessions_max=9000", later="this program knows"),
    Step("cluster set history_revisions=9000", since=C, command=C, later="this program knows"),
    Step("node log-level"),
    Step("node log-level debug --for 5s"),
    Step("member list"),
    Step("member config {follower}"),
    Step("member demote {follower}"),
    Step("member promote {follower}"),
    Step("member quorum --majority"),
    Step("member update {follower} --peer {peer}"),
    Step("member rejoin {follower}", exits=(1,)),
    Step("member remove {follower} --dry-run"),
    Step("member replace {follower} n9 {where} --dry-run"),
    Step("member add n9 {where} --dry-run"),
    Step("member transfer-leader {follower}"),
    Step("bench put --count 20"),
    Step("bench get --count 20 --keys 10"),
    Step("bench mixed --count 20 --keys 10"),
    Step("bench watch --watchers 6 --duration 200ms", exits=(0, 1)),
    Step("check perf --duration 300ms", exits=(0, 1)),
    Step("fault add f --kind drop --from {leader} --probability 0.01"),
    Step("fault list", has='"f"'),
    Step("fault rm f"),
    Step("fault clear"),
    Step("fault run {dir}/plan.toml", keeps={"history": "history"}),
    Step("check history {history}"),
    Step("fault crash {follower}", crashes=True),
)
FILES = (
    Step("snapshot save {dir}/saved", later="this program knows 1 to"),
    Step("snapshot status {dir}/saved", later="No such file"),
    Step(
        "snapshot restore {dir}/saved --data-dir {dir}/data-{slot} --cluster-id new --node n1",
        later="No such file",
    ),
    Step("snapshot salvage {dir}/none {dir}/salvaged", exits=(1,)),
    Step("backup take {dir}/backups --keep 1"),
    Step("backup list {dir}/backups"),
    Step("backup verify {dir}/backups"),
)
RECORDINGS = (
    Step("log nodes"),
    Step("log nodes {sources}"),
    Step("log timeline --last 1s"),
    Step("log tail -n 3"),
    Step("log diagram -o {dir}/run.html"),
    Step("log key k", keeps={"slot": "changes.-1.slot", "ballot": "changes.-1.ballot",
                             "session": "changes.-1.session", "seq": "changes.-1.seq"}),
    Step("log slot {slot}"),
    Step("log ballot {ballot}"),
    Step("log request {session}/{seq}"),
    Step("explain slot {slot}"),
    Step("explain request {session}/{seq}"),
    Step("explain put k"),
    Step("explain leader"),
    Step("explain slowest"),
    Step("blame k"),
    Step("why-slow"),
    Step("audit"),
    Step("audit {sources}"),
    Step("trace replay {source}", exits=(0, 1, 74)),
    Step("trace to-test {source} -o {dir}/test_run.py", exits=(0, 1, 74)),
    Step("debug bundle -o {dir}/b.tar.zst"),
    Step("debug bundle --inspect {dir}/b.tar.zst"),
)  # fmt: skip
ALONE = (
    Step("sim run --seed 1 --duration 1s --operations 10"),
    Step("sim teach"),
    Step("context list"),
    Step("context show"),
    Step("context use --none"),
    Step("context add other --endpoints tcp://127.0.0.1:1"),
    Step("context rename other another"),
    Step("context remove another"),
    Step("completion bash"),
    Step("man put"),
)
STEPS = (*CLIENT, *CLUSTER, *FILES, *RECORDINGS, *ALONE)
