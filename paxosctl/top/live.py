"""The loop of the live view: what nodes answered and what was typed, in the order in which they
came."""

import math
import queue
import sys
import time
from collections.abc import Callable

from paxosctl.client.client import Client
from paxosctl.top.figures import BARS, PLAIN_BARS
from paxosctl.top.model import Model, Sighting
from paxosctl.top.poller import Poller
from paxosctl.top.screens import Frame, draw
from paxosctl.top.terminal import Terminal
from paxosctl.top.view import View, keys_of, press

FRAMES_A_SECOND = 10
"""At most; a key is answered at once."""


def wall_clock() -> str:
    """The time of day."""
    return time.strftime("%H:%M:%S")


def bars() -> str:
    """The picture's characters that standard output can show."""
    is_unicode = "utf" in (getattr(sys.stdout, "encoding", "") or "").lower()
    return BARS if is_unicode else PLAIN_BARS


class LiveView:
    """``model``: takes in nothing while the view is paused."""

    def __init__(self, client: Client, terminal: Terminal, interval_s: float) -> None:
        self._terminal = terminal
        self._interval_s = interval_s
        self.model, self.view = Model(), View()
        self._news: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()
        self._round_s = time.monotonic() + interval_s
        self._is_over = False
        self._poller = Poller(
            client,
            interval_s,
            on_sighting=lambda seen: self._post(lambda: self._take(seen)),
            on_rules=lambda name, rules: self._post(lambda: self.model.take_rules(name, rules)),
            on_notice=lambda words: self._post(lambda: self.model.note(words, wall_clock())),
        )

    def run(self) -> None:
        """Until somebody quits, or can type no more."""
        with self._poller:
            self._show()
            shown_s = time.monotonic()
            due_s = math.inf
            while not self._is_over:
                typed = self._terminal.wait(min(self._round_s, due_s) - time.monotonic())
                if typed is None:
                    return
                self._take_news()
                for key in keys_of(typed):
                    self._press(key)
                if typed or time.monotonic() - shown_s >= 1 / FRAMES_A_SECOND:
                    self._show()
                    shown_s, due_s = time.monotonic(), math.inf
                else:  # nodes answer one after another: they are shown together
                    due_s = shown_s + 1 / FRAMES_A_SECOND

    def _post(self, news: Callable[[], object]) -> None:
        self._news.put(news)
        self._terminal.wake()

    def _take(self, seen: Sighting) -> None:
        if not self.view.paused:
            self.model.take(seen, wall_clock())

    def _take_news(self) -> None:
        while not self._news.empty():
            self._news.get()()
        now_s = time.monotonic()
        if now_s >= self._round_s:
            self._round_s = now_s + self._interval_s
            if not self.view.paused:
                self.model.end_round()

    def _press(self, key: str) -> None:
        self.view, wish = press(self.view, key, self.model)
        self._is_over = self._is_over or wish.quit
        if wish.end_fault:
            having = {
                node.name: node.endpoint
                for node in self.model.nodes.values()
                if any(rule["name"] == wish.end_fault for rule in node.rules)
            }
            self._poller.end_fault(wish.end_fault, having)

    def _show(self) -> None:
        width, height = self._terminal.size
        if not self.view.paused:
            self.model.now_s = time.monotonic()
        frame = Frame(width=width, height=height, wall=wall_clock(),
                      interval_s=self._interval_s, bars=bars())  # fmt: skip
        self._terminal.show(draw(self.model, self.view, frame))


def run_live(client: Client, interval_s: float, *, colours: bool) -> None:
    """Show the view until somebody quits. Raises KeyboardInterrupt."""
    with Terminal(colours=colours) as terminal:
        LiveView(client, terminal, interval_s).run()
