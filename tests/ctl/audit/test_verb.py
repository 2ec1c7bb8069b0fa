"""The verb: exit codes, and one answer in each form."""

import json

from paxosctl.audit.kinds import DECISIONS, RECEIVED
from tests.ctl.audit.made import B1, Y, good


def made(directory, *, breaks):
    n1, n2, n3 = good(directory)
    if breaks:
        n3.add(DECISIONS, "n2", RECEIVED, 2, B1, 2, Y)
    for each in (n1, n2, n3):
        each.write()
    return str(directory)


def test_kept(ctl, tmp_path):
    code, out, err = ctl("audit", made(tmp_path, breaks=False))
    assert (code, err) == (0, "")
    assert "one-value-per-ballot" in out
    assert "the log of n1 is missing" in out


def test_broken(ctl, tmp_path):
    where = made(tmp_path, breaks=True)
    code, out, err = ctl("audit", where)
    assert code == 1
    assert "slot 2 has two values that are held for chosen" in out
    assert "n3/1:" in out
    assert "1 violations" in err
    code, out, err = ctl("audit", where, "-o", "json")
    assert code == 1
    (rule,) = [each for each in json.loads(out)["rules"] if each["broken"]]
    assert rule["rule"] == "one-value"
    assert rule["violations"][0]["evidence"][0]["file"]
    assert json.loads(err)["error"] == "violation"
    code, out, _ = ctl("audit", where, "-o", "plain")
    assert code == 1
    assert "violation\tone-value\tslot 2 has two values" in out


def test_several_clusters_are_a_matter_of_usage(ctl, tmp_path):
    n1, n2, _ = good(tmp_path)
    n1.write()
    n2.write(cluster="c2")
    code, _, err = ctl("audit", str(tmp_path))
    assert code == 2
    assert "--cluster" in err


def test_voters_may_be_named(ctl, tmp_path):
    code, _, _ = ctl("audit", made(tmp_path, breaks=False), "--voters", "n1, n2,n3")
    assert code == 0
