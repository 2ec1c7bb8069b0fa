r"""A transaction as text, for ``paxosctl txn``: a readable form, and JSON.

    if value state = "idle"            # conditions: all of them must hold
    if none jobs/                      # no key begins with it
    put state "busy"                   # then
    add runs 1
    else
    get state                          # else

Words are separated by blanks. One in double quotes may hold blanks, and ``\n``, ``\t``, ``\\``,
``\"`` and ``\xNN`` for any byte; outside of quotes nothing is special but ``#``, which begins a
comment. A nested transaction is ``begin``, lines as above, ``end``.

    if TARGET KEY OP OPERAND           TARGET: value, version, create, modify, lease; OP: = != < >
    if every TARGET PREFIX OP OPERAND  of each key with the prefix;  if some …: of at least one
    if exists KEY, if absent KEY       if any PREFIX, if none PREFIX: whether a key begins with it
    if held NAME TOKEN                 the lock NAME is held with this fencing token
    put KEY VALUE [lease ID]           get KEY       delete KEY       delete-prefix PREFIX
    add KEY [NUMBER]                   scan PREFIX [limit N] [reverse] [keys-only]

In JSON: ``{"if": […], "then": […], "else": […]}``, each line a list of its words, such as
``["put", "state", "busy"]``; a nested transaction is such an object. A word that is no text is
``{"b64": "…"}``.
"""

import base64
import binascii
import json
import re
from typing import Any

from paxosctl.client.transactions import OPERATORS, TARGETS, Compare, Operation
from paxosd.core.transactions import DEPTH_MAX

Parts = tuple[list[Compare], list[Operation], list[Operation]]
"""Conditions, then, else."""

_WORD = re.compile(rb'\s*(?:(#.*)|"((?:[^"\\]|\\.)*)"(?=\s|$)|([^\s"#][^\s"]*))', re.S)
_ESCAPE = re.compile(rb'\\(?:x([0-9a-fA-F]{2})|([nt"\\])|(.?))', re.S)
_TOO_DEEP = f"transactions are nested at most {DEPTH_MAX} deep"
_ESCAPED = {b"n": b"\n", b"t": b"\t", b'"': b'"', b"\\": b"\\"}


class TextError(ValueError):
    """It is no transaction; the text says where."""


def parse_transaction(text: bytes) -> Parts:
    """A transaction in either form. Raises TextError."""
    if text.lstrip().startswith(b"{"):
        try:
            return _of_json(json.loads(text, object_pairs_hook=_object))
        except RecursionError:
            raise TextError(_TOO_DEEP) from None
        except ValueError as error:
            if isinstance(error, TextError):
                raise
            raise TextError(f"it is no JSON: {error}") from None
    lines = list(enumerate(text.split(b"\n"), 1))
    lines.reverse()  # the next one last
    return _block(lines, depth=0)


def _block(lines: list[tuple[int, bytes]], *, depth: int) -> Parts:
    """Lines up to the end, or of a nested transaction (``depth`` above 0) up to its ``end``."""
    if depth > DEPTH_MAX:
        raise TextError(_TOO_DEEP)
    compares: list[Compare] = []
    branches: tuple[list[Operation], list[Operation]] = ([], [])
    at = 0
    while lines:
        number, line = lines.pop()
        try:
            words = _words(line)
            if not words:
                continue
            first = words[0]
            if first == b"end" and depth and len(words) == 1:
                return compares, *branches
            if first == b"else" and not at and len(words) == 1:
                at = 1
            elif first == b"begin" and len(words) == 1:
                branches[at].append(Operation.txn(*_block(lines, depth=depth + 1)))
            elif first == b"if":
                if at or branches[0]:
                    raise TextError("conditions come before operations")
                compares.append(_compare(words[1:]))
            else:
                branches[at].append(_operation(words))
        except TextError as error:
            if str(error).startswith("line "):
                raise
            raise TextError(f"line {number}: {error}") from None
    if depth:
        raise TextError("a nested transaction has no end")
    return compares, *branches


def _words(line: bytes) -> list[bytes]:
    words: list[bytes] = []
    at, line = 0, line.rstrip()
    while at < len(line):
        match = _WORD.match(line, at)
        if match is None:
            raise TextError("quotes that do not end, or stand within a word")
        comment, quoted, plain = match.groups()
        at = match.end()
        if comment is not None:
            break
        words.append(plain if quoted is None else _ESCAPE.sub(_unescaped, quoted))
    return words


def _unescaped(match: re.Match[bytes]) -> bytes:
    code, known, other = match.groups()
    if other is not None:
        raise TextError(f"no escape is \\{other.decode(errors='replace')}")
    return bytes.fromhex(code.decode()) if code else _ESCAPED[known]


