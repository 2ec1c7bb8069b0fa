"""A holder's count of its lease: what is too early, and from when on its end is expected."""

from paxosd.check.history import History
from paxosd.check.lease_term import LeaseTerm
from paxosd.core.commands import REVOKE


def test_it_lives_for_its_ttl_since_the_last_confirmed_renewal_was_sent():
    term = LeaseTerm(7, 1000, 5_000_000)
    assert term.may_end_us == 5_999_500, "less what a fast clock may take off"
    term.renewed(1000, 5_400_000)
    term.renewed(1000, 5_300_000)
    assert term.may_end_us == 6_399_500
    operation = term.expect(History())
    assert (operation.invoked, operation.command) == (6_399_500, (REVOKE, 7))
    assert operation.process == "lease 7"


def test_an_end_before_that_is_a_breach_unless_it_was_asked_for():
    term = LeaseTerm(7, 1000, 0)
    term.found_gone(999_499)
    assert "ended 0.0 ms early" in term.breach
    term = LeaseTerm(7, 1000, 0)
    term.found_gone(999_500)
    assert term.breach == ""
    term = LeaseTerm(7, 1000, 0)
    term.revoking()
    term.found_gone(1)
    assert term.breach == ""


def test_what_has_ended_is_renewed_no_more():
    term = LeaseTerm(7, 1000, 0)
    term.found_gone(2_000_000)
    term.renewed(1000, 2_000_001)
    assert term.breach == "lease 7 was renewed after it had ended"
