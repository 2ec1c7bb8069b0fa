"""What must hold between settings: each rule names the settings that break it.

Sizes nest: a command fits in a request, a request or a batch fits in a message, a message's
value fits in a log record and a record in a segment. :data:`OVERHEAD_BYTES` is what envelopes
and lengths may add on the way.
"""

import re
from collections.abc import Iterator

from paxosd.config.http_address import HttpAddress
from paxosd.config.schema import NAME_ALLOWED, NAME_PATTERN, Config
from paxosd.config.settings import nearest
from paxosd.core.membership import MEMBERS_MAX
from paxosd.core.message_room import OVERHEAD_BYTES
from paxosd.net.endpoints import (
    EVERYWHERE,
    OPEN_WORDS,
    Endpoint,
    can_bind,
    is_address,
    is_loopback,
    parse_contact,
    zone_is_missing,
    zone_words,
)

VOTERS_MAX = 7
ELECTION_HEARTBEATS_MIN = 3
"""One heartbeat lost, or one late, must not cost a working leader its place."""


def check(config: Config) -> list[str]:
    """Every broken rule, one line each."""
    return [*_members(config), *_bind_host(config), *_sizes(config), *_times(config),
            *_http(config), *_security(config)]  # fmt: skip


def _members(config: Config) -> Iterator[str]:
    members = config.cluster.members
    if not members:
        yield "cluster.members: no member is given; add one table a node: [cluster.members.NAME]"
        return
    voters = sum(member.voter for member in members.values())
    if voters > VOTERS_MAX:
        yield f"cluster.members: {voters} members; at most {VOTERS_MAX} can vote"
    if len(members) > MEMBERS_MAX:
        yield f"cluster.members: {len(members)} members are more than {MEMBERS_MAX}"
    if not voters and not config.node.join:
        yield "cluster.members: none of them votes; voter = true is for one at least"
    if config.node.join and len(members) < 2:
        yield "node.join: give at least one member of the running cluster in cluster.members"
    if config.node.name not in members:
        hint = nearest(config.node.name, members)
        yield f'node.name: "{config.node.name}" is not one of the cluster.members; {hint}'
    taken: dict[Endpoint, str] = {}
    for name, member in members.items():
        if not re.fullmatch(NAME_PATTERN, name):
            yield f'cluster.members: "{name}" is not allowed: {NAME_ALLOWED}'
        for kind in ("peer", "client", "events"):
            key = f"cluster.members.{name}.{kind}"
            try:
                endpoint = parse_contact(getattr(member, kind))
            except ValueError as error:
                yield f"{key}: {error}"
                continue
            if endpoint.canonical in taken:
                yield f"{key}: {endpoint} is already {taken[endpoint.canonical]}"
            taken.setdefault(endpoint.canonical, key)


def _bind_host(config: Config) -> Iterator[str]:
    host = config.node.bind_host
    if host and not can_bind(host):
        yield (
            f'node.bind_host: "{host}" is no address or host name of this machine; "*" is every '
            'address, "0.0.0.0" every IPv4 address'
        )
    elif zone_is_missing(host):
        yield f"node.bind_host: {zone_words(host)}"


def _sizes(config: Config) -> Iterator[str]:
    limits, protocol = config.limits, config.protocol
    message = limits.message_bytes_max
    command = limits.key_bytes_max + 2 * limits.value_bytes_max + OVERHEAD_BYTES
    if command > message:  # a cas by value carries two values
        yield (
            f"limits.message_bytes_max: {message} is too small for one cas: key_bytes_max + "
            f"2 * value_bytes_max + {OVERHEAD_BYTES} = {command}"
        )
    for name, size in (
        ("limits.read_bytes_max", limits.read_bytes_max),
        ("protocol.batch_bytes_max", protocol.batch_bytes_max),
        ("protocol.catch_up_bytes_max", protocol.catch_up_bytes_max),
    ):
        if size + limits.value_bytes_max + OVERHEAD_BYTES > message:
            yield (
                f"{name}: {size} + value_bytes_max + {OVERHEAD_BYTES} does not fit in "
                f"limits.message_bytes_max = {message}"
            )
    for name, size, small, least in (
        ("limits.queue_bytes_max", limits.queue_bytes_max, "limits.message_bytes_max", message),
        (
            "limits.queue_commands_max",
            limits.queue_commands_max,
            "limits.commands_per_request_max",
            limits.commands_per_request_max,
        ),
        (
            "protocol.window_bytes_max",
            protocol.window_bytes_max,
            "limits.message_bytes_max",
            message,
        ),
        (
            "wal.segment_bytes",
            config.wal.segment_bytes,
            f"limits.message_bytes_max + {OVERHEAD_BYTES}",
            message + OVERHEAD_BYTES,
        ),
    ):
        if size < least:
            yield f"{name}: {size} is below {small} = {least}: one request could never pass"


def _times(config: Config) -> Iterator[str]:
    protocol = config.protocol
    least = ELECTION_HEARTBEATS_MIN * protocol.heartbeat_ms
    if protocol.election_timeout_ms < least:
        yield (
            f"protocol.election_timeout_ms: {protocol.election_timeout_ms} is below "
            f"{ELECTION_HEARTBEATS_MIN} * protocol.heartbeat_ms = {least}: "
            f"one late heartbeat would depose a leader"
        )


def _security(config: Config) -> Iterator[str]:
    security = config.security
    if security.key_file and not security.trust_file:
        yield (
            "security.trust_file: a node with a key has to know whom it trusts: name a file with "
            "[peers] and [admins]"
        )
    if not security.key_file and security.trust_file:
        yield "security.key_file: a node that trusts keys needs one of its own: paxosd keygen"
    if not security.key_file and security.rollout != "done":
        yield f'security.rollout: "{security.rollout}" is for a node with a key: security.key_file'
    if not security.takes_everybody or security.insecure:
        return
    bind = config.bind_endpoints() if config.node.name in config.cluster.members else None
    for kind in ("peer", "client", "events") if bind is not None else ():
        host = getattr(bind, kind).removeprefix("tcp://").rpartition(":")[0]
        # A name is looked up when it is bound, and judged then.
        if (host == EVERYWHERE or is_address(host.strip("[]"))) and not is_loopback(host):
            yield (
                f"security.insecure: {getattr(bind, kind)} is reached from other machines, and "
                f"{OPEN_WORDS}"
            )
            return


def _http(config: Config) -> Iterator[str]:
    http = config.http
    if not http.listen:
        return
    try:
        address = HttpAddress.parse(http.listen)
    except ValueError as error:
        yield f"http.listen: {error}"
        return
    if not address.is_loopback and not http.allow_remote:
        yield (
            f'http.listen: "{http.listen}" is reached from other machines, and whoever reaches it '
            "reads the metrics, without a key: listen on 127.0.0.1 or [::1], or set "
            "http.allow_remote = true"
        )
