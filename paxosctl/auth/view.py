"""What ``paxosctl auth`` shows: nothing of it is secret."""

from collections.abc import Sequence
from typing import Any

from paxosctl.auth.asking import Known, Made
from paxosctl.auth.tables import differences
from paxosctl.cli.render import View
from paxosd.core.rights import Principal, RightsTable, prefix_text
from paxosd.host.wording import counted
from paxosd.net.key_files import key_text


def principal_data(who: Principal) -> dict[str, Any]:
    """For programs."""
    return {
        "name": who.name,
        "role": who.role,
        "read": [prefix_text(each) for each in who.read],
        "write": [prefix_text(each) for each in who.write],
        "keys": [key_text(each) for each in who.keys],
    }


def table_data(table: RightsTable) -> dict[str, Any]:
    """The same of the table."""
    return {
        "version": table.version,
        "required": table.required,
        "unconfirmed_ms_max": table.unconfirmed_ms_max,
        "principals": [principal_data(each) for each in table.principals],
        "revoked": sorted(key_text(each) for each in table.revoked),
    }


def table_view(known: Known) -> View:
    """Everybody, or who asks alone."""
    table = known.table
    notes = []
    if not table.version:
        notes.append("there is no rights table yet: an admin makes it with paxosctl auth init")
    elif not table.required:
        notes.append("rights are not required: everybody may do everything (paxosctl auth require)")
    if known.in_trust_file:
        notes.append(f"{known.asker} is an admin by the nodes' trust files alone")
    if not known.is_whole:
        notes.append("this is only what concerns the key that asked")
    if table.revoked:
        notes.append(f"{counted(len(table.revoked), 'key')} revoked")
    return View(
        data={**table_data(table), "asker": known.asker or None},
        plain="".join(f"{each.name}\t{each.role}\n" for each in table.principals).encode(),
        columns=("name", "role", "keys", "read", "write"),
        rows=[
            (each.name, each.role, len(each.keys), _shown(each.read), _shown(each.write))
            for each in table.principals
        ],
        notes=notes,
    )


def principal_view(who: Principal) -> View:
    """One of them."""
    rows = [
        ("name", who.name),
        ("role", who.role),
        ("read", _shown(who.read)),
        ("write", _shown(who.write)),
        *[("key" if place else "newest key", key_text(key)) for place, key in enumerate(who.keys)],
    ]
    return View(
        data=principal_data(who),
        plain="".join(f"{name}\t{value}\n" for name, value in rows).encode(),
        columns=("", ""),
        rows=rows,
    )


def made_view(made: Made, notes: Sequence[str]) -> View:
    """A change of the table."""
    words = differences(made.before, made.after)
    if not words:
        done = "it is so already; nothing was changed"
    else:
        where = f", in force from slot {made.slot} on" if made.slot else ", in force"
        done = f"{'; '.join(words)}: version {made.after.version}{where}"
    return View(
        data={
            "version": made.after.version,
            "slot": made.slot or None,
            "changed": words,
            "required": made.after.required,
        },
        plain=b"%d\n" % made.after.version,
        notes=[done, *(notes if words else ())],
    )


def _shown(prefixes: Sequence[bytes]) -> str:
    return ", ".join([prefix_text(each) or "(all)" for each in prefixes])
