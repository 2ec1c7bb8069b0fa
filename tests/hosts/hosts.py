"""Hosts on one wire, each a set of Linux namespaces, for what a single machine cannot show.

    Wire     a network namespace with a bridge; nothing leaves it
    Host     mounts, network, host name, processes, control groups: its own. /etc, /var, /opt, /run
             and some more are copies that it may write to (overlays in memory); the rest is this
             machine's, not to be written to by accident: a host has no other protection.

A host ends with its first process, and that with the process that made it, however that ends: the
kernel takes the namespaces, mounts and addresses back. Its control groups, empty, go when it is
closed.
"""

import contextlib
import ctypes
import itertools
import os
import shlex
import shutil
import signal
import subprocess
import time
from functools import cache
from pathlib import Path

PR_SET_PDEATHSIG = 1
SYSTEMD = Path("/usr/lib/systemd/systemd")
NAMESPACES = ("--mount", "--net", "--uts", "--ipc", "--pid", "--cgroup")
BOOT_S = 60.0
_GROUPS = itertools.count(1)
OVERLAID = (
    "/etc",
    "/var",
    "/opt",
    "/usr/lib/systemd",
    "/usr/lib/sysusers.d",
    "/usr/lib/tmpfiles.d",
    "/usr/local/bin",
)
_BOOT = """
set -e
mount --make-rprivate /
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/lock /run/overlays
for each in {overlaid}; do
    test -d "$each" || continue
    space=/run/overlays$each; mkdir -p "$space/upper" "$space/work"
    chmod 755 "$space/upper"
    mount -t overlay overlay -o "lowerdir=$each,upperdir=$space/upper,workdir=$space/work" "$each"
done
hostname {name}
echo {name} > /etc/hostname
ip link set lo up
printf '127.0.0.1 localhost\\n::1 localhost\\n' > /etc/hosts
rm -f /etc/resolv.conf
echo 'hosts: files dns' > /etc/nsswitch.conf.new
grep -v '^hosts:' /etc/nsswitch.conf >> /etc/nsswitch.conf.new || true
mv /etc/nsswitch.conf.new /etc/nsswitch.conf
"""
_PLAIN = "touch /run/booted; exec sleep infinity"
_SYSTEMD = """
umount -R /sys/fs/cgroup 2>/dev/null || umount -l /sys/fs/cgroup
mount -t cgroup2 none /sys/fs/cgroup
# A group of its own, the root of its namespace: units of this name are on other hosts, too.
mkdir /sys/fs/cgroup/{group}
echo $$ > /sys/fs/cgroup/{group}/cgroup.procs
exec unshare --cgroup bash -c {inside}
"""
_INSIDE = """
umount /sys/fs/cgroup
mount -t cgroup2 none /sys/fs/cgroup
# Nothing of this machine's own services, nor what sets up hardware or the kernel.
rm -rf /etc/systemd/system/* /usr/lib/systemd/system/*.wants /usr/lib/systemd/system-generators
mkdir -p /usr/lib/systemd/system/sysinit.target.wants /etc/systemd/journald.conf.d
ln -s ../systemd-journald.service ../systemd-journald.socket \\
    /usr/lib/systemd/system/sysinit.target.wants/
printf '[Journal]\\nStorage=volatile\\nForwardToSyslog=no\\nReadKMsg=no\\n' \\
    > /etc/systemd/journald.conf.d/hosts.conf
printf '[Unit]\\nRequires=sysinit.target\\nAfter=sysinit.target\\n[Install]\\n' \\
    > /etc/systemd/system/multi-user.target
# As on a machine: what is mounted reaches the namespaces of services. Not this machine's own.
mount --make-rshared /
export container=namespaces
exec {systemd} --system --unit=multi-user.target --log-target=journal --show-status=0
"""


@cache
def why_no_hosts(*, systemd=False):
    """Why hosts cannot be made here; "": they can. It is tried."""
    if os.geteuid() != 0:
        return "namespaces with a network of their own need root"
    for tool in ("unshare", "nsenter", "ip", "mount"):
        if shutil.which(tool) is None:
            return f"{tool} is not installed"
    if systemd and not SYSTEMD.exists():
        return "systemd is not installed"
    try:
        with Wire() as wire, Host(wire, "try", "10.77.0.99", systemd=systemd) as host:
            host.run("true")
    except (OSError, subprocess.SubprocessError, HostError) as error:
        return f"namespaces cannot be made here: {error}"
    return ""


class HostError(Exception):
    """A host did not come up, or something that ran on it failed."""


