"""What a client may call itself."""

import pytest

from paxosctl.cli.main import run
from paxosctl.client.own_name import checked_name, own_name


def test_what_people_see_as_a_name_is_one_and_an_empty_one_is_none():
    for name in ("", "a", " backup of web1 ", own_name("paxosctl put")):
        assert checked_name(name) == name


@pytest.mark.parametrize("name", [" ", " \u00a0\u2003", "a\nb", "x" * 201, "\udcff"])
def test_what_is_none(name, capsys):
    with pytest.raises(ValueError, match="a client's name"):
        checked_name(name)
    assert run(["--client-name", name, "put", "k", "v"]) == 2
    assert "a client's name" in " ".join(capsys.readouterr()[1].split())
