"""check history: a kept history is judged, or written for other checkers; without a cluster."""

import json

import pytest

from paxosd.check.export import export
from paxosd.check.history import GET, PUT, TXN, History
from paxosd.core import commands
from paxosd.core.transactions import GET_KEY


@pytest.fixture
def history():
    made = History()
    made.ok(made.invoke("a", PUT, b"k", value=b"v"), revision=1)
    command = [commands.TXN, [], [[GET_KEY, b"a"], [commands.PUT, b"b", b"w"]], []]
    made.ok(made.invoke("t", TXN, b"", command=command), (1, (None, 1)), revision=2)
    return made


@pytest.fixture
def check(ctl, tmp_path):
    def run(history, *arguments):
        history.save(tmp_path / "history")
        return ctl("check", "history", str(tmp_path / "history"), *arguments)

    return run


def test_a_good_one(check, history):
    code, out, _ = check(history)
    assert code == 0
    assert out.startswith("ok  linearizable: 1 operations on 1 keys; 1 transactions on 1 objects")
    code, out, _ = check(history, "-o", "json")
    assert (code, json.loads(out)["linearizable"]["status"]) == (0, "ok")
    assert check(history, "-o", "plain")[1] == "ok\n"


def test_a_stale_read_of_a_key_that_a_transaction_wrote(check, history):
    history.ok(history.invoke("b", GET, b"b"), None, revision=2, modified=(0,))
    code, out, err = check(history)
    assert code == 1
    assert "txn if always: put b = w: done at revision 2" in out
    assert "no order explains what was answered at revision 2" in err


@pytest.mark.parametrize("form", ["elle", "knossos", "porcupine"])
def test_it_is_written_for_other_checkers(check, history, form):
    code, out, _ = check(history, "--export", form)
    assert code == 0
    assert out.splitlines() == list(export(history.operations, form))


def test_a_file_that_is_none(ctl, tmp_path):
    (tmp_path / "none").write_text("{}\n")
    code, _, err = ctl("check", "history", str(tmp_path / "none"))
    assert code == 1
    assert "not a history of format 1" in err
