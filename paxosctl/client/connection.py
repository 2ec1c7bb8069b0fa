"""One client on the network: the sans-IO protocol, driven by sockets and a clock.

    Client, bench ── submit, ask ──► ClientProtocol ── take ──► Link.send
                                          ▲  on_answer, on_connected, on_disconnected │
                                          └───────────────────────────────────────────┘

The first answer names the cluster; from then on requests are addressed to it, so that a list of
endpoints that mixes two clusters cannot write a bit to each. A node of another cluster refuses
them, in an envelope with that one's id: the next endpoint is tried, until the call's time is over.

A connection whose node is silent, though an answer is waited for, is given up and made anew, as one
that broke (``paxosd/net/silence.py``). Between calls nobody looks: what was silent then shows in
the first moments of the next call.
"""

import random
from collections.abc import Sequence
from dataclasses import replace

from paxosctl.client.credentials import Failure
from paxosctl.client.transport import SILENT, Link, Transport
from paxosd.core.client.answers import OTHER_CLUSTER
from paxosd.core.client.calls import NO_DEADLINE_MS, Call, ClientOptions
from paxosd.core.client.protocol import ClientProtocol
from paxosd.core.effects import INVALID
from paxosd.core.requests import AdminAnswer, RefusalAnswer, ServerMessage
from paxosd.host.clock import clock_ms
from paxosd.net.silence import ALIVE_ID, LOOK_MS
from paxosd.wire import WireError, decode_answer, encode_client, encode_entry, unpack
from paxosd.wire.client import MAP_MAX
from paxosd.wire.fields import TEXT_BYTES_MAX
from paxosd.wire.status import decode_status

CLOSE_LINGER_MS = 100
FIRST_REQUEST_ID_MAX = 1 << 52
"""Request ids count on from a number that is drawn, so that a read, which has no session, has a
name that no other client's has. Programs that hold numbers as doubles can hold it, too."""


