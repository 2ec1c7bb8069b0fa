"""What went wrong between nodes: links that are slow, lose messages, or let nothing through.

A message that was lost or late because one of its ends did not run is no matter of the link. What
is left is looked at in stretches of a quarter of a second, one direction at a time; then the
directions of a pair, and the pairs of a node, are put together.
"""

import math
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from paxosctl.inspection.events import ms
from paxosctl.inspection.incidents import Incident, merged
from paxosctl.inspection.message_delays import Way
from paxosd.recorder.event import Event

STRETCH_US = 250_000
APART_US = 3 * STRETCH_US
LATE_US = 20_000
"""A message that takes so much longer than the quick ones is late."""
OUT_US = 800_000
"""If nothing arrives for so long, the direction is out; shorter, TCP may repeat what was lost."""
OUT_COUNT = 3
LOST_US = 60_000
"""One that takes so much longer may have been lost and sent again by TCP, or waited behind one that
was."""
CONTRAST = 3
"""A link stands out if so many times as much is late on it as elsewhere."""
BUSY_CONTRAST = 5
SLOW_COUNT = 3
LOSSY_SHARE = 0.06
SPAN_US_MIN = 400_000
COUNT_MIN = 5
AROUND_US = 350_000
"""So long after a process ran again it has much to catch up with."""
SETTLES_US_MAX = 3_000_000
"""For at most so long after an outage what is late is counted to it."""
BUSY_COUNT_MIN = 10
"""So many must be late where an end of the link is busy."""
ONE_WAY_US = 5_000
ONE_WAY_COUNT = 2
"""So many messages the other way, sent so long after the first that was lost and quick to arrive,
show that the other way was open. What is on its way when both are cut arrives before."""
Spans = Sequence[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class _Message:
    """``delay_us``: None if it never arrived."""

    sent_us: int
    delay_us: int | None
    event: Event

    def is_over(self, limit_us: int) -> bool:
        """Whether it was lost, or took so long."""
        return self.delay_us is None or self.delay_us >= limit_us


@dataclass(slots=True)
class Trouble:
    """When nodes did not run at all, and when they ran too little, or all did."""

    absent: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    busy: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    all_busy: list[tuple[int, int]] = field(default_factory=list)

    def is_absent(self, nodes: Iterable[str], since_us: int, until_us: int) -> bool:
        """Whether one of them was absent between the two, or just before."""
        return any(
            begin <= until_us and since_us <= end + AROUND_US
            for node in nodes for begin, end in self.absent.get(node, ())
        )  # fmt: skip

    def is_busy(self, nodes: Iterable[str], since_us: int, until_us: int) -> bool:
        """Whether one of them was busy then, or just before or after."""
        spans = [self.busy.get(node, []) for node in nodes] + [self.all_busy]
        return any(
            begin <= until_us + AROUND_US and since_us <= end + AROUND_US
            for each in spans for begin, end in each
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Span:
    """A direction that was in trouble. ``sort``: out, slow or lossy."""

    sort: str
    way: Way
    since_us: int
    until_us: int
    messages: tuple[_Message, ...]

    @property
    def lost(self) -> int:
        """Messages that never arrived."""
        return sum(each.delay_us is None for each in self.messages)

    def delay_us(self, percent: int) -> int:
        """Of those that arrived."""
        delays = sorted(each.delay_us for each in self.messages if each.delay_us is not None)
        return delays[min(len(delays) - 1, len(delays) * percent // 100)] if delays else 0

    @property
    def evidence(self) -> tuple[Event, ...]:
        """The first and the last message that did not pass well."""
        bad = [each.event for each in self.messages if each.is_over(LATE_US)]
        return (bad[0], bad[-1]) if len(bad) > 1 else tuple(bad)


def link_incidents(ways: Sequence[Way], trouble: Trouble) -> list[Incident]:
    """All of them, in no order."""
    own = {id(way): _own_messages(way, trouble) for way in ways}
    out = [span for way in ways for span in _outages(way, own[id(way)])]
    weak: list[_Span] = []
    for way in ways:
        hidden = merged(
            (span.since_us - STRETCH_US, span.until_us + _settles_us(span))
            for span in out if set(span.way.name) == set(way.name)
        )  # fmt: skip
        # What is late just before and after nothing passed is the same trouble.
        left = [
            each for each in own[id(way)]
            if not any(begin <= each.sent_us <= end for begin, end in hidden)
        ]  # fmt: skip
        weak += _spans(way, left)
    found = [_weak(span) for span in weak if _stands_out(span, ways, trouble)]
    return _put_together(out, ways) + found


def _settles_us(span: _Span) -> int:
    """How long what nothing passed on needs afterwards: TCP's timer has doubled until it is as long
    as the outage was, and as much is to be caught up with."""
    return min(max(AROUND_US, span.until_us - span.since_us), SETTLES_US_MAX)


def _outages(way: Way, messages: list[_Message]) -> list[_Span]:
    """Times in which messages were sent, and nothing that was sent arrived before their end."""
    next_us: list[float] = [math.inf] * (len(messages) + 1)
    for place in range(len(messages) - 1, -1, -1):
        each = messages[place]
        came_us = math.inf if each.delay_us is None else each.sent_us + each.delay_us
        next_us[place] = min(next_us[place + 1], came_us)
    found: list[_Span] = []
    place = 0
    while place < len(messages):
        since_us = messages[place].sent_us
        end_us = next_us[place]
        # By halving: where all is late, or nothing arrives, each message would look at all others.
        last = max(place, bisect_left(messages, end_us, key=_sent_us) - 1)
        until_us = messages[last].sent_us if math.isinf(end_us) else int(end_us)
        if until_us - since_us >= OUT_US and last - place + 1 >= OUT_COUNT:
            inside = tuple(messages[place : last + 1])
            found.append(_Span("out", way, since_us, until_us, inside))
            place = last
        place += 1
    return found


def _sent_us(message: _Message) -> int:
    return message.sent_us


def _spans(way: Way, messages: list[_Message]) -> list[_Span]:
    stretches: dict[int, list[_Message]] = {}
    for each in messages:
        stretches.setdefault(each.sent_us // STRETCH_US, []).append(each)
    bad = [
        (stretch * STRETCH_US, (stretch + 1) * STRETCH_US)
        for stretch, sent in stretches.items() if _is_bad(sent)
    ]  # fmt: skip
    slow = merged(
        ((stretch * STRETCH_US, (stretch + 1) * STRETCH_US)
         for stretch, sent in stretches.items() if _is_slow(sent)), APART_US,
    )  # fmt: skip
    slow = [span for span in slow if span[1] - span[0] > APART_US]
    found = []
    for since_us, until_us in slow:
        inside = tuple(each for each in messages if since_us <= each.sent_us < until_us)
        found.append(_Span("slow", way, since_us, until_us, inside))
    left = [each for each in messages
            if not any(begin - STRETCH_US <= each.sent_us < end + STRETCH_US
                       for begin, end in slow)]  # fmt: skip
    for since_us, until_us in merged(bad, APART_US):
        span = _lossy(way, tuple(each for each in left if since_us <= each.sent_us < until_us))
        if span is not None:
            found.append(span)
    return found


def _own_messages(way: Way, trouble: Trouble) -> list[_Message]:
    """Those whose fate is a matter of the link, in the order in which they were sent."""
    found = [_Message(*each) for each in way.passed]
    found += [_Message(sent_us, None, event) for sent_us, event in way.lost]
    found.sort(key=lambda each: each.sent_us)
    return [
        each for each in found
        if not trouble.is_absent(way.name, each.sent_us, each.sent_us + (each.delay_us or OUT_US))
    ]  # fmt: skip


def _is_bad(sent: Sequence[_Message]) -> bool:
    late = sum(each.is_over(LATE_US) for each in sent)
    return late * 2 >= len(sent) or any(each.is_over(LOST_US) for each in sent)


def _is_slow(sent: Sequence[_Message]) -> bool:
    """Whether even quick ones were late: who waits now and then, for a processor or for what was
    lost, has others that come in time."""
    delays = sorted(each.delay_us for each in sent if each.delay_us is not None)
    return len(delays) >= SLOW_COUNT and delays[len(delays) // 10] >= LATE_US


def _lossy(way: Way, inside: tuple[_Message, ...]) -> _Span | None:
    bad = [each for each in inside if each.is_over(LATE_US)]
    if len(inside) < COUNT_MIN or not bad:
        return None
    since_us = bad[0].sent_us
    until_us = max(each.sent_us + (each.delay_us or 0) for each in bad)
    if until_us - since_us < SPAN_US_MIN:
        return None
    inside = tuple(each for each in inside if since_us <= each.sent_us <= bad[-1].sent_us)
    lossy = sum(each.is_over(LOST_US) for each in inside) / len(inside)
    return _Span("lossy", way, since_us, until_us, inside) if lossy >= LOSSY_SHARE else None


def _stands_out(span: _Span, ways: Sequence[Way], trouble: Trouble) -> bool:
    """Whether it is the link: each of its ends has another one in the same direction on which far
    less was late. Where there is no other, neither of them may have been busy."""
    limit_us, own = _limit(span)
    busy = trouble.is_busy(span.way.name, span.since_us, span.until_us)
    if span.sort == "lossy" and own * len(span.messages) < (
        BUSY_COUNT_MIN if busy else COUNT_MIN
    ):  # fmt: skip
        return False
    sender, receiver = span.way.name
    for node, place in ((sender, 0), (receiver, 1)):
        # What else it sent, what else it received: a node that is busy is late with all of that.
        shares = [
            share for way in ways if way.name[place] == node and way.name != span.way.name
            for share in (_late_share(way, limit_us, span.since_us, span.until_us),)
            if share is not None
        ]  # fmt: skip
        if not shares and trouble.is_busy((node,), span.since_us, span.until_us):
            return False
        if shares and min(shares) * (BUSY_CONTRAST if busy else CONTRAST) > own:
            return False
    return True


def _limit(span: _Span) -> tuple[int, float]:
    """What is late, for comparing this one with others: as much as shows the difference best; and
    the share of its messages that were as late, or lost."""
    limits = [LOST_US, 2 * LOST_US, 4 * LOST_US]
    if span.sort == "slow":
        limits = [max(LATE_US, span.delay_us(50) // 2)]
    shares = [
        sum(each.is_over(limit_us) for each in span.messages) / len(span.messages)
        for limit_us in limits
    ]
    usable = [each for each in zip(limits, shares, strict=True) if each[1] >= LOSSY_SHARE]
    return usable[-1] if usable else (limits[0], shares[0])


def _late_share(way: Way, limit_us: int, since_us: int, until_us: int) -> float | None:
    sent = [delay_us for sent_us, delay_us, _ in way.passed if since_us <= sent_us <= until_us]
    return sum(each >= limit_us for each in sent) / len(sent) if len(sent) >= COUNT_MIN else None


def _weak(span: _Span) -> Incident:
    sender, receiver = span.way.name
    words = f"the link from {sender} to {receiver} "
    if span.sort == "slow":
        words += f"is slow: half of the messages took {ms(span.delay_us(50))} longer than the quick"
        words += " ones, or more"
    else:
        late = sum(each.delay_us is not None and each.is_over(LOST_US) for each in span.messages)
        words += f"loses messages: of {len(span.messages)} {span.lost} were lost and {late} came "
        words += f"{ms(LOST_US)} late or more"
    return Incident(f"{span.sort if span.sort == 'slow' else 'lossy'} link", sender, receiver,
                    span.since_us, span.until_us, words, span.evidence)  # fmt: skip


# -- where nothing passed


def _put_together(out: list[_Span], ways: Sequence[Way]) -> list[Incident]:
    cut: list[tuple[_Span, _Span]] = []
    found: list[Incident] = []
    used: set[int] = set()
    for span in out:
        if id(span) in used:
            continue
        back = next((each for each in out if each.way.name == span.way.name[::-1]
                     and id(each) not in used and _overlap(span, each)), None)  # fmt: skip
        used.add(id(span))
        if back is None:
            # The other way may have had too few messages to be judged by itself.
            other = next((way for way in ways if way.sender is span.way.receiver
                          and way.receiver is span.way.sender), None)  # fmt: skip
            if other is not None and _went_on(span, other, span.until_us - AROUND_US):
                found.append(_one_way(span, None))
            else:
                cut.append((span, span))
            continue
        used.add(id(back))
        first, second = (span, back) if span.since_us <= back.since_us else (back, span)
        if _went_on(first, second.way, second.since_us):
            found.append(_one_way(first, second))
        else:
            cut.append((first, second))
    return found + _cuts(cut, ways)


def _overlap(one: _Span, other: _Span) -> bool:
    return one.since_us <= other.until_us and other.since_us <= one.until_us


def _went_on(first: _Span, back: Way, until_us: int) -> bool:
    """Whether messages the other way were still quick after the first that did not pass, until
    none was."""
    prompt = [
        sent_us for sent_us, delay_us, _ in back.passed
        if first.since_us + ONE_WAY_US < sent_us < until_us and delay_us < LOST_US
    ]  # fmt: skip
    return len(prompt) >= ONE_WAY_COUNT and prompt[-1] >= first.since_us + 4 * ONE_WAY_US


def _one_way(span: _Span, back: _Span | None) -> Incident:
    sender, receiver = span.way.name
    words = f"nothing of what {sender} sent arrived at {receiver}, though the other way was open"
    if back is not None:
        words += " at first; without acknowledgements of TCP that ended, too"
    return Incident("one-way", sender, receiver, span.since_us, span.until_us, words, span.evidence)


def _at_once(pairs: list[tuple[_Span, _Span]]) -> list[list[tuple[_Span, _Span]]]:
    """Those that follow each other without a time in which something passed on all of them."""
    groups: list[list[tuple[_Span, _Span]]] = []
    end_us = 0
    for pair in sorted(pairs, key=lambda pair: pair[0].since_us):
        if not groups or pair[0].since_us > end_us:
            groups.append([])
            end_us = 0
        groups[-1].append(pair)
        end_us = max(end_us, *(span.until_us for span in pair))
    return groups


def _cuts(cut: list[tuple[_Span, _Span]], ways: Sequence[Way]) -> list[Incident]:
    """A node that is cut off from two others or more, and those links that are cut alone."""
    of_node: dict[str, list[tuple[_Span, _Span]]] = {}
    for pair in cut:
        for node in pair[0].way.name:
            of_node.setdefault(node, []).append(pair)
    found: list[Incident] = []
    used: set[int] = set()
    for node, pairs in sorted(of_node.items(), key=lambda item: -len(item[1])):
        known = {name for way in ways for name in way.name if node in way.name} - {node}
        for left in _at_once([pair for pair in pairs if id(pair) not in used]):
            peers = {name for pair in left for name in pair[0].way.name} - {node}
            if len(peers) < 2 or peers != known:
                continue
            used |= {id(pair) for pair in left}
            begin = min(pair[0].since_us for pair in left)
            end = max(span.until_us for pair in left for span in pair)
            proof = tuple(event for pair in left for span in pair for event in span.evidence[:1])
            found.append(Incident("cut off", node, "", begin, end, f"nothing passed between {node} "
                                  f"and {' or '.join(sorted(peers))}", proof))  # fmt: skip
    for pair in cut:
        if id(pair) not in used:
            one, other = sorted(pair[0].way.name)
            found.append(Incident("cut link", one, other, pair[0].since_us, pair[1].until_us,
                                  f"nothing passed between {one} and {other}",
                                  pair[0].evidence))  # fmt: skip
    return found
