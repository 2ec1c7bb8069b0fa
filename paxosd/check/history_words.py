"""Operations of a history in words."""

from paxosd.check.history import CAS, DELETE, DELETE_RANGE, GET, OK, PUT, RANGE, Operation

TEXT_MAX = 40
ROWS_MAX = 8


def text(value: bytes | None) -> str:
    """A key or a value for people."""
    if value is None:
        return "nothing"
    words = value.decode("utf-8", "backslashreplace")
    return words if len(words) <= TEXT_MAX else words[: TEXT_MAX - 1] + "…"


def describe(operation: Operation) -> str:
    """One operation in one line, without its times: which client asked what, and the answer."""
    key = text(operation.key)
    asked = {
        PUT: f"put {key} = {text(operation.value)}",
        GET: f"get {key}",
        DELETE: f"delete {key}",
        CAS: f"cas {key}: {_expectation(operation)} → {text(operation.value)}",
        RANGE: f"range {key} … {text(operation.end) if operation.end else 'end'}",
        DELETE_RANGE: f"delete {key} … {text(operation.end) if operation.end else 'end'}",
    }[operation.kind]
    return f"{operation.process}: {asked}: {_answer(operation)}"


def _expectation(operation: Operation) -> str:
    if operation.expect_revision >= 0:
        return f"revision {operation.expect_revision}"
    return text(operation.expect)


def _answer(operation: Operation) -> str:
    if operation.outcome != OK:
        return operation.outcome
    result = operation.result
    words = "done"
    if operation.kind == GET:
        assert result is None or isinstance(result, bytes)
        words = text(result)
    elif operation.kind == RANGE:
        shown = ", ".join(
            f"{text(key)} = {text(value)}" for key, value in operation.rows[:ROWS_MAX]
        )
        words = f"{{{shown}{', …' if len(operation.rows) > ROWS_MAX else ''}}}"
    elif operation.kind == CAS:
        words = "set" if result else "missed"
    elif operation.kind == DELETE:
        words = "removed" if result else "no such key"
    elif operation.kind == DELETE_RANGE:
        words = f"{result!r} removed"
    return f"{words} at revision {operation.revision}" if operation.revision >= 0 else words
