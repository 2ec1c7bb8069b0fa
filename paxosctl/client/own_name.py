"""The name that a client gives itself if nobody gives it another one: ``backup.py anna@web1 4711``.

It stands in the replicated log and is shown to everybody who may read that: ``name=""`` gives none.
"""

import os
import pwd
import sys
from pathlib import Path

from paxosd.core.client_name import client_name_fault, fitting_name

_NO_FILE = ("", "-", "-c", "-m")
"""What stands for the program where Python was given none: typed in, or on standard input."""


def own_name(program: str = "") -> str:
    """``program`` (else that of this process), user, host and process id."""
    called = Path(sys.argv[0]).name
    program = program or (called if called not in _NO_FILE else "python")
    return fitting_name(f"{program} {_user()}@{os.uname().nodename} {os.getpid()}")


def name_fault(name: str) -> str:
    """What is wrong with a name that somebody is about to give; "" if nothing is. More than what
    the nodes check: they must judge as all versions do, and a name of blanks is none to people."""
    if name.isspace():
        return "a client's name is not blank; an empty one is none"
    return client_name_fault(name) if name else ""


def checked_name(name: str) -> str:
    """The same name. Raises ValueError for what cannot be one; "" is none."""
    if fault := name_fault(name):
        raise ValueError(f"{fault}: {name!r:.80}")
    return name


def _user() -> str:
    number = os.geteuid()
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:  # a container's user often has none
        return str(number)
