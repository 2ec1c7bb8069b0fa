"""The loop of the live view, by a clock of its own."""

import threading

from paxosctl.top import live


class Clock:
    """Seconds that pass when somebody says so."""

    def __init__(self):
        self.now_s = 0.0

    def monotonic(self):
        return self.now_s

    def strftime(self, _):
        return "00:00:00"


class Screen:
    """A terminal on which nobody types: something wakes it at ``wakes_s``, then it ends."""

    size = (80, 24)

    def __init__(self, clock, wakes_s, end):
        self.clock = clock
        self.end = end
        self.wakes_s = list(wakes_s)
        self.shown_s = []

    def wait(self, timeout_s):
        assert timeout_s < 60, "it would wait for ever"
        until_s = self.clock.now_s + max(0.0, timeout_s)
        if not self.wakes_s:
            self.end()
            return None
        if self.wakes_s[0] <= until_s:
            until_s = self.wakes_s.pop(0)
        self.clock.now_s = max(self.clock.now_s, until_s) + 1e-6
        return b""

    def wake(self):
        """Nobody waits."""

    def show(self, _):
        self.shown_s.append(self.clock.now_s)


class NoNodes:
    """A client that knows of no node; its turn ends with the test."""

    endpoints = ()

    def __init__(self):
        self.over = threading.Event()

    def turn(self, _):
        self.over.wait()


def test_a_round_is_as_long_as_the_interval_however_the_answers_are_spread(monkeypatch):
    clock, client = Clock(), NoNodes()
    monkeypatch.setattr(live, "time", clock)
    wakes_s = [second + part for second in range(4) for part in (0.02, 0.05, 0.15, 0.19, 0.3, 0.33)]
    screen = Screen(clock, [*wakes_s, 4.05], client.over.set)
    view = live.LiveView(client, screen, 1.0)
    view.run()
    assert len(view.model.operations) == 4
    pauses_s = [b - a for a, b in zip(screen.shown_s, screen.shown_s[1:], strict=False)]
    assert min(pauses_s) >= 1 / live.FRAMES_A_SECOND
    for wake_s in wakes_s:  # each is shown soon
        assert any(0 <= at_s - wake_s <= 0.11 for at_s in screen.shown_s), wake_s
