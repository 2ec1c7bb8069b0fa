"""A look at a connection that ZeroMQ owns, by its descriptor."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def borrowed(descriptor: int) -> Iterator[socket.socket]:
    """The socket with this descriptor, to ask or to set something, and nothing to be closed later.

    It is a copy: an object that owned ZeroMQ's own descriptor would close it if an exception
    (KeyboardInterrupt) came between two lines, and ZeroMQ would end the process. The descriptor may
    be closed by now, or be another file's: then this raises OSError, and the copy is closed, too.
    """
    copy = os.dup(descriptor)
    try:
        connection = socket.socket(fileno=copy)
    except BaseException:
        os.close(copy)
        raise
    with connection:
        yield connection
