"""What went wrong with nodes: ends, stands, too little processor, slow disks, jumps of the clock.

Whoever is slow is found by comparing: a node's disk and processor with those of the others at the
same time, in stretches of half a second.
"""

from collections.abc import Iterator, Sequence

from paxosctl.inspection.events import ms, note_event, note_fields
from paxosctl.inspection.incidents import MACHINE_BUSY, Incident, merged
from paxosctl.inspection.lives import Gap, Life
from paxosd.recorder.event import Event

STRETCH_US = 500_000
DIED_US_MIN = 700_000
"""A process that others outlive by so much in the recordings has ended before them: they may have
lost their last 250 ms."""
HEARD_US_MIN = 3_000_000
"""What is on its way when a process ends arrives earlier."""
SYNC_US_MIN = 10_000
SYNC_TIMES = 3
"""A disk stands out if its group commits take so many times as long as another's at the time."""
BUSY_SYNC_US_MIN = 25_000
BUSY_SYNC_TIMES = 5
"""The same of a node that has too little processor: that makes a group commit some 5 ms longer, and
seldom 20."""
WAITED_SHARE = 0.3
"""A node that was ready to run, but did not, for so much of the time has too little processor."""
UNKNOWN_US_MIN = 600_000
"""A time without an event of which the processors are not known is trouble from here on."""
LONG_US = 1_000_000
STARVED_SHARE = 0.4
SHORTLY_STARVED_SHARE = 0.05
"""Of a time without an event, long or short; the rest of it the thread waited perhaps for another
one of its process that was starved as well. A process that was stopped waits only once it goes on
again, for a processor on which it has much to do."""
ENDINGS = ("node.stopping", "node.failed", "node.removed", "node.stopped")
HOPELESS_SHARE = 0.75
"""Of a node that waits for so much of the time nothing is said of its disk."""
Spans = list[tuple[int, int]]
Shares = dict[int, tuple[int, int, int, Event]]


