"""ZooKeeper beside ours: Debian's libzookeeper-java holds the server and its own Java client."""

import contextlib
import shutil
import socket
from pathlib import Path

from tests.bench.compare_build import PEERS, build, build_folder
from tests.bench.compare_cluster import NAMES, Cluster, ImpossibleError, MissingError
from tests.bench.compare_rows import GET, KILL, PUT, STALE_GET, STOP

JARS = Path("/usr/share/java")
NEEDED = ("zookeeper", "zookeeper-jute", "slf4j-api", "slf4j-simple", "snappy-java", "metrics-core")
SOURCE = PEERS / "ZookeeperLoad.java"
HEAP = "-Xmx1g"
ASK_LIMIT_S = 1.0
SESSION_MS = 60_000
FAILOVER_SESSION_MS = 4_000
"""The shortest with its default tick: a client finds a silent server after two thirds of it."""
OPERATIONS = {PUT: "put", GET: "get", STALE_GET: "stale-get", KILL: "gaps", STOP: "gaps"}


class Zookeeper(Cluster):
    """A client is a chain of asynchronous calls; those of one connection share a session."""

    name = "zookeeper"
    title = "ZooKeeper"
    remarks = (
        "ZooKeeper: calls of one connection share a session and are answered in order; “ten a "
        "frame” is ten calls under way.",
        "ZooKeeper: a linearizable get is sync() and getData(); sync() asks the leader, which does "
        "not ask a majority whether it still leads.",
    )
    has_relay = False

    def prepare(self):
        self._java = shutil.which("java")
        jars = [JARS / f"{name}.jar" for name in NEEDED]
        if self._java is None or not all(jar.exists() for jar in jars):
            raise MissingError("ZooKeeper is not installed (Debian: libzookeeper-java, a JDK)")
        self._classpath = ":".join(str(jar) for jar in [*jars, *sorted(JARS.glob("netty-*.jar"))])
        classes = build_folder()
        build(
            SOURCE, classes / "ZookeeperLoad.class",
            ["javac", "-cp", self._classpath, "-d", str(classes), str(SOURCE)],
        )  # fmt: skip
        self._load_classpath = f"{classes}:{self._classpath}"

    def start(self):
        ports = self.ports(3 * len(NAMES))
        self._client, self._peer, self._election = (
            dict(zip(NAMES, ports[i * len(NAMES) :], strict=False)) for i in range(3)
        )
        for number, name in enumerate(NAMES, 1):
            (self.path / name).mkdir()
            (self.path / name / "myid").write_text(str(number))
            self._write_config(name)
            self.start_node(name)

    def _write_config(self, name):
        lines = ["tickTime=2000", "initLimit=10", "syncLimit=5", "maxClientCnxns=0"]
        lines += [f"dataDir={self.path / name}", f"clientPort={self._client[name]}"]
        lines += ["admin.enableServer=false", "4lw.commands.whitelist=srvr"]
        lines += ["maxSessionTimeout=120000"]
        lines += [
            f"server.{number}=127.0.0.1:{self._peer[each]}:{self._election[each]}"
            for number, each in enumerate(NAMES, 1)
        ]
        (self.path / f"{name}.cfg").write_text("\n".join([*lines, ""]))

    def start_node(self, name):
        command = [
            self._java, HEAP, "-Dorg.slf4j.simpleLogger.defaultLogLevel=info",
            "-cp", self._classpath, "org.apache.zookeeper.server.quorum.QuorumPeerMain",
            str(self.path / f"{name}.cfg"),
        ]  # fmt: skip
        self.processes[name] = self.spawn(name, command)

    def leader(self):
        roles = {
            name: self._role(name)
            for name, process in self.processes.items()
            if process.poll() is None
        }
        leaders = [name for name, role in roles.items() if role == "leader"]
        others = {role for role in roles.values() if role != "leader"}
        return leaders[0] if len(leaders) == 1 and others == {"follower"} else ""

    def _role(self, name):
        """What a server says of itself in answer to ``srvr``; "" without an answer."""
        with contextlib.suppress(OSError):
            address = ("127.0.0.1", self._client[name])
            with socket.create_connection(address, timeout=ASK_LIMIT_S) as connection:
                connection.sendall(b"srvr")
                text = b"".join(iter(lambda: connection.recv(4096), b"")).decode()
            return "".join(
                line.removeprefix("Mode: ")
                for line in text.splitlines()
                if line.startswith("Mode: ")
            )
        return ""

    def check(self, row):
        if row.operation not in OPERATIONS:
            raise ImpossibleError("a watch of ZooKeeper fires once and does not carry the value")

    def load_command(self, row, leader, seconds, warmup_s):
        names = NAMES if row.is_failover else (leader,)
        return [
            self._java, "-Xmx2g", "-Xss256k", "-cp", self._load_classpath, "ZookeeperLoad",
            "--endpoints", ",".join(f"127.0.0.1:{self._client[name]}" for name in names),
            "--op", OPERATIONS[row.operation], "--clients", str(row.clients),
            "--connections", str(row.connections), "--rate", str(row.rate),
            "--value-bytes", str(row.value_bytes), "--duration-ms", str(round(seconds * 1000)),
            "--warmup-ms", str(round(warmup_s * 1000)),
            "--session-ms", str(FAILOVER_SESSION_MS if row.is_failover else SESSION_MS),
        ]  # fmt: skip

    def version(self):
        named = [jar.stem.removeprefix("zookeeper-") for jar in JARS.glob("zookeeper-[0-9]*.jar")]
        return f"ZooKeeper {''.join(named)}, its Java client"
