"""What each screen shows, at every size; what each key does."""

from dataclasses import replace

import pytest

from paxosctl.top.figures import PLAIN_BARS
from paxosctl.top.screens import Frame, draw
from paxosctl.top.view import SORTS, Screen, View, Wish, keys_of, press
from tests.ctl.top.made import RULE, Looks

BIG = Frame(width=140, height=40, wall="02:03:04", interval_s=1.0)
SMALL = replace(BIG, width=80, height=24)


@pytest.fixture
def looks():
    looks = Looks()
    looks()
    looks.busy()
    return looks


def text_of(model, view=None, frame=SMALL):
    return "\n".join(line.plain for line in draw(model, view or View(), frame))


def faulty(looks):
    model = looks(n2={"fault_count": 1, "faults_enabled": True})
    model.take_rules("n2", (RULE,))
    return model


class TestSizes:
    @pytest.mark.parametrize("width", [1, 20, 60, 80, 100, 140, 300])
    @pytest.mark.parametrize("height", [1, 5, 24, 40])
    @pytest.mark.parametrize("screen", Screen)
    def test_every_screen_fills_the_terminal_and_nothing_more(self, looks, width, height, screen):
        model = faulty(looks)
        looks(n3=None)
        frame = replace(BIG, width=width, height=height)
        lines = draw(model, View(screen=screen, selected="n2"), frame)
        assert len(lines) == height
        assert max(line.cell_len for line in lines) <= width

    def test_where_not_all_nodes_find_room_they_are_counted(self, looks):
        looks.model.events.clear()
        assert "more node" not in text_of(looks.model, frame=replace(SMALL, height=10))
        text = text_of(looks.model, frame=replace(SMALL, height=9))
        assert ("n2    follower" in text, "  and 1 more node\n" in text) == (True, True)

    def test_at_80_columns(self, looks):
        text = text_of(looks.model)
        assert "cluster c   n1 leads   3 of 3 nodes up   survives 1" in text
        assert text.splitlines()[0].endswith("02:03:04")
        head = text.splitlines()[3]
        for title in ("NODE", "ROLE", "BALLOT", "APPLIED", "LAG", "WRITES/S", "FSYNC99"):
            assert title in head
        assert "writes 100/s" in text
        assert "4.1 ms" in text
        assert "q quit" in text.splitlines()[-1]

    def test_at_140_columns_there_is_more(self, looks):
        head = text_of(looks.model, frame=BIG).splitlines()[3]
        for title in ("COMMIT", "REQ/S", "CPU", "MEM", "FAULTS", "UP"):
            assert title in head

    def test_of_many_nodes_the_selected_one_is_shown(self, looks):
        for number in range(40):
            status = replace(looks.statuses["n2"], node=f"x{number:02}")
            seen = looks.model.nodes["n2"]
            looks.model.nodes[status.node] = replace(seen, name=status.node, status=status)
        text = text_of(looks.model, View(selected="x33"))
        assert "> x33" in text
        assert "event" in text

    def test_ascii_alone(self, looks):
        frame = replace(SMALL, bars=PLAIN_BARS)
        rows = text_of(looks.model, frame=frame).splitlines()
        assert rows[4].isascii()
        assert rows[-1].isascii()


class TestNodes:
    def test_a_node_that_does_not_answer(self, looks):
        looks(n3=None)
        model = looks(n3=None, passed_s=4.0)
        text = text_of(model)
        assert "n3    no answer for 4 s: the connection was refused" in text
        assert "2 of 3 nodes up" in text
        assert "n3 does not answer" in text

    def test_what_is_wrong_is_said(self, looks):
        model = looks(n3={"memory": "lost", "role": "memory-lost", "votes": False})
        assert "! n3 lost its memory" in text_of(model)

    def test_paused(self, looks):
        assert "PAUSED  02:03:04" in text_of(looks.model, View(paused=True))

    def test_sorted_by_a_figure_silent_nodes_come_last(self, looks):
        model = looks(n1={"lag_slots": 3}, n2={"lag_slots": 9}, n3=None)
        rows = text_of(model, View(sort="lag")).splitlines()[4:7]
        assert [row.split()[0].strip("> ") or row.split()[1] for row in rows] == ["n2", "n1", "n3"]

    def test_what_a_node_says_does_not_move_the_cursor(self, looks):
        model = looks(n2={"role": "evil\x1b[2J\rrole"})
        text = text_of(model)
        assert "\x1b" not in text
        assert "\r" not in text


def test_the_screen_of_a_node(looks):
    text = text_of(looks.model, View(screen=Screen.NODE, selected="n2"))
    assert "n2: follower of cluster c" in text
    for words in ("3 of 3 voters, needs 2", "p99 4.1 ms now", "+3 ms", "ballot", "recorder"):
        assert words in text
    looks(n2=None)
    text = text_of(looks.model, View(screen=Screen.NODE, selected="n2"))
    assert "n2 does not answer for 0 s: the connection was refused" in text
    assert "what it said last:" in text