def _compare(words: list[bytes]) -> Compare:
    if len(words) == 2:
        simple = {
            b"exists": (Compare.exists, False), b"absent": (Compare.absent, False),
            b"any": (Compare.exists, True), b"none": (Compare.absent, True),
        }.get(words[0])  # fmt: skip
        if simple is not None:
            make, prefix = simple
            return make(words[1], prefix=prefix)
    if len(words) == 3 and words[0] == b"held":
        return Compare.holds(words[1], _number(words[2]))
    prefix = words[0] in (b"every", b"some") if words else False
    some = prefix and words[0] == b"some"
    rest = words[1:] if prefix else words
    if len(rest) != 4:
        raise TextError("a condition is: if TARGET KEY OPERATOR OPERAND, or exists, absent, …")
    target, key, operator, operand = rest
    name, sign = target.decode(errors="replace"), operator.decode(errors="replace")
    if name not in TARGETS:
        raise TextError(f"nothing of a key is called {name!r}: {', '.join(TARGETS)}")
    if sign not in OPERATORS:
        raise TextError(f"there is no operator {sign!r}: {' '.join(OPERATORS)}")
    if name == "value":
        return Compare.value(key, sign, operand, prefix=prefix, some=some)
    return Compare.number(name, key, sign, _number(operand), prefix=prefix, some=some)


def _operation(words: list[bytes]) -> Operation:
    op, *rest = words
    count = len(rest)
    if op == b"put" and (count == 2 or (count == 4 and rest[2] == b"lease")):
        return Operation.put(rest[0], rest[1], lease=_number(rest[3]) if count == 4 else 0)
    if op == b"get" and count == 1:
        return Operation.get(rest[0])
    if op == b"delete" and count == 1:
        return Operation.delete(rest[0])
    if op == b"delete-prefix" and count == 1:
        return Operation.delete_prefix(rest[0])
    if op == b"add" and count in (1, 2):
        return Operation.add(rest[0], _number(rest[1], signed=True) if count == 2 else 1)
    if op == b"scan" and count:
        return _scan(rest)
    raise TextError(
        f"{op.decode(errors='replace')!r} with {count} arguments is no operation: put KEY VALUE "
        "[lease ID], get KEY, delete KEY, delete-prefix PREFIX, add KEY [NUMBER], scan PREFIX "
        "[limit N] [reverse] [keys-only], begin … end"
    )


def _scan(words: list[bytes]) -> Operation:
    prefix, *options = words
    limit, reverse, keys_only = 0, False, False
    while options:
        option = options.pop(0)
        if option == b"limit" and options:
            limit = _number(options.pop(0))
        elif option == b"reverse":
            reverse = True
        elif option == b"keys-only":
            keys_only = True
        else:
            raise TextError("a scan takes: limit N, reverse, keys-only")
    return Operation.scan(prefix, limit=limit, reverse=reverse, keys_only=keys_only)


def _number(word: bytes, *, signed: bool = False) -> int:
    if not re.fullmatch(rb"-?[0-9]{1,19}" if signed else rb"[0-9]{1,19}", word):
        raise TextError(f"{word.decode(errors='replace')!r} is no number")
    return int(word)


# ---- JSON


def _object(members: list[tuple[str, Any]]) -> dict[str, Any]:
    """Of JSON. A name that comes twice would silently take the place of the conditions of the
    first."""
    found = dict(members)
    if len(found) < len(members):
        raise TextError("a name comes twice in a JSON object")
    return found


def _of_json(found: Any) -> Parts:
    if not isinstance(found, dict) or not found.keys() <= {"if", "then", "else"}:
        raise TextError('a transaction is {"if": […], "then": […], "else": […]}')
    parts = [found.get(name, []) for name in ("if", "then", "else")]
    if not all(isinstance(part, list) for part in parts):
        raise TextError("if, then and else are lists")
    compares = [_compare(_json_words(each)) for each in parts[0]]
    then, otherwise = ([_json_operation(each) for each in part] for part in parts[1:])
    return compares, then, otherwise


def _json_operation(item: Any) -> Operation:
    if isinstance(item, dict):
        return Operation.txn(*_of_json(item))
    return _operation(_json_words(item))


def _json_words(item: Any) -> list[bytes]:
    if not isinstance(item, list) or not item:
        raise TextError('each line is a list of its words, such as ["get", "key"]')
    return [_json_word(word) for word in item]


def _json_word(word: Any) -> bytes:
    if isinstance(word, str):
        return word.encode()
    if type(word) is int:
        return b"%d" % word
    if isinstance(word, dict) and word.keys() == {"b64"} and isinstance(word["b64"], str):
        try:
            return base64.b64decode(word["b64"], validate=True)
        except binascii.Error as error:
            raise TextError(f"bad base64: {error}") from None
    raise TextError('a word is text, a number, or {"b64": "…"}')
