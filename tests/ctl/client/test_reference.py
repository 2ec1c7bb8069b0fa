"""The reference of the clients is what their docstrings say, and what these show is true."""

import doctest

import pytest

import paxosctl.client
from paxosctl.client import AsyncClient, Client, Future, Pipeline, Watcher
from paxosctl.client.reads import ReadMethods
from paxosctl.client.writes import WriteMethods
from paxosd.core.cluster_settings import LEVEL_LATEST, ClusterSettings
from tests.api_reference import PAGE, page, prose
from tests.ctl.fake_daemon import FakeDaemon


def examples():
    """Of each public class and method."""
    finder = doctest.DocTestFinder(recurse=False)
    for kind in (Client, Pipeline, Future, Watcher):
        for name in dir(kind):
            made = getattr(kind, name)
            inherited = kind is Pipeline and hasattr(Client, name)
            if not name.startswith("_") and not inherited and ">>>" in (made.__doc__ or ""):
                yield from finder.find(made, f"{kind.__name__}.{name}")


EXAMPLES = {each.name: each for each in examples()}


@pytest.mark.parametrize("name", EXAMPLES)
def test_each_example_is_true(name):
    with FakeDaemon() as daemon, Client([daemon.endpoint], timeout_s=30) as client:
        daemon.machine.settings = ClusterSettings(1, LEVEL_LATEST)
        client.put(b"~before", b"")
        test = EXAMPLES[name]
        test.globs = {name: getattr(paxosctl.client, name) for name in paxosctl.client.__all__}
        test.globs["client"] = client
        said = []
        failed = doctest.DocTestRunner(verbose=False).run(test, out=said.append).failed
        assert failed == 0, "".join(said)


def test_the_methods_that_programs_begin_with_have_examples():
    assert {"Client.put", "Client.get", "Client.scan", "Client.watch", "Client.pipeline"} <= set(
        EXAMPLES
    )


def test_the_page_is_made_from_the_docstrings():
    made = page()
    assert PAGE.read_text(encoding="utf-8") == made, "run: python -m tests.api_reference"


def test_each_public_name_is_in_it():
    text = page()
    missing = [name for name in paxosctl.client.__all__ if f"### {name}\n" not in text]
    assert missing == []
    assert [name for name in vars(AsyncClient) if name[0] != "_" and name not in text] == []


def test_each_method_is_in_it():
    text = page()
    kinds = (Client, ReadMethods, WriteMethods, paxosctl.client.Barrier)
    names = [name for kind in kinds for name in vars(kind) if not name.startswith("_")]
    assert {"count", "wait"} <= set(names)
    assert [name for name in names if f"#### {name}\n" not in text] == []


def test_markdown():
    doc = "As :meth:`~a.b.C.put` and :class:`~a.D`, ``x``.\n\n>>> 1\n1"
    assert prose(doc) == "As `C.put` and `D`, `x`.\n\n```python\n>>> 1\n1\n```"
