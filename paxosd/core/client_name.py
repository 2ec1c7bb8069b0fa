"""The name that a client gives itself when it opens a session: for people, and it decides nothing.

It stands in the OPEN of the log and in the session, so that one can see who wrote what (``paxosctl
blame``). Anybody can give any name: it proves nothing.

The check depends on the text alone, and on no table of characters that another version of Python
may have differently: all nodes must judge a decided OPEN alike.
"""

NAME_BYTES_MAX = 200
_CONTROL = frozenset(map(chr, (*range(0x20), *range(0x7F, 0xA0), *range(0x2028, 0x2030),
                               *range(0x2066, 0x206A), 0x200E, 0x200F)))  # fmt: skip
"""What moves the cursor, breaks the line or turns the direction of writing."""


def client_name_fault(name: object) -> str:
    """What is wrong with a client's name, in words; "" if nothing is."""
    if type(name) is not str:
        return "a client's name is text"
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        return "a client's name is text in UTF-8"
    if not 1 <= size <= NAME_BYTES_MAX:
        return f"a client's name has 1 to {NAME_BYTES_MAX} bytes, not {size}"
    if not _CONTROL.isdisjoint(name):
        return "a client's name has no control characters"
    return ""


def fitting_name(text: str) -> str:
    """A name as close to ``text`` as can be; "" if nothing of it can be used."""
    clean = "".join("?" if char in _CONTROL else char for char in text)
    cut = clean.encode(errors="replace")[:NAME_BYTES_MAX]
    return cut.decode(errors="ignore")
