"""The bus: sockets to messages and messages to sockets, for one daemon, from one thread.

    poll() ─► flags ─► receive_peers()          envelopes: sender, run id, message
                       receive_subscriptions()  (subscribe, topic)
                       receive_clients()        (client, message, key)
    send() publish_accepted() publish() answer()   never block; False: not sent

What cannot be a message of this cluster is refused: counted by reason in ``counters``, logged
once per source, reason and interval, dropped. That holds for bytes that do not decode, another
version or cluster, frames too many or too few, a sender that is no peer or claims to be this
node, a vote under another node's topic, and a *stale run*: a replay, or a peer whose disk was
wiped or rolled back (``storage/peer_runs.py``).
A refused client request gets an answer if its number could be read; nothing else does.

What a peer sends passes the inbox (``inbox.py``), as it does in the simulator: there faults act on
it, and the run of its sender is admitted or refused. Delayed messages come out of
``receive_peers`` when they are due.

The routing id of ZeroMQ identifies nobody: the sender's name stands in the frame. That a sender may
use its name its key proves (``curve.py``, ``reception.py``). A node without keys believes all who
reach its ports.
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any

import zmq

from paxosd.bus.client_answers import ClientAnswers
from paxosd.bus.curve import NodeKeys
from paxosd.bus.inbox import Header, Inbox, InboxKind
from paxosd.bus.key_guard import KeyGuard
from paxosd.bus.link_doubts import LinkDoubts
from paxosd.bus.peer_sender import FrameLimits, OwnFrameLimit, PeerSender
from paxosd.bus.peers import PeerEndpoints
from paxosd.bus.pollers import (
    LOST,
    NAMES,
    PEERS,
    RELAYED,
    SUBSCRIPTIONS,
    WAKEUP,
    Pollers,
)
from paxosd.bus.port_watch import PortWatch
from paxosd.bus.reception import Reception, keep
from paxosd.bus.refusal_log import RefusalLog
from paxosd.bus.relay_link import RelayLink
from paxosd.bus.send_tracker import BUSY_MARK_BYTES, SendTracker
from paxosd.bus.socket_set import Context
from paxosd.bus.sockets import BusConfig, BusSockets
from paxosd.core.messages import Envelope
from paxosd.core.requests import ClientRequest
from paxosd.core.types import NodeId
from paxosd.faults.plan import FaultPlan
from paxosd.host.clock import clock_ms
from paxosd.host.descriptors import require
from paxosd.host.log import Log
from paxosd.net.resolver import News, Resolver
from paxosd.storage.peer_runs import PeerRuns

NAMES_MS = 200
"""How often the connections to peers that have names are looked at."""

SWEEP_MS = 250
"""How often what was refused, or could not be sent, is logged, and silent connections are found."""

OWN_DESCRIPTORS = 32
"""To be had at the beginning. libzmq 4.3.5 aborts the process if it binds, or starts its threads,
without any (``getifaddrs``, ``epoll``), and the thread at the door would end without a word."""

SUBSCRIPTIONS_PER_TURN_MAX = 100
"""Each is answered with a progress message, which takes some 25 us."""

_NOBLOCK = int(zmq.NOBLOCK)
_SNDMORE = int(zmq.SNDMORE) | _NOBLOCK


class Bus:
    """All sockets of one daemon. Use it from one thread only, and close it before the context.

    ``counters``: ``received.peer``, ``sent.client``, ``refused.REASON``, ``unsent.NODE``, ….
    """

    def __init__(
        self,
        config: BusConfig,
        context: Context,
        log: Log,
        faults: FaultPlan | None = None,
        peer_runs: PeerRuns | None = None,
        now_ms: Callable[[], int] = clock_ms,
        resolver: Resolver | None = None,
        limits: FrameLimits | None = None,
        inbox_kind: InboxKind = Inbox,
        keys: NodeKeys | None = None,
    ) -> None:
        """Binds and connects. ``now_ms``: a steady clock, the one that ``faults`` goes by.
        ``resolver``: finds the addresses of the peers' names; the bus closes it. ``limits``: which
        frames peers take; None: the same as this node. ``inbox_kind``: makes the inbox. ``keys``:
        of this node, and of those that it lets in; None: whoever reaches it is let in.

        Raises BindError, DescriptorsError, DoorError, ZMQError; nothing is left open then.
        """
        self.counters: Counter[str] = Counter()
        self._config = config
        self._keys = keys
        self._log = log
        self._faults = faults if faults is not None else FaultPlan()
        self._now_ms = now_ms
        self._refusals = RefusalLog(log)
        self._doubts = LinkDoubts()
        self._given_up: list[NodeId] = []
        """The peers that did not answer, for :meth:`disconnected`."""
        self._events_tracker = SendTracker(BUSY_MARK_BYTES)
        self._sweep_due_ms = 0
        self._names_due_ms: float = math.inf
        """When to look at names again; never, if there are none."""
        with ExitStack() as opened:
            require(OWN_DESCRIPTORS)
            self._resolver = resolver if resolver is not None else Resolver()
            opened.callback(self._resolver.close)
            self.guard = KeyGuard(context, keys, self._refusals, self.counters)
            """Who is let in."""
            opened.callback(self.guard.close)
            self._sockets = BusSockets(config, context, self._resolver, keys)
            opened.callback(self._sockets.close, linger_ms=0)
            self.endpoints = self._sockets.bound
            """peer, client, events → the endpoint that is bound."""
            self._pollers = Pollers(self._sockets, self._resolver.wake_fd)
            opened.callback(self._pollers.close)
            watched = (context, self._sockets, self._refusals, now_ms)
            self.ports = PortWatch(*watched, wants_keys=self.guard.door is not None)
            """The connections to the sockets that listen."""
            self._make_senders(limits or OwnFrameLimit(), peer_runs, inbox_kind)
            self.relay = RelayLink(
                config.cluster, self._sockets, now_ms, self._pollers, self._mind_names_soon
            )
            """The connection on which writes are passed on to the leader."""
            self._connect_peers(config.peers)
            opened.pop_all()
        for what, endpoint in self.endpoints.items():
            log.info("bus.bound", socket=what, endpoint=endpoint)

    def _make_senders(self, limits: FrameLimits, runs: PeerRuns | None, kind: InboxKind) -> None:
        """Make what reads, the senders to peers and clients, and the inbox, which answers peers."""
        config, header, new_speakers = self._config, Header(), set[NodeId]()
        self._reception = Reception(
            config,
            self._keys,
            self._sockets,
            self._pollers,
            self._refusals,
            self._doubts,
            self.counters,
            self._now_ms,
        )
        self._sender = PeerSender(
            config,
            self._sockets,
            header,
            new_speakers,
            limits=limits,
            doubts=self._doubts,
            publish=self.publish,
            counters=self.counters,
            log=self._log,
            now_ms=self._now_ms,
        )
        self.send = self._sender.send
        self.publish_accepted = self._sender.publish_accepted
        self.answers = ClientAnswers(
            config.cluster,
            self._sockets.client,
            self._pollers,
            self._refusals,
            self.counters,
            self._faults,
            self._now_ms,
        )
        self.answer = self.answers.answer
        self.inbox = kind(
            config.node,
            self._faults,
            runs if runs is not None else PeerRuns(None, config.peers),
            answer=self.send,
            refused=self._reception.on_refused,
            header=header,
            new_speakers=new_speakers,
            counters=self.counters,
            keep=keep,
        )

    def close(self) -> None:
        """Close every socket; messages just sent have a moment to leave."""
        self.inbox.clear()
        self.relay.close()
        self.ports.close()
        self._pollers.close()
        self._sockets.close()
        self.guard.close()
        self._resolver.close()

    # ---- who the peers are

    def set_peers(self, peers: Mapping[NodeId, PeerEndpoints], pins: Mapping[NodeId, int]) -> None:
        """Set who the peers are from now on, without this node, where each is reached, and which
        data directory may vote in its name (see :meth:`PeerRuns.set_peers`; missing: not pinned).
        What was sent to a former peer has a moment to leave."""
        self.inbox.set_peers(peers, pins)
        self._doubts.keep(set(peers))
        if peers != self._sockets.peers:
            self._connect_peers(peers)

    def _connect_peers(self, peers: Mapping[NodeId, PeerEndpoints]) -> None:
        sockets = self._sockets
        for name, endpoints in list(sockets.peers.items()):
            if peers.get(name) != endpoints:
                self._disconnect(name)
        wrong: dict[str, str] = {}
        for name, endpoints in peers.items():
            if name not in sockets.links:
                link = sockets.add_peer(name, endpoints, self._pollers)
                wrong |= link.take_wrong()
                self._pollers.add(link.monitor, LOST)
        self._log_wrong(wrong)
        self._names_due_ms = self._now_ms() if sockets.named else math.inf

    def _log_wrong(self, wrong: Mapping[str, str]) -> None:
        for endpoint, reason in wrong.items():
            self._log.warning("bus.bad_endpoint", endpoint=endpoint, reason=reason)

    def _disconnect(self, name: NodeId) -> None:
        self._pollers.remove(self._sockets.links[name].monitor)
        self.inbox.closed(name)
        self._sockets.remove_peer(name)
        self._sender.on_disconnected(name)

    def _mind_names_soon(self) -> None:
        if self._sockets.named:
            self._names_due_ms = self._now_ms()

    # ---- where the peers are

    def _mind_names(self, now_ms: int) -> None:
        """Take in the results of name look-ups, and connect to the addresses of now."""
        for news in self._resolver.poll():
            self._log_name(news)
        moved, wrong = self._sockets.mind_routes(now_ms)
        self._pollers.touched |= RELAYED
        for name in moved:
            self.inbox.closed(name)
        self._log_wrong(wrong)
        self._names_due_ms = now_ms + NAMES_MS if self._sockets.named else math.inf

    def _log_name(self, news: News) -> None:
        host, addresses, before = news.host, list(news.addresses), list(news.before)
        if news.error:
            self._log.warning("name.failed", host=host, reason=news.error, kept=addresses)
        elif before and set(before) != set(addresses):
            self._log.warning("name.changed", host=host, addresses=addresses, before=before)
        else:
            self._log.info("name.resolved", host=host, addresses=addresses)

    def names(self) -> dict[str, dict[str, Any]]:
        """The host names of peers: the addresses of each, and why the last lookup failed."""
        return {
            name.host: {"addresses": list(name.addresses), "error": name.error}
            for name in self._resolver
        }

    # ---- waiting

    def register_wakeup(self, fd: int) -> None:
        """Let ``poll`` return WAKEUP when ``fd`` is readable. Its owner reads it empty."""
        self._pollers.add_busy(fd, WAKEUP)

    def poll(self, timeout_ms: int, *, lazy_votes: bool = False) -> int:
        """Wait for something to come, at most ``timeout_ms``: PEERS | SUBSCRIPTIONS | CLIENTS |
        WAKEUP; 0: nothing came. What is left unread is reported again by the next call; the
        ``receive_*`` methods take only what the last one reported. With ``lazy_votes`` a vote
        alone does not end the wait before HOT_MS: to wake for it costs more than to take it."""
        flags = 0
        if self.inbox.held:
            wait_ms = int(self.inbox.held[0][0]) - self._now_ms()
            if wait_ms <= 0:
                flags, wait_ms = PEERS, 0
            timeout_ms = min(timeout_ms, wait_ms)
        return self._pollers.poll(timeout_ms, lazy_votes=lazy_votes, flags=flags)

    @property
    def has_subscriptions(self) -> bool:
        """Whether notices of subscribers wait."""
        return bool(self._pollers.readable & SUBSCRIPTIONS)

    # ---- receiving

    def receive_peers(self, limit: int) -> list[Envelope]:
        """The messages that have come from peers, in order of arrival; at most about ``limit`` for
        each socket, and about PEER_BYTES_AT_ONCE."""
        now_ms = self._now_ms()
        if now_ms >= self._sweep_due_ms:
            self._sweep_due_ms = now_ms + SWEEP_MS
            self._refusals.tick(now_ms)
            self._reception.pacing.tick(now_ms)
            self._sender.tick(now_ms)
            self._doubt_links(now_ms)
            self._mind_keys(now_ms)
        if now_ms >= self._names_due_ms or self._pollers.readable & NAMES:
            self._mind_names(now_ms)
        if self._faults.active:
            self._faults.expire(now_ms)
        received: list[Envelope] = []
        if self.inbox.held:
            self.inbox.release(received, now_ms)
        self._reception.peers(self.inbox, received, limit, now_ms)
        self.counters["received.peer"] += len(received)
        return received

    def _doubt_links(self, now_ms: int) -> None:
        """Make the connections anew on which nothing comes through."""
        sockets, doubts = self._sockets, self._doubts
        sockets.read_quiet_monitors(now_ms)
        silent = doubts.take_silent(now_ms)
        self._given_up += silent
        for name in {*silent, *doubts.take_unheard(now_ms)} & sockets.links.keys():
            self.counters[f"redialled.{name}"] += 1
            sockets.links[name].redial()
        for name in doubts.take_voteless(now_ms):
            if name in sockets.links:
                self.counters[f"redialled_votes.{name}"] += 1
                sockets.links[name].redial_votes()

    def _mind_keys(self, now_ms: int) -> None:
        """Connect anew where another key is to be expected, report whom keys kept apart, and end
        the connections of subscribers of whom one may not subscribe any more."""
        self._sockets.mind_keys(now_ms)
        if self.ports.ended_early:
            self.counters["refused.handshake"] = self.ports.ended_early
        self.guard.report(self.ports.take_failed(), self._sockets.links, now_ms)
        if self.guard.has_former_subscribers:
            self.ports.end_all("events")

    def link_problems(self) -> dict[NodeId, str]:
        """The peers that cannot be connected to, each with the reason, for people."""
        found = {name: link.problem for name, link in self._sockets.links.items()}
        return {name: problem for name, problem in found.items() if problem}

    def deaf(self) -> set[NodeId]:
        """The peers that say again and again that they do not hear this node."""
        return self._doubts.deaf(self._now_ms())

    def disconnected(self) -> list[NodeId]:
        """The peers whose connection broke since the last call: a hint that one is gone, long
        before its silence would show it."""
        names: list[NodeId] = []
        if self._pollers.readable & LOST:
            now_ms = self._now_ms()
            for name, link in self._sockets.links.items():
                if link.read_monitor(now_ms):
                    names.append(name)
                    self.inbox.closed(name)
                    self._sockets.reset_bulk(name)
                    self._sender.on_disconnected(name)
                link.read_votes_monitor(now_ms)
            self._sockets.mind_keys(now_ms)
        given_up, self._given_up = self._given_up, []
        for name in given_up:
            if name in self._sockets.links and name not in names:
                names.append(name)
                self.inbox.closed(name)
                self._sender.on_disconnected(name)
        return names

    def receive_clients(self, limit: int) -> list[ClientRequest]:
        """Requests, at most ``limit``; ``answer`` takes the client as its address."""
        return self._reception.clients(self.answers, limit)

    def receive_subscriptions(
        self, limit: int = SUBSCRIPTIONS_PER_TURN_MAX
    ) -> list[tuple[bool, bytes]]:
        """What subscribers ask for, in order: ``(subscribe, topic)``. Every subscription is
        reported, also a second one of the same topic; an end only when the last subscriber of the
        topic has gone."""
        return self._reception.subscriptions(limit)

    # ---- publishing

    def publish(self, topic: bytes, payload: bytes) -> None:
        """Publish two frames to all subscribers; one whose queue is full misses them."""
        events = self._sockets.events
        events.send(topic, _SNDMORE)
        self._events_tracker.send(events, payload)
        self._pollers.touched |= SUBSCRIPTIONS
        self.counters["sent.events"] += 1

    @property
    def event_bytes_waiting(self) -> int:
        """What is held for subscribers that are slow."""
        return self._events_tracker.held_bytes