def median(values: Sequence[int]) -> int:
    """The middle one; 0 of none."""
    return sorted(values)[len(values) // 2] if values else 0


# -- ends


def ends(lives: Sequence[Life]) -> Iterator[Incident]:
    """Processes that ended while others went on, or before they started again."""
    for place, life in enumerate(lives):
        following = lives[place + 1] if place + 1 < len(lives) else None
        again = following if following is not None and following.node == life.node else None
        outlived = any(
            other.node != life.node and other.last_us > life.last_us + DIED_US_MIN
            for other in lives
        )
        if again is None and (not outlived or _was_heard_later(life, lives)):
            continue
        until_us = again.begun_us if again is not None else max(each.last_us for each in lives)
        yield _end(life, again, max(life.last_us, until_us))


def _was_heard_later(life: Life, lives: Sequence[Life]) -> bool:
    """Whether others took up messages of it long after its recording ends: that was cut off, or its
    last blocks cannot be read."""
    return any(
        other.at(event) > life.last_us + HEARD_US_MIN
        for other in lives for _, event in other.received.get(life.node, ())[-1:]
    )  # fmt: skip


def _end(life: Life, again: Life | None, until_us: int) -> Incident:
    said = life.note(*ENDINGS)
    crash = life.note("fault.crash")
    back = "and started again" if again is not None else "and did not come back"
    after = (again.first,) if again is not None else ()
    since_us = life.last_us
    node = life.node
    if crash is not None:
        return Incident("died", node, "", since_us, until_us,
                        f"{node} was asked to crash, and did, {back}", (crash, *after), True
                    )  # fmt: skip
    hit = next((e for e in life.notes if note_event(e) == "fault.hit"
                and note_fields(e.text).get("kind") in ("crash", "torn-write")), None)  # fmt: skip
    if hit is not None:
        return Incident("died", node, "", since_us, until_us, f"{node} was killed by the fault "
                        f"{note_fields(hit.text).get('fault')}, {back}", (hit, *after), True
                    )  # fmt: skip
    if said is not None and note_event(said) != "node.failed":
        reason = note_fields(said.text).get("reason") or note_event(said).partition(".")[2]
        return Incident("ended", node, "", life.at(said), until_us,
                        f"{node} was ended ({reason}), {back}", (said, *after))  # fmt: skip
    if said is not None:
        what = note_fields(said.text).get("message") or note_fields(said.text).get("error") or ""
        disk = life.note("storage.failed") is not None or "storage" in str(what).lower()
        return Incident("disk failed" if disk else "ended", node, "", life.at(said), until_us,
                        f"{node} ended, because it failed: {what}, {back}", (said, *after)
                    )  # fmt: skip
    words = f"{node}'s process ended without a word (kill -9, a crash, or its machine), {back}"
    if again is None:  # a process that goes on later records then that it stood still
        words += "; or it has stood still since"
    return Incident("died", node, "", since_us, until_us, words, (life.last, *after))


def failures(lives: Sequence[Life]) -> Iterator[Incident]:
    """Disks that refused something, while the process went on."""
    for life in lives:
        said = life.note("storage.failed")
        if said is not None:
            message = note_fields(said.text).get("message") or "a write or a sync failed"
            yield Incident("disk failed", life.node, "", life.at(said), life.last_us,
                           f"{life.node}'s disk failed: {message}", (said,))  # fmt: skip


def wipes(lives: Sequence[Life]) -> Iterator[Incident]:
    """Nodes that began in a data directory that is not theirs."""
    for life in lives:
        said = life.note("node.memory_lost")
        other = _other_directory(life, lives)
        if said is None and other is None:
            continue
        proof = tuple(each for each in (life.start, said, other) if each is not None)
        yield Incident("wiped", life.node, "", life.begun_us, life.last_us,
                       f"{life.node} began without its memory, in a new data directory", proof
                   )  # fmt: skip


def _other_directory(life: Life, lives: Sequence[Life]) -> Event | None:
    """What names another data directory of this node than it starts in."""
    if life.start is None or not life.start.y:
        return None
    for each in lives:
        if each is life:
            continue
        for hello in each.hellos:
            if hello.peer == life.node and hello.x and hello.x != life.start.y and (
                each.at(hello) < life.begun_us
            ):  # fmt: skip
                return hello
    return None


# -- a process that does not run


def stands(lives: Sequence[Life]) -> tuple[list[Incident], dict[str, Spans]]:
    """Processes that recorded nothing for a while, and lived; and those spans for each node."""
    found: list[Incident] = []
    spans: dict[str, Spans] = {}
    for life in lives:
        for gap in life.gaps:
            if life.start is not None and life.at(gap.before) - life.begun_us < STRETCH_US:
                continue  # it recovers, and waits for the others
            since_us, until_us = life.at(gap.before), life.at(gap.after)
            spans.setdefault(life.node, []).append((since_us, until_us))
            if gap.ran_us < 0 and until_us - since_us < UNKNOWN_US_MIN:
                continue
            found.append(_stand(life, gap, since_us, until_us))
    return found, spans


def _stand(life: Life, gap: Gap, since_us: int, until_us: int) -> Incident:
    took_us = until_us - since_us
    evidence = gap.before, gap.after
    share = STARVED_SHARE if took_us >= LONG_US else SHORTLY_STARVED_SHARE
    if gap.waited_us > took_us * share:
        return Incident("busy", life.node, "", since_us, until_us,
                        f"{life.node} did not get a processor: it waited {ms(gap.waited_us)}",
                        evidence)  # fmt: skip
    if gap.ran_us * 2 > took_us:
        return Incident("busy", life.node, "", since_us, until_us,
                        f"{life.node}'s loop was at work on one thing for {ms(gap.ran_us)}",
                        evidence)  # fmt: skip
    how = "" if gap.ran_us < 0 else (
        f": it ran {ms(gap.ran_us)} and waited {ms(gap.waited_us)} for a processor"
    )  # fmt: skip
    return Incident("still", life.node, "", since_us, until_us,
                    f"{life.node} stood still (stopped by a signal, or with its machine){how}",
                    evidence)  # fmt: skip


# -- processors


def starved(lives: Sequence[Life]) -> list[Incident]:
    """Nodes that waited for a processor, beside others that did not; or all of them."""
    waited = {id(life): _shares(life) for life in lives}
    bad: dict[str, Spans] = {}
    everywhere: Spans = []
    proof: dict[str, tuple[int, Event]] = {}
    for life in lives:
        for stretch, (waited_us, _, whole_us, event) in waited[id(life)].items():
            share = waited_us / whole_us
            if share < WAITED_SHARE:
                continue
            others = [
                shares[stretch][0] / shares[stretch][2]
                for other in lives if other.node != life.node
                for shares in (waited[id(other)],) if stretch in shares
            ]  # fmt: skip
            span = stretch * STRETCH_US, (stretch + 1) * STRETCH_US
            if others and min(others) < share / 2:
                bad.setdefault(life.node, []).append(span)
            else:
                everywhere.append(span)
            if waited_us > proof.get(life.node, (0, event))[0]:
                proof[life.node] = waited_us, event
    found = [
        _starved(node, *span, lives, proof[node][1])
        for node, spans in bad.items()
        for span in merged(spans, STRETCH_US)
        if span[1] - span[0] > STRETCH_US
    ]
    for since_us, until_us in merged(everywhere, STRETCH_US):
        if until_us - since_us > STRETCH_US:
            found.append(Incident(MACHINE_BUSY, "", "", since_us, until_us,
                                  "all nodes waited for processors: other programs have them",
                                  tuple(each for _, each in proof.values())))  # fmt: skip
    return found


def _shares(life: Life) -> Shares:
    """Stretch → waited, ran, whole µs, and the last event."""
    found: Shares = {}
    for event in life.processor:
        stretch = (life.at(event) - event.slot // 2) // STRETCH_US
        before = found.get(stretch, (0, 0, 0, event))
        found[stretch] = (before[0] + event.y, before[1] + event.x,
                          before[2] + max(1, event.slot), event)  # fmt: skip
    return found


def _shares_at(shares: Shares, stretch: int) -> tuple[int, int, int, Event | None]:
    """Of this stretch or the next, in which the group commit may have ended; the worse."""
    nothing = 0, 0, 1, None
    return max(
        (shares.get(each, nothing) for each in (stretch, stretch + 1)),
        key=lambda share: share[0] / share[2],
    )


def _starved(
    node: str, since_us: int, until_us: int, lives: Sequence[Life], proof: Event
) -> Incident:
    waited_us = whole_us = 0
    for life in lives:
        if life.node == node:
            for event in life.processor:
                if since_us <= life.at(event) <= until_us:
                    waited_us, whole_us = waited_us + event.y, whole_us + event.slot
    share = waited_us / max(1, whole_us)
    return Incident("busy", node, "", since_us, until_us, f"{node} is busy: for {share:.0%} of the "
                    "time it was ready to run and had no processor, unlike others", (proof,)
                )  # fmt: skip


# -- disks


def slow_disks(lives: Sequence[Life], busy: dict[str, Spans]) -> list[Incident]:
    """Disks that took far longer than another's at the time. ``busy``: when a node did not run."""
    stretches = {id(life): _syncs(life) for life in lives}
    shares = {id(life): _shares(life) for life in lives}
    everything = [took for each in stretches.values() for took, _ in each.values()]
    usual_us = median(everything)
    bad: dict[str, dict[int, Event]] = {}
    for life in lives:
        for stretch, (took_us, event) in stretches[id(life)].items():
            others = [
                each[stretch][0] for other in lives if other.node != life.node
                for each in (stretches[id(other)],) if stretch in each
            ]  # fmt: skip
            best_us = min(others, default=usual_us)
            span = stretch * STRETCH_US, (stretch + 1) * STRETCH_US
            waited_us, _, whole_us, _ = _shares_at(shares[id(life)], stretch)
            if waited_us > whole_us * HOPELESS_SHARE:
                continue
            starved = any(
                begin <= span[1] and span[0] <= end for begin, end in busy.get(life.node, ())
            )
            least_us, times = (BUSY_SYNC_US_MIN, BUSY_SYNC_TIMES) if starved else (
                SYNC_US_MIN, SYNC_TIMES
            )  # fmt: skip
            if took_us >= least_us and took_us >= times * best_us:
                bad.setdefault(life.node, {})[stretch] = event
    found = []
    for node, each in bad.items():
        spans = [(stretch * STRETCH_US, (stretch + 1) * STRETCH_US) for stretch in each]
        for since_us, until_us in merged(spans, 2 * STRETCH_US):
            if until_us - since_us > STRETCH_US:
                found.append(_disk(node, since_us, until_us, lives))
    return found


def _syncs(life: Life) -> dict[int, tuple[int, Event]]:
    """Stretch → the median of its group commits, and one that took so long."""
    found: dict[int, list[tuple[int, int, Event]]] = {}
    for event in life.syncs:
        found.setdefault((life.at(event) - event.x) // STRETCH_US, []).append(
            (event.x, event.seq, event)
        )
    return {
        stretch: (each[0], each[2])
        for stretch, syncs in found.items()
        for each in (sorted(syncs)[len(syncs) // 2],)
    }


def _disk(node: str, since_us: int, until_us: int, lives: Sequence[Life]) -> Incident:
    own: list[int] = []
    other: dict[str, list[int]] = {}
    proof: Event | None = None
    for life in lives:
        for event in life.syncs:
            if since_us <= life.at(event) <= until_us + STRETCH_US:
                if life.node != node:
                    other.setdefault(life.node, []).append(event.x)
                else:
                    own.append(event.x)
                    proof = event if proof is None or event.x > proof.x else proof
    best = min(other, key=lambda name: median(other[name]), default="")
    beside = f", {best}'s {ms(median(other[best]))}" if best else ""
    return Incident("disk", node, "", since_us, until_us, f"{node}'s disk is slow: half of its "
                    f"group commits took {ms(median(own))} or more{beside}",
                    (proof,) if proof is not None else ())  # fmt: skip


# -- clocks


def clock_jumps(lives: Sequence[Life]) -> Iterator[Incident]:
    """Wall clocks that moved against the monotonic one."""
    for life in lives:
        for event, moved_us in life.jumps:
            way = "forwards" if moved_us > 0 else "back"
            yield Incident("clock", life.node, "", life.at(event), life.at(event),
                           f"{life.node}'s wall clock jumped {ms(abs(moved_us))} {way}", (event,)
                       )  # fmt: skip
