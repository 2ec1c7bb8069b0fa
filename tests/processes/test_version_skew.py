"""A short slice of ``python -m tests.bench.version_skew``, with a seed of its own."""

import random

import pytest

from tests.bench.version_before import NoBuildError, build
from tests.bench.version_skew import run_round, short, watched


@pytest.fixture(scope="module")
def before():
    try:
        return build()
    except NoBuildError as error:
        pytest.skip(f"no build of the version before: {error}")


@pytest.mark.timeout(170)
def test_clients_see_one_store_while_two_versions_run(tmp_path, before):
    seed = random.randrange(1 << 30)
    print(f"seed {seed}")
    outcome = run_round(tmp_path, seed=seed, before=before, act=short, report=print)
    print("\n".join(outcome.lines()))
    assert outcome.ok


def test_a_commit_that_is_not_here_is_said():
    with pytest.raises(NoBuildError, match="commit 000000000000 is not here"):
        build("0" * 40)


def test_what_a_watcher_may_not_have_seen():
    rows = {b"a": b"2"}
    good = [(1, b"a", b"1"), (2, b"b", b"1"), (3, b"b", None), (4, b"a", b"2")]
    assert list(watched(good, 4, rows)) == []
    assert "out of order" in next(watched([good[1], good[0], *good[2:]], 4, rows))
    assert "twice" in next(watched([*good, good[3]], 4, rows))
    assert "missing: [3]" in next(watched([*good[:2], good[3]], 4, rows))
    assert "last values" in next(watched([*good[:3], (4, b"a", b"x")], 4, rows))
    lost = [good[0], good[3]]
    assert list(watched(lost, 4, rows, [(2, 4)])) == []
    assert "missing: [3]" in next(watched(lost, 4, rows, [(2, 3)]))
