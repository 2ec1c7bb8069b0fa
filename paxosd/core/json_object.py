"""A JSON document of the log, read alike on every node.

``json.loads`` alone does not: how deep lists may be nested depends on how deep the calls of the
program are just then, and how long a number may be on its environment. A document in which a name
stands twice can hide such a value in the first place, which is dropped unread: one node takes the
document, another does not, and their states differ from then on. So a name may stand once; whatever
is there is in the result then, where its reader checks each field, and what is nested too deep, or
too long, is refused either way.
"""

import json
from typing import Any


def load_object(text: bytes) -> dict[str, Any]:
    """The object that ``text`` is. Raises ValueError: it is no JSON object, or a name stands twice
    in it. Whoever calls it refuses every value that is not of the type and size that is wanted."""
    try:
        found = json.loads(text, object_pairs_hook=_object)
    except RecursionError:
        raise ValueError("lists are nested too deep") from None
    if type(found) is not dict:
        raise ValueError("it is no JSON object")
    return found


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice in an object")
    return found
