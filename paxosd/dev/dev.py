"""``paxosd dev``: a whole cluster in one terminal, for trying things out.

Checks the ports, prints where everything is, and leaves the rest to the supervisor.
"""

import contextlib
import os
import shlex
import site
import sys
from collections.abc import Mapping
from pathlib import Path

import paxosd
from paxosd.daemon.init import init_alone
from paxosd.daemon.log_sink import sink_of
from paxosd.dev.child import ChildSpec
from paxosd.dev.keys import ADMIN
from paxosd.dev.layout import BASE_PORT_DEFAULT, DevCluster, DevNode, members_at, prepare
from paxosd.dev.ports import check_ports
from paxosd.dev.supervisor import Supervisor
from paxosd.host.printable import escape_controls
from paxosd.host.wording import counted

SCREEN_S = 0.2
"""How long the end waits for somebody to read the last lines."""


def run_dev(
    directory: Path,
    nodes: int | None,
    base_port: int | None,
    restart_after_ms: int | None,
    *,
    keys: bool = False,
) -> int:
    """Runs the cluster until it is stopped; the exit code. ``keys``: with keys.

    Raises ConfigError, KeyFileError, PortsTakenError or PermissionError before anything is started.
    """
    cluster = prepare(directory, nodes, base_port, keys=keys)
    check_ports(cluster.nodes)
    # Through a thread: if the terminal is held and takes no output, Ctrl-C still ends it.
    screen = sink_of(sys.stdout, lambda *_, count, **__: f"({count} lines left out)\n".encode())

    def say(line: str) -> None:
        screen.put(f"{escape_controls(line)}\n".encode("utf-8", "backslashreplace"))

    try:
        for line in [*describe(cluster), *not_handed_on(cluster, os.environ)]:
            say(line)
        if len(cluster.nodes) == 1:
            config = cluster.nodes[0].config
            if cluster.fresh or not config.node.data_dir.exists():
                init_alone(config)
        supervisor = Supervisor(
            [child_spec(node) for node in cluster.nodes],
            restart_after_ms=restart_after_ms,
            say=say,
            when_ready=next_commands(cluster),
        )
        return supervisor.run()
    finally:
        screen.close(SCREEN_S)


def child_spec(node: DevNode) -> ChildSpec:
    """How a node is started: the very interpreter and package that run now.

    ``-P`` keeps the working directory from shadowing modules. PAXOSD_* variables are not
    handed on: PAXOSD_NODE_NAME would rename all the nodes at once.
    """
    environ = {k: v for k, v in os.environ.items() if not k.startswith("PAXOSD_")}
    home = str(Path(paxosd.__file__).resolve().parent.parent)
    if home not in site.getsitepackages():  # run from a clone that is not installed
        environ["PYTHONPATH"] = os.pathsep.join(
            [home, *filter(None, [environ.get("PYTHONPATH", "")])]
        )
    argv = (sys.executable, "-P", "-m", "paxosd", "--config", str(node.config_path))
    by_hand = f"{_program()} --config {shlex.quote(_short(node.config_path))}"
    return ChildSpec(node.name, argv, environ, node.error_path, by_hand)


def describe(cluster: DevCluster) -> list[str]:
    """What is where."""
    kind = "new cluster" if cluster.fresh else "existing cluster"
    total = len(cluster.nodes)
    spare = (total - 1) // 2
    lines = [
        f"paxosd dev: {kind} of {counted(total, 'node')}, which survives the loss of {spare}",
        f"  data   {cluster.directory}",
    ]
    for node in cluster.nodes:
        me = node.config.me
        lines.append(
            f"  {node.name}     clients {me.client}  peers {me.peer}  events {me.events}  "
            f"log {_short(node.log_path)}"
        )
    return lines


def not_handed_on(cluster: DevCluster, environ: Mapping[str, str]) -> list[str]:
    """A line if variables of the terminal look as if they set something, and do not."""
    names = sorted(name for name in environ if name.startswith("PAXOSD_"))
    if not names:
        return []
    files = ", ".join(_short(node.config_path) for node in cluster.nodes)
    return [f"  {', '.join(names)}: not handed on to the nodes; their settings are in {files}"]


def next_commands(cluster: DevCluster) -> list[str]:
    """Three commands to try; before them, where the default would not find the cluster, where it
    is."""
    members = cluster.nodes[0].config.cluster.members
    endpoints = [member.client for member in members.values()]
    default = [m.client for m in members_at(BASE_PORT_DEFAULT, 3).values()]
    ctl = _program("paxosctl")
    export = [f"  export PAXOSCTL_ENDPOINTS={','.join(endpoints)}"]
    key = cluster.directory / ADMIN
    with_key = [f"  export PAXOSCTL_KEY_FILE={shlex.quote(str(key))}"] if key.exists() else []
    return [
        "Try, in another terminal:",
        *(export if endpoints != default else []),
        *with_key,
        f"  {ctl} put greeting hello",
        f"  {ctl} get greeting",
        f"  {ctl} status --cluster",
        "Ctrl-C here stops the cluster; the data stays.",
    ]


def _program(name: str = "paxosd") -> str:
    """How to call a program of this package from this terminal."""
    beside = Path(sys.argv[0]).with_name(name)
    if os.sep in sys.argv[0] and beside.exists() and os.access(beside, os.X_OK):
        on_path = any(
            Path(directory).absolute() == beside.parent.absolute()
            for directory in os.get_exec_path()
        )
        return name if on_path else shlex.quote(_short(beside.absolute()))
    return f"{shlex.quote(sys.executable)} -m {name}"


def _short(path: Path) -> str:
    """A path as seen from the working directory, where that is shorter."""
    with contextlib.suppress(ValueError):
        return str(path.relative_to(Path.cwd()))
    return str(path)
