"""The forms: what is in a name or a line harms no page, ShiViz takes its log, limits are said."""

import json
import re
from html.parser import HTMLParser
from itertools import pairwise
from xml.etree import ElementTree

import pytest

from paxosctl.diagram.diagram import made_of
from paxosctl.diagram.page import html_page
from paxosctl.diagram.sequence import TooLongError, mermaid, mscgen, steps_of
from paxosctl.diagram.shiviz import PARSER, host_names, shiviz_log
from paxosctl.diagram.svg import svg_picture
from paxosd.recorder.event import NOTE, START, Event
from tests.ctl.diagram.test_model import draw
from tests.ctl.inspection.made import healthy

EVIL = (
    '</script><script>alert(1)</script><img src=x onerror="alert(2)">\u2028`${1}`]]>&amp;\x1b[2J'
    "\nn9 {}"
)


def evil_diagram():
    """A node, a field and the name of an event are markup."""
    line = json.dumps({"event": EVIL, "node": EVIL, "level": "warning", "words": EVIL})
    events = [
        Event(EVIL, 1, 1, 0, 5, START, "", EVIL, 0, 0, 1, 0, 0),
        Event(EVIL, 1, 2, 1, 6, NOTE, "", "", 0, 0, 0, 0, 0, line),
        Event(EVIL, 1, 3, 2, 7, NOTE, "", "", 0, 0, 0, 0, 0, EVIL),
    ]
    diagram = made_of(events, [EVIL])
    diagram.heads = [EVIL]
    diagram.left_out = [EVIL]
    diagram.faults = [EVIL]
    return diagram


class Elements(HTMLParser):
    """The names and attributes of all elements."""

    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


class TestPage:
    def test_markup_in_names_and_lines_stays_text(self):
        elements = Elements(html_page(evil_diagram(), EVIL)).found
        tags = [tag for tag, _ in elements]
        assert tags.count("script") == 2, "the data, and the script"
        assert "img" not in tags
        assert not [attrs for _, attrs in elements if any(name.startswith("on") for name in attrs)]

    def test_the_data_comes_back_whole(self):
        text = html_page(evil_diagram(), "t")
        found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.S)
        data = json.loads(found[1])
        assert data["nodes"] == [EVIL]
        assert "<" not in found[1]
        assert data["events"]["d"][2] == EVIL.replace("\u2028", "\\u2028").replace(
            "\x1b", "\\x1b"
        ).replace("\n", "\\n")

    def test_nothing_comes_from_elsewhere(self, tmp_path):
        healthy(tmp_path)
        text = html_page(draw(tmp_path), "t")
        for tag, attrs in Elements(text).found:
            assert tag not in ("link", "iframe", "object", "embed", "base", "img"), tag
            assert not {"src", "href", "action", "srcset", "data"} & attrs.keys(), tag
        assert not re.findall(r"https?://|@import|url\(", text)
        assert "default-src 'none'" in text

    def test_no_script_makes_markup_of_text(self, tmp_path):
        healthy(tmp_path)
        text = html_page(draw(tmp_path), "t")
        assert not re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b"
                              r"|new Function", text)  # fmt: skip


class TestSvg:
    def test_it_is_well_formed_whatever_is_in_names(self):
        root = ElementTree.fromstring(svg_picture(evil_diagram(), EVIL))
        assert {each.tag.rpartition("}")[2] for each in root.iter()} <= {
            "svg", "title", "style", "rect", "text", "line", "path", "circle", "g"}  # fmt: skip

    def test_an_arrow_each_message(self, tmp_path):
        healthy(tmp_path)
        diagram = draw(tmp_path)
        root = ElementTree.fromstring(svg_picture(diagram, "t"))
        lines = [each for each in root.findall(".//{*}path") if each.get("class") == "a s"]
        assert len(lines) == len(diagram.arrows)


def read_shiviz(text):
    """The rules of ShiViz's LogParser, VectorTimestamp and ModelGraph, ported: (host, clock,
    fields) of each event. Raises AssertionError where ShiViz refuses the log."""
    first, second, log = text.split("\n", 2)
    assert second.strip() == "", "a delimiter"
    pattern = re.compile("^" + first.replace("(?<", "(?P<") + "$", re.MULTILINE)
    assert {"clock", "host", "event"} <= set(pattern.groupindex)
    log = log.strip()
    found = [(m["host"], json.loads(m["clock"]), m) for m in pattern.finditer(log)]
    assert len(found) == len(log.split("\n")), "lines that are no events"
    hosts = {host for host, _, _ in found}
    by_host = {host: [clock for h, clock, _ in found if h == host] for host in hosts}
    for host, clocks in by_host.items():
        assert [clock[host] for clock in clocks] == list(range(1, len(clocks) + 1))
        for before, after in pairwise(clocks):
            assert all(after.get(name, 0) >= count for name, count in before.items())
    _check_graph(by_host)
    return found


