"""Whether a time service keeps the clock of this machine, by the kernel (adjtimex(2))."""

import ctypes

_UNSYNCHRONISED = 0x40
_ROOM_BYTES = 512
"""More than the kernel's struct timex has on any machine."""
_STATUS_AT = 5
"""The field ``status`` is after ``modes`` and four numbers as wide as a pointer."""


def is_synchronised() -> bool | None:
    """None: the kernel does not say."""
    try:
        kernel = ctypes.CDLL(None)
        room = (ctypes.c_byte * _ROOM_BYTES)()  # modes = 0: nothing is changed
        if kernel.adjtimex(ctypes.byref(room)) < 0:
            return None
    except (OSError, AttributeError):
        return None
    at = _STATUS_AT * ctypes.sizeof(ctypes.c_long)
    return not ctypes.c_int.from_buffer(room, at).value & _UNSYNCHRONISED
