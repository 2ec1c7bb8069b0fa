"""lock and elect: a command that runs while a lock is held, and who leads."""

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence

import click

from paxosctl.cli.app import Duration, Settings, Whole, check_key, negative, raw, verb
from paxosctl.cli.render import View, as_cell, as_json
from paxosctl.cli.streams import say
from paxosctl.client.client import Client
from paxosctl.client.election import Leader
from paxosctl.client.errors import ClientError, LockLostError, RefusedError, named
from paxosctl.client.lock import Lock, stray_words
from paxosd.core.lease_bounds import TTL_MS_MAX, TTL_MS_MIN

EXIT_NOT_FOUND = 127
EXIT_NOT_RUN = 126
SIGNAL_BASE = 128
"""Of exit codes of a process that a signal ended, as in shells."""
LOOK_S = 0.05
"""How soon the end of the command is noticed, at the latest."""
STRAYS_AFTER_S = 3.0
"""After so long a wait it says whether a key is in the way that nothing ends."""


class _Ttl(Duration):
    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        """Milliseconds, within the bounds of a lease."""
        ttl_ms = super().convert(value, param, ctx)
        if not TTL_MS_MIN <= ttl_ms <= TTL_MS_MAX:
            self.fail("a lock has a TTL from 1s to 365d", param, ctx)
        return ttl_ms


class _Wait(Duration):
    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        """Milliseconds; 0: not at all."""
        return 0 if value in {"0", "0s", "0ms"} else super().convert(value, param, ctx)


_ttl = click.option("--ttl", type=_Ttl(), default="10s", show_default=True,
                    help="How long a holder that died is in the way.")  # fmt: skip
_grace = click.option("--grace", type=Duration(), default="5s", show_default=True,
                      help="From SIGTERM to SIGKILL, once the lock is lost.")  # fmt: skip


@verb("lock")
@click.argument("name")
@click.argument("command", metavar="[-- CMD...]", nargs=-1, type=click.UNPROCESSED)
@_ttl
@click.option("--wait", type=_Wait(), default=None,
              help="How long to wait for it; 0s: do not.  [default: for ever]")  # fmt: skip
@click.option("--shared", type=Whole(1), default=1, show_default=True,
              help="How many can hold it at a time.")  # fmt: skip
@_grace
def lock_verb(
    settings: Settings,
    name: str,
    command: Sequence[str],
    ttl: int,
    wait: int | None,
    shared: int,
    grace: int,
) -> None:
    """Hold the lock NAME while CMD runs, or until Ctrl-C.

    CMD has the fencing token in PAXOS_LOCK_TOKEN, the lock's name in PAXOS_LOCK_NAME and its key in
    PAXOS_LOCK_KEY: `paxosctl put --fence "$PAXOS_LOCK_NAME:$PAXOS_LOCK_TOKEN" …` is refused once
    another can hold the lock. The exit code is that of CMD (128 + n: ended by signal n; 126, 127:
    it could not be run); 72: the lock was not had in time, CMD was not run: others hold it, or the
    cluster does not answer, which the message says; 71: it was lost, CMD got SIGTERM, and SIGKILL
    after --grace.
    """
    _check_name(name)
    with settings.client() as client:
        lock = client.semaphore(raw(name), shared, ttl_s=ttl / 1000)
        _hold(settings, client, lock, command, wait, grace)


@verb("elect")
@click.argument("name")
@click.argument("value", required=False)
@click.argument("command", metavar="[-- CMD...]", nargs=-1, type=click.UNPROCESSED)
@click.option("--observe", is_flag=True, help="Show who leads, and each new leader.")
@_ttl
@click.option("--wait", type=_Wait(), default=None,
              help="How long to wait until it leads.  [default: for ever]")  # fmt: skip
@_grace
def elect_verb(
    settings: Settings,
    name: str,
    value: str | None,
    command: Sequence[str],
    observe: bool,
    ttl: int,
    wait: int | None,
    grace: int,
) -> None:
    """Stand for election NAME with VALUE, and lead while CMD runs or until Ctrl-C, as `lock` does.

    Without VALUE: show who leads; exit code 1 if nobody does.
    """
    _check_name(name)
    if observe and value is not None:
        raise click.UsageError("--observe looks on: leave VALUE out")
    with settings.client() as client:
        election = client.election(raw(name), ttl_s=ttl / 1000)
        if value is not None:
            _hold(settings, client, election.campaign(raw(value)), command, wait, grace)
        elif observe:
            for leader in election.observe():
                settings.show(_view(leader))
        else:
            leader = election.leader()
            if leader is None:
                negative(f"nobody leads {name}", _view(None))
            settings.show(_view(leader))