def _check_graph(by_host):
    """Parents are read off the entries that grew; the clocks that follow from these, in a
    topological order, must be the ones that were given (ShiViz: "impermissible vector clock")."""
    parents = {}
    for host, clocks in by_host.items():
        known = {}
        for clock in clocks:
            grew = {h: n for h, n in clock.items() if h != host and known.get(h, 0) < n}
            known.update(grew)
            for other, count in grew.items():
                assert other in by_host, "an unrecognised host"
                assert 1 <= count <= len(by_host[other]), "out of bounds"
            covered = {(h, n) for o, c in grew.items()
                       for h, n in by_host[o][c - 1].items() if h != o}  # fmt: skip
            parents[host, clock[host]] = [each for each in grew.items() if each not in covered]
    made = {}

    def clock_of(host, count):
        if (host, count) not in made:
            found = dict(clock_of(host, count - 1)) if count > 1 else {}
            for parent in parents[host, count]:
                for name, value in clock_of(*parent).items():
                    found[name] = max(found.get(name, 0), value)
            made[host, count] = found | {host: count}
        return made[host, count]

    order = sorted(parents, key=lambda each: sum(by_host[each[0]][each[1] - 1].values()))
    for host, count in order:
        assert clock_of(host, count) == by_host[host][count - 1]


class TestShiviz:
    def test_its_parser_takes_the_log(self, tmp_path):
        healthy(tmp_path, slots=20, n2=7_000_000)
        diagram = draw(tmp_path)
        found = read_shiviz(shiviz_log(diagram))
        assert len(found) == len(diagram.events)
        last = {host: clock for host, clock, _ in found}
        assert all(len(clock) == 3 for clock in last.values()), "each has heard of all"

    def test_a_part_of_the_run_counts_from_1(self, tmp_path):
        healthy(tmp_path, slots=9)
        assert len(read_shiviz(shiviz_log(draw(tmp_path, slots=((3, 4),))))) > 20

    def test_names_that_it_could_not_read(self):
        found = read_shiviz(shiviz_log(evil_diagram()))
        assert len(found) == 3
        assert "<script>" in found[2][2]["event"]
        hosts = host_names(["a b", "a}b", "", "a_b"])
        assert len(set(hosts.values())) == 4
        assert all(re.fullmatch(r"[\w.:-]+", host) for host in hosts.values())

    def test_the_check_bites(self, tmp_path):
        healthy(tmp_path)
        lines = shiviz_log(draw(tmp_path)).split("\n")
        at = next(n for n, each in enumerate(lines) if '"n2": 2' in each)
        with pytest.raises(AssertionError):
            read_shiviz("\n".join(lines[:at] + lines[at + 1 :]))
        changed = [each.replace('"n1": 4', '"n1": 5') for each in lines]
        with pytest.raises(AssertionError):
            read_shiviz("\n".join(changed))

    def test_its_parser_is_the_first_line(self, tmp_path):
        healthy(tmp_path)
        assert shiviz_log(draw(tmp_path)).startswith(PARSER + "\n\n")


class TestSequence:
    def test_messages_stand_where_they_arrive_and_lost_ones_where_they_were_sent(self, tmp_path):
        healthy(tmp_path)
        diagram = draw(tmp_path, slots=((2, 2),))
        text = mermaid(diagram.nodes, steps_of(diagram))
        lines = [line.strip() for line in text.splitlines()]
        assert lines[0] == "sequenceDiagram"
        assert "participant node1 as n1" in lines
        accept = lines.index("node1->>node2: accept 1.n1 slot 2")
        vote = lines.index("node2-->>node1: accepted 1.n1 slot 2")
        assert accept < vote < lines.index("Note over node1: applied 1.n1 slot 2")
        text = mscgen(diagram.nodes, steps_of(diagram))
        assert 'node1 => node2 [label="accept 1.n1 slot 2"];' in text

    def test_too_many_lines_are_refused_with_the_limit(self, tmp_path):
        healthy(tmp_path, slots=9)
        with pytest.raises(TooLongError, match=r"lines of a sequence diagram, and 40 are allowed"):
            steps_of(draw(tmp_path), 40)

    def test_signs_of_the_languages_are_text(self):
        diagram = evil_diagram()
        steps = steps_of(diagram)
        lines = mermaid(diagram.nodes, steps).splitlines()[1:]
        assert len(lines) == len(diagram.nodes) + len(steps)
        for line in lines:
            plain = re.sub(r"#\d+;", "", line.partition(":")[2] or line.partition(" as ")[2])
            assert not set(plain) & set("<>;#`{}\"'%&"), line
        for line in mscgen(diagram.nodes, steps).splitlines():
            assert line.count('"') in (0, 2), line
