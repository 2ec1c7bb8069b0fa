"""docs/RIGHTS.md says what the code does."""

import re
from pathlib import Path

import pytest

from paxosd.core.admin_verbs import ADMIN_VERBS, Permission
from paxosd.core.rights import EVERYTHING, ROLES, Principal, admin_of
from paxosd.replica.permissions import may

PAGE = (Path(__file__).parents[2] / "docs" / "RIGHTS.md").read_text(encoding="utf-8")
ROWS = {
    cells[0]: cells[1:]
    for row in re.findall(r"^\| (.+) \|$", PAGE, re.M)
    if len(cells := row.split(" | ")) == 6
}
COLUMNS = ROWS.pop("class")[:4]


def of_role(role, read=()):
    return admin_of("x") if role == "admin" else Principal("x", role, read)


def test_the_columns_are_the_roles():
    assert set(COLUMNS) == set(ROLES)
    assert ROWS.keys() == {each.value for each in Permission}


@pytest.mark.parametrize("permission", Permission)
def test_who_may_is_what_the_page_says(permission):
    said = dict(zip(COLUMNS, ROWS[permission.value], strict=False))
    for role, word in said.items():
        read = EVERYTHING if role in ("client", "operator") else ()
        assert may(of_role(role), permission) == (word == "yes"), role
        assert may(of_role(role, read), permission) == (word != "no"), role


def test_each_verb_stands_in_its_row():
    for verb in ADMIN_VERBS.values():
        if verb.permission is not Permission.FAULTS:
            assert f"`{verb.name}`" in ROWS[verb.permission.value][4], verb.name
