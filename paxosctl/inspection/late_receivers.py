"""Whether a message was late because its receiver did not take it up, and not because of the link.

A loop that stands (its thread waits for a write to the disk, for a processor, or is at work on one
thing) records nothing, and takes up all that has come meanwhile once it goes on. So the receiver is
to blame if it recorded nothing for most of the time that the message took, and one of these shows
that it had something to record: what another peer sent meanwhile was taken up at the end as well,
or the look at the processors, which is due every 100 ms, did not come.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise

from paxosctl.inspection.events import ms
from paxosctl.inspection.incidents import Incident
from paxosctl.inspection.lives import Life
from paxosctl.inspection.message_delays import Way
from paxosd.recorder.event import Event

SILENCE_US_MIN = 150_000
"""A loop that goes round records the shares of its processor every 100 ms."""
TOGETHER_US = 2_000
"""What is taken up within this time is of one turn, or of the one behind it."""


def late_receiver(
    sent: Event, received: Event, lives: Sequence[Life], ways: Sequence[Way]
) -> Incident | None:
    """That of a message which was ``sent`` and ``received``; None: the link, or not known."""
    life = next((each for each in lives if each.holds(received)), None)
    sender = next((each for each in lives if each.holds(sent)), None)
    if life is None or sender is None:
        return None
    begin_us, end_us = sender.at(sent), life.at(received)
    if end_us <= begin_us or life.misses(begin_us, end_us):
        return None
    since_us, until_us = _silence(life, begin_us, end_us)
    took_us = until_us - since_us
    if took_us * 2 < end_us - begin_us or end_us - until_us > TOGETHER_US:
        return None
    if took_us < SILENCE_US_MIN and not any(
        sent_us <= until_us - took_us // 2 and abs(sent_us + delay_us - until_us) <= TOGETHER_US
        for way in ways if way.receiver is life and way.name[0] != sent.node
        for sent_us, delay_us, _ in way.passed
    ):  # fmt: skip
        return None
    return _blamed(life, since_us, until_us)


def _silence(life: Life, begin_us: int, end_us: int) -> tuple[int, int]:
    """The longest time between the two in which the process recorded nothing."""
    moments = sorted({begin_us, end_us, *(
        at_us for event in _recorded(life) for at_us in (life.at(event),)
        if begin_us < at_us < end_us
    )})  # fmt: skip
    return max(pairwise(moments), key=lambda span: span[1] - span[0])


def _recorded(life: Life) -> Iterator[Event]:
    yield from life.syncs
    yield from life.processor
    for messages in (*life.sent.values(), *life.received.values()):
        for _, event in messages:
            yield event


def _blamed(life: Life, since_us: int, until_us: int) -> Incident:
    """The disk, if a group commit was under way for most of it; else the loop."""
    took_us = until_us - since_us
    head = f"{life.node} took it up late: its loop recorded nothing for {ms(took_us)}"
    for sync in life.syncs:
        done_us = life.at(sync)
        if (min(done_us, until_us) - max(done_us - sync.x, since_us)) * 2 >= took_us:
            return Incident("disk", life.node, "", since_us, until_us, f"{head}, while a group "
                            f"commit of {ms(sync.x)} was under way", (sync,))  # fmt: skip
    waited_us = sum(
        each.y for each in life.processor
        if since_us < life.at(each) and life.at(each) - each.slot < until_us
    )  # fmt: skip
    why = ""
    if waited_us * 4 >= took_us:
        why = f", and waited {ms(waited_us)} for a processor about then"
    return Incident("busy", life.node, "", since_us, until_us, f"{head}{why}")