class _Space:
    """Namespaces with a first process, which ends with this one."""

    def __init__(self, script, namespaces, log=subprocess.DEVNULL):
        self._started = []
        prctl = ctypes.CDLL(None, use_errno=True).prctl
        parent = os.getpid()

        def before_exec():
            prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != parent:
                os._exit(1)

        forked = ("--fork", "--mount-proc") if "--pid" in namespaces else ("--fork",)
        self._unshare = subprocess.Popen(
            ["unshare", *namespaces, *forked, "--kill-child=SIGKILL", "bash", "-c", script],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            preexec_fn=before_exec,  # noqa: PLW1509 - before any other thread of the child
        )
        children = Path(f"/proc/{self._unshare.pid}/task/{self._unshare.pid}/children")
        self.pid = int(until(lambda: children.read_text().split(), "its first process")[0])
        self._entry = ["nsenter", "--target", str(self.pid), *namespaces]

    def command(self, *words):
        """The command line that runs these words inside."""
        return [*self._entry, "--", *map(str, words)]

    def run(self, *words, check=True, timeout_s=60.0, **how):
        """Run something inside to its end; what it wrote. Raises HostError if it fails."""
        done = subprocess.run(
            self.command(*words), capture_output=True, text=True, check=False, timeout=timeout_s,
            **how,
        )  # fmt: skip
        if check and done.returncode:
            said = f"{done.stdout}{done.stderr}".strip()
            raise HostError(f"{' '.join(map(str, words))}: exit code {done.returncode}: {said}")
        return done

    def spawn(self, *words):
        """Start something inside that ends with the first process, at the latest. (To end it, send
        it a signal from inside: this process is the ``nsenter`` that waits for it.)"""
        started = subprocess.Popen(
            self.command(*words),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._started.append(started)
        return started

    @property
    def alive(self):
        return self._unshare.poll() is None

    def close(self):
        """End all that runs inside."""
        self._unshare.kill()
        self._unshare.wait(timeout=30)
        for each in self._started:
            each.wait(timeout=30)


def until(condition, what, timeout_s=BOOT_S):
    """Look again and again until it is so; fails after ``timeout_s``."""
    deadline = time.monotonic() + timeout_s
    while True:
        with contextlib.suppress(OSError, HostError):
            if found := condition():
                return found
        if time.monotonic() >= deadline:
            raise HostError(f"{what} did not come about within {timeout_s:g} s")
        time.sleep(0.02)  # between two looks at other processes; there is nothing to wait on


def _is_removed(group):
    """Remove a control group with all below it, once they are empty; an OSError before that."""
    for each, _, _ in os.walk(group, topdown=False):
        Path(each).rmdir()
    return not group.exists()


class Wire:
    """What hosts are connected by."""

    def __init__(self):
        self._space = _Space("exec sleep infinity", ("--net",))
        self._numbers = itertools.count(1)
        try:
            until(lambda: self._ip("link", "add", "wire", "type", "bridge"), "a bridge", 5.0)
            self._ip("link", "set", "wire", "up")
        except BaseException:
            self.close()
            raise

    def _ip(self, *words):
        return self._space.run("ip", *words)

    def attach(self, pid, address):
        """Give the network namespace of this process an interface with this address."""
        here = f"h{next(self._numbers)}"
        self._ip("link", "add", here, "type", "veth", "peer", "name", "eth0", "netns", pid)
        self._ip("link", "set", here, "master", "wire", "up")
        inside = ["nsenter", "--target", str(pid), "--net", "--", "ip"]
        for words in (
            ["addr", "add", f"{address}/24", "dev", "eth0"],
            ["link", "set", "eth0", "up"],
        ):
            subprocess.run([*inside, *words], check=True, capture_output=True, timeout=30)

    def close(self):
        self._space.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Host(_Space):
    """One machine. ``systemd``: its first process is systemd, with nothing started."""

    def __init__(self, wire, name, address, *, systemd=False):
        self.name, self.address = name, address
        script = _BOOT.format(overlaid=" ".join(OVERLAID), name=name)
        self._group = f"host-{os.getpid()}-{next(_GROUPS)}"
        inside = shlex.quote(_INSIDE.format(systemd=SYSTEMD))
        script += _SYSTEMD.format(group=self._group, inside=inside) if systemd else _PLAIN
        super().__init__(script, NAMESPACES)
        try:
            wire.attach(self.pid, address)
            until(self._running if systemd else self._booted, f"host {name}")
        except BaseException as error:
            self.close()
            raise HostError(f"host {name} did not come up: {error}") from error

    def close(self):
        """End all that runs inside; its control groups are empty then."""
        super().close()
        mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
        for place in [each[1] for each in mounts if each[2] == "cgroup2"]:
            group = Path(place, self._group)
            until(lambda group=group: _is_removed(group), f"the end of all in {group}")

    def _booted(self):
        return self.run("test", "-e", "/run/booted", check=False).returncode == 0

    def _running(self):
        said = self.run("systemctl", "is-system-running", check=False)
        return said.stdout.strip() in ("running", "degraded")

    def know(self, **addresses):
        """Replace what its /etc/hosts says of other names: name → address; the names of hosts have
        ``_`` for ``-``. As an editor does it: a new file, renamed."""
        lines = [f"{address} {name.replace('_', '-')}" for name, address in addresses.items()]
        text = "\n".join(["127.0.0.1 localhost", "::1 localhost", *lines, ""])
        self.write("/etc/hosts", text)

    def write(self, path, text, mode=0o644):
        """Make a file on this host, as a whole."""
        script = 'cat > "$1.new" && chmod "$2" "$1.new" && mv "$1.new" "$1"'
        self.run("sh", "-c", script, "sh", path, f"{mode:o}", input=text)

    def read(self, path):
        """The text of a file of this host; "" if there is none."""
        return self.run("cat", path, check=False).stdout

    def readdress(self, wire_address):
        """Give it another address; what was connected to the old one hears nothing more."""
        self.run("ip", "addr", "flush", "dev", "eth0")
        self.run("ip", "addr", "add", f"{wire_address}/24", "dev", "eth0")
        self.address = wire_address

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