class TestFaults:
    def test_none(self, looks):
        text = text_of(looks.model, View(screen=Screen.FAULTS))
        assert "no fault rules; these nodes take none" in text

    def test_each_once_with_its_nodes(self, looks):
        text = text_of(faulty(looks), View(screen=Screen.FAULTS))
        assert "> slow   disk-slow" in text
        assert "42s" in text
        assert "faults 1" in text

    def test_one_is_ended_after_a_question(self, looks):
        model = faulty(looks)
        view, wish = press(View(screen=Screen.FAULTS), "end", model)
        assert (view.asked, wish) == ("slow", Wish())
        assert "end fault slow on every node that has it?" in text_of(model, view)
        view, wish = press(view, "yes", model)
        assert (view.asked, wish.end_fault) == ("", "slow")

    @pytest.mark.parametrize("key", ["no", "escape", "enter", "quit", "pause", "down", "end"])
    def test_any_other_key_means_no(self, looks, key):
        model = faulty(looks)
        view, wish = press(View(screen=Screen.FAULTS, asked="slow"), key, model)
        assert view.asked == ""
        assert wish == Wish()
        assert not view.paused

    def test_yes_without_a_question_does_nothing(self, looks):
        assert press(View(screen=Screen.FAULTS), "yes", faulty(looks))[1] == Wish()

    def test_the_question_goes_with_the_rule(self, looks):
        model = faulty(looks)
        view = View(screen=Screen.FAULTS, asked="slow")
        looks(n2={"fault_count": 0})
        assert press(view, "yes", model) == (View(screen=Screen.FAULTS, selected="n1"), Wish())


class TestKeys:
    def test_what_terminals_send(self):
        typed = b"\x1b[A\x1bOBjk\r \x7fq?sfpzy\x1b[3~\x1b"
        assert keys_of(typed) == [
            "up", "down", "down", "up", "enter", "pause", "escape", "quit", "help", "sort",
            "faults", "pause", "yes", "end", "escape",
        ]  # fmt: skip
        assert keys_of(b"\xff\x00\x1b[999Z") == []

    def test_selecting_stops_at_both_ends(self, looks):
        view = View()
        for key, selected in (("up", "n1"), ("down", "n2"), ("down", "n3"), ("down", "n3")):
            view, _ = press(view, key, looks.model)
            assert view.selected == selected

    def test_screens(self, looks):
        view, _ = press(View(selected="n2"), "enter", looks.model)
        assert (view.screen, view.selected) == (Screen.NODE, "n2")
        view, _ = press(view, "down", looks.model)
        assert (view.screen, view.selected) == (Screen.NODE, "n3")
        view, _ = press(view, "escape", looks.model)
        assert view.screen is Screen.NODES
        view, _ = press(view, "help", looks.model)
        assert view.screen is Screen.HELP
        assert press(view, "help", looks.model)[0].screen is Screen.NODES
        assert press(view, "faults", looks.model)[0].screen is Screen.FAULTS

    @pytest.mark.parametrize("screen", Screen)
    def test_quit_and_pause_work_everywhere(self, looks, screen):
        assert press(View(screen=screen), "quit", looks.model)[1].quit
        assert press(View(screen=screen), "pause", looks.model)[0].paused

    def test_sorting_goes_round(self, looks):
        view = View()
        for each in (*SORTS[1:], SORTS[0]):
            view, _ = press(view, "sort", looks.model)
            assert view.sort == each
            assert text_of(looks.model, view)


def test_a_link_that_is_cut_is_said_in_whole_sentences_if_there_is_room(looks):
    peers = looks.statuses["n3"].peers
    model = looks(n3={"peers": peers | {"n1": replace(peers["n1"], reachable=False)}})
    lines = text_of(model).splitlines()
    first = next(at for at, line in enumerate(lines) if line.startswith("! n3 does not hear n1"))
    whole = " ".join("".join(lines[first : first + 2]).split())
    assert whole.endswith("firewalls and routes between them")
    assert "! n3 does not hear n1" in text_of(model, frame=replace(SMALL, height=10, width=50))


def test_more_troubles_than_there_is_room_for_are_counted(looks):
    lost = {"memory": "lost", "role": "memory-lost", "votes": False}
    model = looks(n2=lost | {"low_space": ("n1", "n2", "n3", "n4", "n5")})
    tight = text_of(model, frame=replace(SMALL, height=12)).splitlines()
    marked = [line for line in tight if line.startswith("!")]
    assert len(marked) == 3
    assert marked[-1] == "! and 4 more: paxosctl status --cluster"


def test_what_is_wrong_with_a_link_stands_beside_the_peer(looks):
    peers = looks.statuses["n3"].peers
    odd = {
        "n1": replace(peers["n1"], hears=False),
        "n2": replace(peers["n2"], link_problem="n2 at tcp://h:1 wants a key"),
    }
    text = text_of(looks(n3={"peers": odd}), View(screen=Screen.NODE, selected="n3"))
    assert "does not hear n3" in text
    assert "  wants a key" in text
