"""What a part of paxosd needs of the log: one method for each level of severity."""

from typing import Any, Protocol


class Log(Protocol):
    """The part of a structlog logger that paxosd uses. ``event`` is the name of the event, such as
    ``wal.opened``; the fields are what the line says about it. The names of events and fields are
    an interface: scripts read them. The answer of a method is ignored."""

    def debug(self, event: str, **fields: Any) -> Any: ...
    def info(self, event: str, **fields: Any) -> Any: ...
    def warning(self, event: str, **fields: Any) -> Any: ...
    def error(self, event: str, **fields: Any) -> Any: ...