class Connection:
    """Call :meth:`turn` after every round of polling, and at :meth:`next_due_ms`."""

    def __init__(
        self, transport: Transport, endpoints: Sequence[str], options: ClientOptions | None = None
    ) -> None:
        self.cluster = ""
        """The id of the cluster, known from the first answer on."""
        self.undecodable: dict[str, str] = {}
        """Endpoint → what was wrong with the last answer that could not be read."""
        self.protocol = ClientProtocol(
            endpoints,
            encode_entry=encode_entry,
            decode_status=decode_status,
            rng=random.Random(),
            options=replace(
                options or ClientOptions(),
                first_request_id=random.SystemRandom().randrange(1, FIRST_REQUEST_ID_MAX),
            ),
            learns=True,
        )
        self._transport = transport
        self._links: dict[str, Link] = {}
        self._look_due_ms = 0

    def turn(self) -> int:
        """Do what is due, send what can be sent; returns when there is something to do again,
        on the clock of :func:`~paxosd.host.clock.clock_ms`."""
        protocol = self.protocol
        now_ms = clock_ms()
        protocol.on_tick(now_ms)
        connects, sends = protocol.take(now_ms)
        self._drop(protocol.endpoints.drops)
        for endpoint in connects:
            self._connect(endpoint)
        for endpoint, message in sends:
            if not self._links[endpoint].send(encode_client(message, self.cluster)):
                protocol.on_unsent(message.request_id, now_ms)
        look_due_ms = self._look(now_ms)
        return min(protocol.next_due_ms(), look_due_ms)

    def _look(self, now_ms: int) -> int:
        """Give up the connections that are dead; returns when to look again."""
        if now_ms < self._look_due_ms:
            return self._look_due_ms
        waited_for = self.protocol.waited_for
        for endpoint, link in list(self._links.items()):
            if link.look(waiting=endpoint in waited_for):
                link.close()
                self.protocol.on_disconnected(endpoint, SILENT, now_ms)
                self._connect(endpoint)
        if not waited_for and not any(link.is_watched for link in self._links.values()):
            return NO_DEADLINE_MS
        self._look_due_ms = now_ms + LOOK_MS
        return self._look_due_ms

    def run(self, call: Call) -> Call:
        """Work until the call has ended, at its deadline at the latest; returns it."""
        # What happened before the call is read first: a connection that broke and came back since
        # the last call must not count as one that breaks during this call.
        self._transport.poll(0)
        while not call.done:
            due_ms = self.turn()
            if call.done:
                break
            self._transport.poll(max(1, min(due_ms - clock_ms(), 1000)))
        return call

    def unresolved(self, endpoint: str) -> str:
        """Why the name of this endpoint has no address, in words; "" if it has one."""
        link = self._links.get(endpoint)
        return link.unresolved if link is not None else ""

    def close(self) -> None:
        """End the session if that is possible without waiting, and close the sockets."""
        last = self.protocol.close()
        if last is not None:
            self._links[last.endpoint].send(encode_client(last.message, self.cluster))
        for endpoint, link in self._links.items():
            said = last is not None and endpoint == last.endpoint
            link.close(CLOSE_LINGER_MS if said else 0)
        self._links.clear()

    def _drop(self, endpoints: list[str]) -> None:
        for endpoint in endpoints:
            link = self._links.pop(endpoint, None)
            if link is not None:
                link.close()
        endpoints.clear()

    def _refusal_of_other(self, frame: bytes, endpoint: str) -> RefusalAnswer | None:
        """What a node of another cluster has answered, if it did nothing: it takes no request that
        names this one (``wire/client.py``). None: something else, of which nothing is known."""
        try:
            answer = decode_answer(frame)
        except WireError:
            return None
        if not isinstance(answer, RefusalAnswer) or answer.code != INVALID:
            return None
        other = unpack(frame, map_max=MAP_MAX, text_bytes_max=TEXT_BYTES_MAX)[1]
        words = (
            f'{endpoint} belongs to cluster "{other}", and this client began on "{self.cluster}": '
            "if that one was replaced, make a new client"
        )
        return RefusalAnswer(answer.request_id, OTHER_CLUSTER, words, "", "", -1)

    def _learn_keys(self, answer: ServerMessage, endpoint: str) -> None:
        """Take in by which keys nodes prove who they are, from one that has proved it."""
        credentials, link = self._transport.credentials, self._links.get(endpoint)
        if credentials is None or link is None or not link.is_encrypted:
            return
        if isinstance(answer, AdminAnswer):
            credentials.learn_answer(answer.body)
        elif isinstance(answer, RefusalAnswer) and answer.leader_endpoint:
            credentials.learn(answer.leader, [answer.leader_endpoint])

    def _connect(self, endpoint: str) -> None:
        protocol = self.protocol

        def on_frame(frame: bytes) -> None:
            try:
                answer = decode_answer(frame, self.cluster)
            except WireError as error:
                refusal = self._refusal_of_other(frame, endpoint)
                if refusal is None:
                    self.undecodable[endpoint] = str(error)
                else:
                    protocol.on_answer(refusal, clock_ms())
                return
            if answer.request_id == ALIVE_ID:
                return
            self._learn_keys(answer, endpoint)
            if not self.cluster:
                fields = unpack(frame, map_max=MAP_MAX, text_bytes_max=TEXT_BYTES_MAX)
                self.cluster = fields[1]
            protocol.on_answer(answer, clock_ms())

        def on_up() -> None:
            protocol.on_connected(endpoint, clock_ms())

        def on_down(reason: str) -> None:
            protocol.on_disconnected(endpoint, reason, clock_ms())

        def on_refused(failure: Failure) -> None:
            protocol.on_disconnected(endpoint, failure.message, clock_ms(), failure.code)

        try:
            self._links[endpoint] = Link(
                self._transport,
                endpoint,
                on_frame=on_frame,
                on_up=on_up,
                on_down=on_down,
                on_refused=on_refused,
            )
        except ValueError as error:
            on_down(str(error))