def _check_name(name: str) -> None:
    """Raises RefusedError."""
    check_key(name)
    if name.endswith("/"):
        raise RefusedError("invalid", f"{name!r} is no name of a lock: it ends with /")


def _hold(
    settings: Settings,
    client: Client,
    lock: Lock,
    command: Sequence[str],
    wait_ms: int | None,
    grace_ms: int,
) -> None:
    """Acquire, run, give back; raises Exit with the code of the command."""
    with _strays_said(client, lock):
        held = lock.acquire(None if wait_ms is None else wait_ms / 1000)
    if not held:
        raise lock.why_not_acquired((wait_ms or 0) / 1000)
    code = 0
    try:
        if command:
            code = _run(lock, command, grace_ms / 1000)
        else:
            settings.show(_held(lock))
            while not lock.lost.wait(LOOK_S):
                pass
    except BaseException:
        with contextlib.suppress(LockLostError):
            lock.release()
        raise
    lock.release()
    if code:
        raise click.exceptions.Exit(code)


@contextlib.contextmanager
def _strays_said(client: Client, lock: Lock) -> Iterator[None]:
    """While it waits: say, once, that a key is in the way that nothing ends."""
    acquired = threading.Event()

    def look() -> None:
        if acquired.wait(STRAYS_AFTER_S):
            return
        with contextlib.suppress(ClientError, RuntimeError):  # not while the client is closed
            strays = client.lock_strays(lock.name)
            if strays and not acquired.is_set():
                say(f"the lock {named(lock.name)} is waited for: {stray_words(strays)}")

    threading.Thread(target=look, daemon=True, name="paxosctl-strays").start()
    try:
        yield
    finally:
        acquired.set()


def _run(lock: Lock, command: Sequence[str], grace_s: float) -> int:
    """Run it while the lock is held; its exit code, as shells have it."""
    try:
        child = subprocess.Popen(command, env=os.environ | _environment(lock))
    except OSError as error:
        say(f"{command[0]} was not run: {error.strerror}; the lock is given back")
        return EXIT_NOT_FOUND if isinstance(error, FileNotFoundError) else EXIT_NOT_RUN
    with _ended(child, grace_s):
        while child.poll() is None and lock.check() and not lock.lost.wait(LOOK_S):
            pass
        code = child.poll()
    if code is None:
        return 0  # it was ended because the lock was lost, which the release says
    return SIGNAL_BASE - code if code < 0 else code


@contextlib.contextmanager
def _ended(child: "subprocess.Popen[bytes]", grace_s: float) -> Iterator[None]:
    """The child does not outlive this: SIGTERM, then SIGKILL; at once, if that is interrupted too,
    for the lock is given back next."""
    try:
        yield
    finally:
        if child.poll() is None:
            child.send_signal(signal.SIGTERM)
            try:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    child.wait(grace_s)
            finally:
                if child.poll() is None:
                    child.kill()
                    child.wait()


def _environment(lock: Lock) -> Mapping[str, str]:
    return {
        "PAXOS_LOCK_NAME": os.fsdecode(lock.name),
        "PAXOS_LOCK_KEY": os.fsdecode(lock.key),
        "PAXOS_LOCK_TOKEN": str(lock.token),
    }


def _held(lock: Lock) -> View:
    return View(
        data={"name": as_json(lock.name), "key": as_json(lock.key), "token": lock.token},
        plain=b"%d\n" % lock.token,
        text=f"held with token {lock.token}; Ctrl-C gives it back",
    )


def _view(leader: Leader | None) -> View:
    if leader is None:
        return View(
            data={"value": None, "key": None, "token": None}, plain=b"\n", text="nobody leads"
        )
    return View(
        data={
            "value": as_json(leader.value),
            "key": as_json(leader.key),
            "token": leader.token,
        },
        plain=leader.value + b"\n",
        text=f"{as_cell(leader.value)} leads, with token {leader.token}",
    )
