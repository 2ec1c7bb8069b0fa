"""Whether text on a stream may have colours, and bold: one rule for both programs.

NO_COLOR is set, and not empty    no (https://no-color.org)
TERM is dumb                      no: it would show the codes
the stream is no terminal         no: a file or another program reads it
"""

import os
from collections.abc import Mapping
from typing import Any


def may_colour(stream: Any, environment: Mapping[str, str] | None = None) -> bool:
    """Whether the user and the terminal take colours. ``stream``: a standard stream, None or closed
    where there is none; ``environment``: of this process, unless another one is given."""
    given = os.environ if environment is None else environment
    if given.get("NO_COLOR") or is_dumb(given):
        return False
    try:
        return stream is not None and bool(stream.isatty())
    except ValueError:  # it is closed
        return False


def is_dumb(environment: Mapping[str, str] | None = None) -> bool:
    """Whether the terminal can only print characters: nothing can be drawn over there."""
    return (os.environ if environment is None else environment).get("TERM") == "dumb"
