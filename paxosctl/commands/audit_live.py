"""audit --live: listen to a running cluster until a rule is broken, or somebody ends it."""

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import click

from paxosctl.audit.live_audit import LiveAudit
from paxosctl.audit.live_sockets import LiveSockets, NobodyAnswersError, SeveralClustersError
from paxosctl.auth.asking import known_of
from paxosctl.cli.app import DiagnosedError, Settings
from paxosctl.cli.render import View
from paxosctl.cli.streams import say
from paxosctl.client.errors import ForbiddenError, UnreachableError
from paxosd.core.effects import FORBIDDEN

LAST_MS = 1500.0
"""So long what is under way is waited for at the end."""


def audit_live(settings: Settings, for_ms: int | None, every_ms: int) -> dict[str, Any]:
    """Audit the members of --endpoints; what came out, in the form of an audit of files. Raises
    DiagnosedError if no endpoint answers, UsageError for those of several clusters."""
    audit = LiveAudit()
    sockets = LiveSockets(audit, now_ms=_now_ms, secure=_secure(settings))
    try:
        try:
            sockets.open(settings.endpoints.split(","), settings.timeout_s)
        except NobodyAnswersError as error:
            lines = [(endpoint, "no answer to status") for endpoint in error.endpoints]
            cause = UnreachableError("unreachable", str(error))
            raise DiagnosedError(cause, lines) from error
        except SeveralClustersError as error:
            raise click.UsageError(f"{error}: name those of one with --endpoints") from error
        if settings.output == "table":
            nodes = ", ".join(sorted(audit.streams))
            say(f"listening to {nodes} of cluster {audit.cluster}; the last {audit.slots_max:,} "
                "slots are kept; Ctrl-C ends it")  # fmt: skip
        with suppress(KeyboardInterrupt):
            _listen(settings, audit, sockets, for_ms, every_ms)
        if not audit.broken:
            _drain(audit, sockets)
        audit.finish(_now_ms())
        return audit.data()
    finally:
        sockets.close()


def _secure(settings: Settings) -> Callable[[Any, str], None]:
    """What sets the keys of a socket, once the nodes are known by theirs. Raises RefusedError for a
    key whose holder may not listen."""
    with settings.client() as client:
        credentials = client.credentials
        if credentials is None:
            return lambda _socket, _endpoint: None
        client.status()
        known = known_of(client.rights())
    who = known.table.named(known.asker)
    if known.table.required and who is not None and not who.reads_all:
        raise ForbiddenError(
            FORBIDDEN,
            f"{who.name} ({who.role}) may not listen to all that nodes publish: that is for who "
            f"may read every key; an admin can change that: paxosctl auth set {who.name}",
        )
    secure: Callable[[Any, str], None] = credentials.secure
    return secure


def _listen(
    settings: Settings, audit: LiveAudit, sockets: LiveSockets, for_ms: int | None, every_ms: int
) -> None:
    began_ms = summed_ms = _now_ms()
    while not audit.broken:
        sockets.step()
        now_ms = _now_ms()
        if for_ms is not None and now_ms - began_ms >= for_ms:
            return
        if now_ms - summed_ms >= every_ms:
            summed_ms = now_ms
            settings.show(_summary(audit.summary(), now_ms - began_ms))


def _drain(audit: LiveAudit, sockets: LiveSockets) -> None:
    """Votes for what was just applied may still be under way."""
    end_ms = _now_ms() + LAST_MS
    while audit.summary()["waiting"] and not audit.broken and _now_ms() < end_ms:
        sockets.step()
        audit.settle(_now_ms())


def _summary(found: dict[str, Any], for_ms: float) -> View:
    """One line."""
    data = {"listening_ms": int(for_ms), **found}
    text = (
        f"{for_ms / 1000:6.0f} s  {found['slots']:,} slots, {found['chosen']:,} chosen, "
        f"{found['not_judged']:,} not judged, {found['waiting']:,} wait; "
        f"{found['votes']:,} votes, {found['missed']:,} missed"
    )
    if found["silent"]:
        text += f"; no answer from {', '.join(found['silent'])}"
    plain = "summary\t" + "\t".join(f"{k}={v}" for k, v in data.items() if isinstance(v, int))
    return View(data=data, plain=plain.encode() + b"\n", text=text)


def _now_ms() -> float:
    return time.monotonic() * 1000
