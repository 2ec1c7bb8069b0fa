"""The name that a client gives itself."""

import os
import sys

import pytest

from paxosctl.client.own_name import own_name


@pytest.mark.parametrize(
    ("called", "program"),
    [("/usr/bin/backup.py", "backup.py"), ("-c", "python"), ("-", "python"), ("", "python")],
)
def test_it_begins_with_the_program(monkeypatch, called, program):
    monkeypatch.setattr(sys, "argv", [called])
    first, who, number = own_name().split()
    assert first == program
    assert who.endswith(f"@{os.uname().nodename}")
    assert number == str(os.getpid())
