"""The page in a real browser, where one is installed: it draws, a click highlights causes."""

import pytest

from paxosctl.diagram.page import html_page
from paxosd.recorder.event import WRITE
from tests.ctl.diagram.browser import Browser, find_browser
from tests.ctl.diagram.test_forms import evil_diagram
from tests.ctl.diagram.test_model import draw, past
from tests.ctl.inspection.made import healthy

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_browser() is None, reason="no Chromium is installed"),
]
POINT = """(() => { const r = document.getElementById('picture').getBoundingClientRect();
    paxosDiagram.reveal(%d); const w = paxosDiagram.where(%d);
    return [r.left + w.x, r.top + w.y]; })()"""
REACHED = """['causes', 'effects'].map((name) => { const all = paxosDiagram.drawing[name];
    return all ? [...all].flatMap((x, i) => x ? [i] : []) : null; })"""


@pytest.fixture
def browser(tmp_path):
    with Browser(tmp_path / "profile") as found:
        yield found


def ink(browser):
    """How many pixels of the canvas differ from its corner."""
    return browser.run("""(() => { const c = document.createElement('canvas');
        const from = document.getElementById('picture');
        [c.width, c.height] = [from.width, from.height];
        c.getContext('2d').drawImage(from, 0, 0);
        const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data; let n = 0;
        for (let at = 0; at < d.length; at += 4)
          n += d[at] !== d[0] || d[at + 1] !== d[1] || d[at + 2] !== d[2];
        return n; })()""")


def text(browser, name):
    return browser.run(f"document.getElementById('{name}').textContent")


def test_it_draws_and_answers_mouse_keys_and_filters(browser, tmp_path):
    healthy(tmp_path / "data", slots=6)
    diagram = draw(tmp_path / "data")
    page = tmp_path / "page.html"
    page.write_text(html_page(diagram, "t"), encoding="utf-8")
    browser.open(page)
    assert ink(browser) > 2000
    place = next(i for i, e in enumerate(diagram.events) if e.kind == WRITE and e.slot == 3)

    browser.click(*browser.run(POINT % (place, place)))
    causes, effects = browser.run(REACHED)
    assert [diagram.events[i] for i in causes] == past(diagram, place)
    assert effects == []
    assert text(browser, "causes-title") == f"Follows from {len(causes)} events"
    assert "slot 3 request 7/3 ok" in text(browser, "fields")
    assert "write" in text(browser, "spoken")

    browser.key("Escape")
    assert browser.run(REACHED) == [None, None]
    before = browser.run("paxosDiagram.drawing.scale")
    browser.key("+")
    assert browser.run("paxosDiagram.drawing.scale") > before
    browser.key("-")
    browser.key("0")
    browser.key("n")
    assert text(browser, "chosen") != "Nothing selected"
    browser.key("ArrowRight", shift=True)
    browser.key("t")
    assert browser.run("paxosDiagram.layout.axis") == "time"

    browser.run("""(() => { const box = document.getElementById('slots'); box.value = '2..3';
        box.dispatchEvent(new Event('input')); })()""")
    shown = browser.run("paxosDiagram.layout.shown")
    slots = {diagram.events[i].slot for i in shown if diagram.events[i].kind == WRITE}
    assert slots == {2, 3}
    first = next(i for i in shown if diagram.events[i].slot == 2)
    assert 0 < browser.run(f"paxosDiagram.where({first}).x") < 1600, "it goes there"
    assert f"{len(shown)} of {len(diagram.events)} events" in text(browser, "counts")
    browser.dark()
    browser.click(
        *browser.run("""(() => { const r = document.getElementById('theme')
        .getBoundingClientRect(); return [r.left + 5, r.top + 5]; })()""")
    )
    assert ink(browser) > 1000
    assert browser.messages == []
    assert browser.requests == [page.as_uri()], "nothing else was asked for"


def test_markup_in_names_and_lines_does_nothing(browser, tmp_path):
    page = tmp_path / "page.html"
    page.write_text(html_page(evil_diagram(), "t"), encoding="utf-8", errors="backslashreplace")
    browser.open(page)
    browser.run("window.alert = () => { window.hit = true; }")
    for place in range(3):
        point = browser.run(POINT % (place, place))
        browser.move(*point)
        browser.click(*point)
    browser.key("?")
    assert browser.run("document.querySelectorAll('img').length") == 0
    assert browser.run("window.hit") is None
    assert "<script>alert(1)" in text(browser, "fields")
    assert browser.messages == []
